"""What an attempt came to, and what that allows."""

import re
from pathlib import Path

from gateway.contract import failures
from gateway.contract.failures import (
    ProviderBlocked,
    ProviderError,
    ProviderRefused,
    ProviderRejected,
    Retry,
)

ATTEMPT_ERRORS = [
    each
    for each in vars(failures).values()
    if isinstance(each, type) and issubclass(each, ProviderError) and each is not ProviderError
]


def test_every_failed_attempt_has_a_status_a_code_and_a_retry() -> None:
    for each in ATTEMPT_ERRORS:
        assert 400 <= each.status <= 599
        assert each is ProviderRejected or each.code
        assert each.type
        assert isinstance(each.retry, Retry)


def test_what_an_upstream_said_is_relayed_only_where_it_tells_what_to_mend() -> None:
    relayed = {
        each.__name__
        for each in ATTEMPT_ERRORS
        if each is not ProviderRejected and "upstream text" in each("upstream text").message
    }

    assert relayed == set()
    assert ProviderRejected("upstream text", status=400).message == "upstream text"


def test_only_the_requests_own_fault_and_a_suspicious_address_are_final() -> None:
    final = [each for each in ATTEMPT_ERRORS if each.retry is Retry.FINAL]

    assert final == [ProviderRejected, ProviderBlocked]


def test_an_error_may_be_given_a_more_precise_code() -> None:
    assert ProviderRefused("t", code="c", retry_after=3.0).code == "c"
    assert ProviderRefused("t", retry_after=3.0).retry_after == 3.0
    assert ProviderRefused.code == "upstream_error"


def test_every_narrower_code_that_is_used_is_declared() -> None:
    root = Path(__file__).parent.parent.parent.parent
    sources = [
        path.read_text()
        for name in ("gateway", "providers")
        for path in (root / name).rglob("*.py")
    ]
    used = {code for text in sources for code in re.findall(r'code="(upstream_\w+)"', text)}

    assert used
    assert used <= {code for kind in ATTEMPT_ERRORS for code in (*kind.narrower, kind.code)}

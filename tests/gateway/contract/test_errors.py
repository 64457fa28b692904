"""Errors carry their own consequence, and the drawing of them is right."""

import re
from pathlib import Path

import pytest

from gateway.contract import errors
from gateway.contract.errors import (
    BodyTooLarge,
    BodyTooSlow,
    GatewayError,
    InternalError,
    InvalidKey,
    InvalidRequest,
    LimitExceeded,
    PermissionDenied,
    ProviderBlocked,
    ProviderError,
    ProviderRateLimited,
    ProviderRefused,
    ProviderRejected,
    Retry,
    TooManyFailures,
    UnknownModel,
)

DRAWN = re.findall(r"^ {4,12}([A-Z]\w+) ", errors.__doc__ or "", re.MULTILINE)
CLASSES = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, GatewayError | ProviderError)
]
ATTEMPT_ERRORS = [
    each for each in CLASSES if issubclass(each, ProviderError) and each is not ProviderError
]


def test_the_drawing_shows_every_error() -> None:
    assert set(DRAWN) == {each.__name__ for each in CLASSES}


def test_an_error_is_one_step_from_what_it_is_drawn_under() -> None:
    above: dict[int, str] = {}
    for indent, name in re.findall(r"^( {4,12})([A-Z]\w+) ", errors.__doc__ or "", re.MULTILINE):
        above[len(indent)] = name
        if len(indent) > 4:
            kind = getattr(errors, name)
            assert [base.__name__ for base in kind.__bases__] == [above[len(indent) - 4]]


def test_the_drawing_says_what_a_failed_attempt_allows() -> None:
    drawn = dict(
        re.findall(r"^ {8}(Provider\w+) .*[:,] (\w+)$", errors.__doc__ or "", re.MULTILINE)
    )
    words = {Retry.FINAL: "final", Retry.SAFE: "elsewhere", Retry.ONCE: "once"}

    assert drawn == {each.__name__: words[each.retry] for each in ATTEMPT_ERRORS}


def test_every_failed_attempt_has_a_status_a_code_and_a_retry() -> None:
    for each in ATTEMPT_ERRORS:
        assert 400 <= each.status <= 599
        assert each is ProviderRejected or each.code
        assert each.type
        assert isinstance(each.retry, Retry)


@pytest.mark.parametrize(
    ("measure", "type_"),
    [("tokens", "tokens"), ("requests", "requests"), ("concurrency", "requests")],
)
def test_a_limit_is_told_in_the_types_that_openai_knows(measure: str, type_: str) -> None:
    assert LimitExceeded("m", measure=measure, retry_after=1.0).type == type_


def test_every_error_of_the_gateway_has_the_status_that_is_drawn() -> None:
    drawn = dict(re.findall(r"^ {8,12}(\w+) +(\d{3})$", errors.__doc__ or "", re.MULTILINE))
    kinds = [
        each for each in CLASSES if issubclass(each, GatewayError) and each is not GatewayError
    ]

    assert {each.__name__: str(each.status) for each in kinds} == drawn


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (InvalidRequest("m", param="p", code="c"), (400, "invalid_request_error", "p", "c")),
        (InvalidKey(), (401, "invalid_request_error", None, "invalid_api_key")),
        (
            PermissionDenied("m", code="tenant_suspended"),
            (403, "invalid_request_error", None, "tenant_suspended"),
        ),
        (TooManyFailures(retry_after=2.0), (429, "requests", None, "too_many_failures")),
        (UnknownModel(), (404, "invalid_request_error", "model", "model_not_found")),
        (BodyTooSlow("m"), (408, "invalid_request_error", None, "request_timeout")),
        (BodyTooLarge("m"), (413, "invalid_request_error", None, "request_too_large")),
        (
            LimitExceeded("m", measure="tokens", retry_after=2.0),
            (429, "tokens", None, "rate_limit_exceeded"),
        ),
        (InternalError(), (500, "server_error", None, "internal_error")),
        (ProviderRateLimited("t"), (429, "requests", None, "rate_limit_exceeded")),
        (ProviderRefused("t"), (502, "server_error", None, "upstream_error")),
        (
            ProviderRejected("t", status=422, code="c", param="p"),
            (422, "invalid_request_error", "p", "c"),
        ),
    ],
)
def test_an_error_knows_what_a_client_is_told(
    error: GatewayError | ProviderError, shown: tuple[int, str, str | None, str | None]
) -> None:
    assert (error.status, error.type, error.param, error.code) == shown
    assert error.message


def test_what_an_upstream_said_is_relayed_only_where_it_tells_what_to_mend() -> None:
    relayed = {
        each.__name__
        for each in CLASSES
        if issubclass(each, ProviderError)
        and each not in {ProviderError, ProviderRejected}
        and "upstream text" in each("upstream text").message
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
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    failures = [kind for kind in kinds if issubclass(kind, errors.ProviderError)]

    assert used
    assert used <= {code for kind in failures for code in (*kind.narrower, kind.code)}

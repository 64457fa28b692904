"""How a request ended, in words that nobody outside can choose."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.errors import (
    Draining,
    InvalidKey,
    InvalidRequest,
    LimitExceeded,
    NoHealthyUpstream,
    ProviderDisconnected,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimedOut,
    UnknownModel,
)
from gateway.pipeline.interrupt import ClientHungUp
from gateway.pipeline.outcome import HUNG_UP, code_of, conclude
from tests.support.records import record

ENDINGS: list[tuple[BaseException | None, tuple[str, int, str | None]]] = [
    (None, ("ok", 200, None)),
    (ClientHungUp(), ("hung_up", 499, "client_hung_up")),
    (asyncio.CancelledError(), ("hung_up", 499, "client_hung_up")),
    (InvalidKey(), ("refused", 401, "invalid_api_key")),
    (UnknownModel(), ("refused", 404, "model_not_found")),
    (InvalidRequest("m"), ("refused", 400, "invalid_request_error")),
    (NoHealthyUpstream("m"), ("failed", 503, "no_healthy_upstream")),
    (Draining("m"), ("failed", 503, "gateway_draining")),
    (ProviderRateLimited("t"), ("failed", 429, "rate_limit_exceeded")),
    (ProviderDisconnected("t"), ("failed", 502, "upstream_disconnected")),
    (ProviderTimedOut("t"), ("failed", 504, "upstream_timeout")),
    (ProviderRejected("t", status=422, code="c"), ("refused", 422, "upstream_rejected")),
    (ZeroDivisionError("ours"), ("failed", 500, "internal_error")),
]


@pytest.mark.parametrize(("error", "ending"), ENDINGS)
def test_an_ending_before_content_is_told_from_its_error(
    error: BaseException | None, ending: tuple[str, int, str | None]
) -> None:
    concluded = record(outcome="cut", status=0, error="?")

    conclude(concluded, error, committed=False)

    assert (concluded.outcome, concluded.status, concluded.error) == ending


@pytest.mark.parametrize(("error", "ending"), ENDINGS)
def test_an_answer_with_content_is_complete_or_left_or_cut(
    error: BaseException | None, ending: tuple[str, int, str | None]
) -> None:
    outcome, _, code = ending
    concluded = record(outcome="failed", status=0, error="?")

    conclude(concluded, error, committed=True)

    assert concluded.error == code
    if outcome in {"ok", "hung_up"}:
        assert (concluded.outcome, concluded.status) == ending[:2]
    else:
        assert (concluded.outcome, concluded.status) == ("cut", 200)


@pytest.mark.parametrize("measure", ["requests", "tokens", "concurrency"])
def test_a_limit_that_refused_is_named(measure: str) -> None:
    concluded = record()
    conclude(concluded, LimitExceeded("m", measure=measure, retry_after=1.0), committed=False)

    assert concluded.limited_by == measure
    assert (concluded.outcome, concluded.status) == ("refused", 429)


def test_nothing_else_names_a_limit() -> None:
    concluded = record()
    conclude(concluded, ProviderRateLimited("t"), committed=False)

    assert concluded.limited_by is None


@given(st.text(), st.text(), st.integers(400, 499))
def test_what_an_upstream_calls_a_fault_is_no_word_of_ours(
    told: str, code: str, status: int
) -> None:
    rejected = ProviderRejected(told, status=status, code=code, param=told)

    assert code_of(rejected) == "upstream_rejected"


def test_no_client_sees_the_status_of_one_that_left() -> None:
    assert HUNG_UP == 499

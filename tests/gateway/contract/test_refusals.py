"""What the gateway answers itself."""

import pytest

from gateway.contract.refusals import GatewayError, LimitExceeded, StoreUnavailable


@pytest.mark.parametrize(
    ("measure", "type_"),
    [("tokens", "tokens"), ("requests", "requests"), ("concurrency", "requests")],
)
def test_a_limit_is_told_in_the_types_that_openai_knows(measure: str, type_: str) -> None:
    assert LimitExceeded("m", measure=measure, retry_after=1.0).type == type_


def test_a_refusal_says_how_long_to_wait_only_where_waiting_helps() -> None:
    told = StoreUnavailable()

    assert isinstance(told, GatewayError)
    assert (told.retry_after, told.retryable) == (1.0, True)

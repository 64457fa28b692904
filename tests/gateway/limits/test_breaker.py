from gateway.limits.breaker import FAILURES, WITHIN, Breaker
from tests.support.ticker import Ticker


def test_a_few_failures_close_together_open_it_and_a_probe_closes_it(ticker: Ticker) -> None:
    breaker = Breaker(ticker.seconds)
    for _ in range(FAILURES - 1):
        breaker.failed()
        ticker.ms += round(WITHIN * 1000) // (FAILURES - 1)
    assert not breaker.is_open

    breaker.failed()
    assert breaker.is_open

    breaker.reached()
    breaker.failed()
    assert not breaker.is_open


def test_calls_that_failed_together_are_one_failure(ticker: Ticker) -> None:
    breaker = Breaker(ticker.seconds)
    for _ in range(10 * FAILURES):
        breaker.failed()

    assert not breaker.is_open


def test_failures_far_apart_leave_it_closed(ticker: Ticker) -> None:
    breaker = Breaker(ticker.seconds)
    for _ in range(5 * FAILURES):
        breaker.failed()
        ticker.ms += 300

    assert not breaker.is_open


def test_a_store_that_was_not_reached_opens_it_at_once(ticker: Ticker) -> None:
    breaker = Breaker(ticker.seconds)
    breaker.trip()

    assert breaker.is_open

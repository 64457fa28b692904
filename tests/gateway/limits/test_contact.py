import pytest
from redis.exceptions import RedisError, ResponseError
from structlog.testing import capture_logs

from gateway.contract.errors import StoreUnavailable
from gateway.limits.breaker import FAILURES
from gateway.limits.contact import Contact
from gateway.limits.counts import Counts
from gateway.redis import Redis
from tests.support.redis_server import RedisServer
from tests.support.ticker import Ticker


@pytest.fixture
def contact(mortal_client: Redis, ticker: Ticker) -> Contact:
    return Contact(mortal_client, Counts(), ticker.seconds)


async def test_a_server_that_fails_a_few_times_is_left_alone_until_a_probe_reaches_it(
    contact: Contact, ticker: Ticker
) -> None:
    with capture_logs() as told:
        for _ in range(FAILURES):
            assert not contact.is_open
            contact.failed(RedisError("no"))
            ticker.ms += 50
        assert contact.is_open

        await contact.probe()

    assert not contact.is_open
    assert contact.failures == FAILURES
    assert [each["event"] for each in told] == ["limits_store_unreachable", "limits_store_reached"]


async def test_a_server_that_is_gone_is_told_of_once_and_leaves_leases_in_doubt(
    contact: Contact, mortal: RedisServer
) -> None:
    mortal.kill()
    with capture_logs() as told:
        await contact.probe()
        await contact.probe()

    assert (contact.is_open, contact.in_doubt) == (True, True)
    assert [each["event"] for each in told] == ["limits_store_unreachable"]


@pytest.mark.parametrize(
    ("error", "failures", "unseeded", "logged"),
    [
        (ResponseError("no"), 1, 0, []),
        (StoreUnavailable(), 0, 1, []),
        (ValueError("no"), 0, 0, ["limits_call_failed"]),
    ],
)
def test_only_the_server_itself_is_blamed_for_what_it_does_not_answer(
    ticker: Ticker, error: Exception, failures: int, unseeded: int, logged: list[str]
) -> None:
    counts = Counts()
    with capture_logs() as told:
        Contact(None, counts, ticker.seconds).failed(error)  # type: ignore[arg-type]  # not asked

    assert (counts.store_failures, counts.unseeded) == (failures, unseeded)
    assert [each["event"] for each in told] == logged

import pytest
from limits import RateLimitItemPerMinute

from gateway.admin.errors import SignInThrottled
from gateway.admin.throttle import Throttle, network_of


async def count(throttle: Throttle, addresses: list[str], names: list[str]) -> int:
    """How many attempts in a row are taken."""
    for number, (address, name) in enumerate(zip(addresses, names, strict=True)):
        try:
            await throttle.attempt(address, name)
        except SignInThrottled:
            return number
    return len(names)


async def test_a_name_is_tried_five_times_a_minute_from_wherever() -> None:
    addresses = [f"192.0.2.{i}" for i in range(20)]

    assert await count(Throttle(), addresses, ["olga"] * 20) == 5


async def test_whoever_tries_too_often_is_told_to_wait_a_minute() -> None:
    throttle = Throttle(each_name=RateLimitItemPerMinute(1))
    await throttle.attempt("192.0.2.1", "olga")

    with pytest.raises(SignInThrottled) as raised:
        await throttle.attempt("192.0.2.1", "olga")
    assert raised.value.retry_after == 60


async def test_an_address_tries_twenty_times_a_minute_whatever_the_names() -> None:
    names = [f"name-{i}" for i in range(30)]

    assert await count(Throttle(), ["192.0.2.1"] * 30, names) == 20


async def test_the_names_that_a_throttled_address_tries_are_not_counted() -> None:
    throttle = Throttle(each_address=RateLimitItemPerMinute(1))
    await count(throttle, ["192.0.2.1"] * 2, ["first", "second"])

    assert len(throttle._limiter.storage.events) == 2  # type: ignore[attr-defined]
    assert await count(throttle, [f"192.0.2.{i}" for i in range(2, 9)], ["second"] * 7) == 5


async def test_an_address_of_ipv6_counts_as_its_subscribers_network() -> None:
    throttle = Throttle(each_address=RateLimitItemPerMinute(3))
    addresses = [f"2001:db8::{i:x}" for i in range(1, 9)]

    assert await count(throttle, addresses, [f"name-{i}" for i in range(8)]) == 3


async def test_whoever_knew_the_password_starts_anew() -> None:
    throttle = Throttle()
    await count(throttle, [f"192.0.2.{i}" for i in range(4)], ["olga"] * 4)
    await throttle.forgive("olga")

    assert await count(throttle, [f"192.0.2.{i}" for i in range(9)], ["olga"] * 9) == 5


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("", ""),
        ("a unix socket", "a unix socket"),
    ],
)
def test_attempts_are_counted_for_a_network(address: str, network: str) -> None:
    assert network_of(address) == network

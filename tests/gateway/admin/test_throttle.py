import asyncio

import pytest

from gateway.admin.errors import SignInThrottled
from gateway.admin.throttle import Throttle


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def count(throttle: Throttle, addresses: list[str], names: list[str]) -> int:
    """How many attempts in a row are taken."""
    for number, (address, name) in enumerate(zip(addresses, names, strict=True)):
        try:
            throttle.attempt(address, name)
        except SignInThrottled:
            return number
    return len(names)


def somewhere(number: int) -> list[str]:
    return [f"192.0.2.{i}" for i in range(number)]


def test_a_name_is_tried_five_times_at_once_from_wherever_then_every_twelve_seconds() -> None:
    clock = Clock()
    throttle = Throttle(clock=clock)

    assert count(throttle, somewhere(20), ["olga"] * 20) == 5
    with pytest.raises(SignInThrottled) as raised:
        throttle.attempt("192.0.2.100", "olga")
    assert raised.value.retry_after == pytest.approx(12.0)
    clock.now += 12
    assert count(throttle, somewhere(2), ["olga"] * 2) == 1


def test_an_address_tries_twenty_times_at_once_whatever_the_names() -> None:
    names = [f"name-{i}" for i in range(30)]

    assert count(Throttle(), ["192.0.2.1"] * 30, names) == 20


def test_the_names_that_a_throttled_address_tries_are_not_counted() -> None:
    throttle = Throttle("1/minute", clock=Clock())
    count(throttle, ["192.0.2.1"] * 2, ["first", "second"])

    assert count(throttle, somewhere(9)[2:], ["second"] * 7) == 5


def test_an_address_of_ipv6_counts_as_its_subscribers_network() -> None:
    addresses = [f"2001:db8::{i:x}" for i in range(1, 9)]

    assert count(Throttle("3/minute"), addresses, [f"name-{i}" for i in range(8)]) == 3


def test_whoever_knew_the_password_starts_anew() -> None:
    throttle = Throttle()
    count(throttle, somewhere(4), ["olga"] * 4)
    throttle.forgive("olga")
    throttle.forgive("nobody")

    assert count(throttle, somewhere(9), ["olga"] * 9) == 5


async def test_nothing_runs_between_attempts_and_what_is_kept_is_bounded() -> None:
    throttle = Throttle()

    for i in range(11_000):
        throttle.attempt(f"2001:db8:{i >> 8:x}:{i & 0xFF:x}::1", f"name-{i}")

    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert (len(throttle._addresses), len(throttle._names)) == (10_000, 10_000)

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.failures import Buckets, Failures, network_of, rate_of


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def failures(rate: str = "3/minute", most: int = 100) -> tuple[Failures, Clock]:
    clock = Clock()
    return Failures(rate, clock=clock, most=most), clock


def test_a_bucket_takes_as_many_as_its_rate_says_and_drains_evenly() -> None:
    counted, clock = failures()

    for _ in range(3):
        assert counted.wait("192.0.2.1") == 0.0
        counted.count("192.0.2.1")
    assert counted.wait("192.0.2.1") == pytest.approx(20.0)
    clock.now += 15
    assert counted.wait("192.0.2.1") == pytest.approx(5.0)
    clock.now += 5
    assert counted.wait("192.0.2.1") == 0.0
    counted.count("192.0.2.1")
    assert counted.wait("192.0.2.1") == pytest.approx(20.0)


def test_a_bucket_that_was_left_alone_is_empty() -> None:
    counted, clock = failures()

    for _ in range(3):
        counted.count("192.0.2.1")
    clock.now += 3600
    for _ in range(3):
        assert counted.wait("192.0.2.1") == 0.0
        counted.count("192.0.2.1")
    assert counted.wait("192.0.2.1") > 0.0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%a", "fe80::1%b", True),
        (None, "", True),
        ("unknown", None, True),
        ("0.0.0.1", "::1", False),
    ],
)
def test_addresses_share_a_bucket_where_one_client_has_them_all(
    one: str | None, other: str | None, same: bool
) -> None:
    counted, _ = failures("1/minute")

    counted.count(one)

    assert (counted.wait(other) > 0) is same


def test_memory_is_bounded_whatever_addresses_come() -> None:
    counted, _ = failures("1/minute")

    for number in range(10_000):
        counted.count(str(IPv6Address(number << 64)))

    assert len(counted) == 100
    assert counted.wait(str(IPv6Address(9_999 << 64))) > 0
    assert counted.wait(str(IPv6Address(0))) == 0


def test_the_address_that_failed_longest_ago_is_forgotten_first() -> None:
    counted, _ = failures("1/minute", most=2)

    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.3"):
        counted.count(address)

    assert counted.wait("192.0.2.1") > 0
    assert counted.wait("192.0.2.2") == 0


def test_a_bucket_is_emptied_alone() -> None:
    counted = Buckets("1/minute", clock=Clock())

    for name in ("olga", "anna"):
        counted.count(name)
    counted.empty("olga")

    assert counted.wait("olga") == 0
    assert counted.wait("anna") > 0


@given(st.text(max_size=50))
def test_any_text_has_a_bucket(address: str) -> None:
    counted, _ = failures("1/minute")

    counted.count(address)

    assert counted.wait(address) > 0
    assert len(network_of(address)) < 50


@given(st.lists(st.floats(0, 30), max_size=60))
def test_no_more_pass_in_a_time_than_the_bucket_holds_and_drains(pauses: list[float]) -> None:
    counted, clock = failures("5/minute")
    began, passed = clock.now, 0

    for pause in pauses:
        clock.now += pause
        if counted.wait("192.0.2.1") == 0:
            counted.count("192.0.2.1")
            passed += 1
    assert passed <= 5 + (clock.now - began) / 12 + 1e-6


@pytest.mark.parametrize("text", ["", "many", "60", "0/minute", "60/fortnight"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"rate|nothing"):
        rate_of(text)


def test_the_default_rate_is_one_a_second_with_a_minute_at_once() -> None:
    counted = Failures()

    for _ in range(60):
        assert counted.wait("192.0.2.1") == 0
        counted.count("192.0.2.1")
    assert 0 < counted.wait("192.0.2.1") <= 1.0

import pytest

from gateway.limits import mirror as mirror_module
from gateway.limits.keys import shard_of, tenant_prefix
from gateway.limits.mirror import OFTEN, Mirror
from gateway.limits.model import NOTHING, Amounts, AtOnce, Calendar, Limit, Reservation, Sliding
from tests.support.ticker import START

TEN = Sliding(bucket_ms=1000, buckets=10)
LIMITS = (
    Limit("tenant:acme", "requests", 9, TEN),
    Limit("tenant:acme", "tokens", 900, TEN),
    Limit("tenant:acme", "money", 900, Calendar("day")),
    Limit("key:k", "concurrency", 9, AtOnce()),
)
SHARD = shard_of("acme")
PREFIX = tenant_prefix("acme", SHARD)


def held(charged: int, tokens: int, tenant: str) -> Reservation:
    reservation = Reservation("r", tenant, LIMITS, Amounts(tokens))
    reservation.charged = charged
    return reservation


def taken(mirror: Mirror, at: int, tokens: int = 100, tenant: str = "acme") -> Reservation:
    reservation = held(START + at, tokens, tenant)
    mirror.took(reservation)
    return reservation


def mirrored(mirror: Mirror, tenant: str = "acme") -> list[dict[int, int]]:
    """What is in the windows, by their second."""
    return [
        {bucket - START // 1000: amount for bucket, amount in buckets.items()}
        for _, _, buckets in mirror.of(shard_of(tenant))
    ]


def test_windows_are_mirrored_and_nothing_else() -> None:
    mirror = Mirror()
    taken(mirror, 0)
    taken(mirror, 700, 50)
    taken(mirror, 1200, 7)

    assert mirrored(mirror) == [{0: 2, 1: 1}, {0: 150, 1: 7}]
    assert [(key, window) for key, window, _ in mirror.of(SHARD)] == [
        (PREFIX + LIMITS[0].name, TEN),
        (PREFIX + LIMITS[1].name, TEN),
    ]
    assert list(mirror.of((SHARD + 1) % 64)) == []


def test_what_was_not_used_is_given_back_and_what_was_used_beyond_is_not_remembered() -> None:
    mirror = Mirror()
    first, second = taken(mirror, 0), taken(mirror, 0)

    mirror.gave_back(first, Amounts(30))
    mirror.gave_back(second, Amounts(500))

    assert mirrored(mirror) == [{0: 2}, {0: 130}]


def test_what_was_extended_counts_from_then_on() -> None:
    mirror = Mirror()
    held = taken(mirror, 0)

    mirror.moved(held, Amounts(160), START + 3000)
    held.amounts, held.charged = Amounts(160), START + 3000
    mirror.gave_back(held, Amounts(60))

    assert mirrored(mirror) == [{0: 1}, {0: 0, 3: 60}]


def test_buckets_that_have_left_their_window_are_forgotten() -> None:
    mirror = Mirror()
    held = taken(mirror, 0)
    for second in range(40):
        taken(mirror, 1000 * second)
    mirror.gave_back(held, NOTHING)

    assert [len(buckets) for buckets in mirrored(mirror)] == [11, 11]


def test_a_window_is_known_longer_than_a_shorter_one_beside_it() -> None:
    mirror = Mirror()
    long = Limit("tenant:acme", "tokens", 900, Sliding(bucket_ms=60_000, buckets=60))
    both = (LIMITS[1], long)
    held = Reservation("r", "acme", both, Amounts(100))
    held.charged = START
    mirror.took(held)
    other = next(each for each in "abcd" if shard_of(each) != SHARD)
    for _ in range(OFTEN):
        taken(mirror, 20_000, tenant=other)

    mirror.gave_back(held, Amounts(30))

    assert [list(buckets.values()) for _, _, buckets in mirror.of(SHARD)] == [[30], []]


def test_tenants_that_are_gone_are_forgotten() -> None:
    mirror = Mirror()
    for number in range(OFTEN - 1):
        taken(mirror, 0, tenant=f"t{number}")
    taken(mirror, 11_000)

    assert list(mirror._windows) == ["acme"]
    mirror.gave_back(held(START, 5, "t1"), NOTHING)
    assert list(mirror._windows) == ["acme"]


def test_limits_that_come_anew_again_and_again_take_no_more_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mirror_module, "REMEMBERED", 3)
    mirror = Mirror()
    for _ in range(10):  # as they do with every reload of the configuration
        held = Reservation("r", "acme", LIMITS[:1] + LIMITS[1:], Amounts(100))
        held.charged = START
        mirror.took(held)
        mirror.gave_back(held, Amounts(30))

    assert len(mirror._bound) <= 3
    assert mirrored(mirror) == [{0: 10}, {0: 300}]

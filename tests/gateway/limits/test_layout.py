import pytest

from gateway.limits.layout import Layout
from gateway.limits.model import Amounts, Ask, AtOnce, Limit
from tests.support.packed import LIMITS, packed_values


def test_the_keys_come_after_their_number() -> None:
    number, *keys = packed_values(Layout.of("acme", LIMITS).ending("01ABC"))

    assert int(number) == len(keys)


@pytest.mark.parametrize(
    ("tenant", "scope"),
    [("a{b}", "tenant:a"), ("", "tenant:a"), ("A", "tenant:a"), ("a" * 41, "x"), ("a", "k;|,")],
)
def test_a_name_that_could_leave_its_slot_is_refused(tenant: str, scope: str) -> None:
    with pytest.raises(ValueError, match="can not be part of a key"):
        Layout.of(tenant, (Limit(scope, "concurrency", 1, AtOnce()),))


def test_only_what_the_request_asks_for_differs_between_requests() -> None:
    layout = Layout.of("acme", LIMITS)

    one = packed_values(layout.asking(Ask(Amounts(7, 70), Amounts(1, 10), 50, 5)))
    other = packed_values(layout.asking(Ask(Amounts(8, 80), Amounts(2, 20), 60, 6)))

    assert [(a, b) for a, b in zip(one, other, strict=True) if a != b] == [
        ("7", "8"),
        ("1", "2"),
        ("70", "80"),
        ("10", "20"),
    ]
    assert one[:9] == ["acme", "w", "r", "1", "0", "5", "1000", "60", LIMITS[0].name]
    assert one[17:25] == ["c", "c", "1", "0", "3", "0", "0", LIMITS[2].name]


def test_it_is_known_how_many_values_are_sent() -> None:
    layout = Layout.of("acme", LIMITS)

    assert layout.ending_count == len(packed_values(layout.ending("01ABC")))
    assert layout.asking_count == len(packed_values(layout.asking(Ask(Amounts()))))

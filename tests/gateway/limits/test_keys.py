import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.keys import SHARDS, shard_keys, shard_of, stored_keys
from gateway.limits.layout import Layout
from gateway.limits.model import Amounts, Ask, AtOnce, Calendar, Limit, Sliding

TENANT = st.from_regex(r"[a-z0-9-]{1,40}", fullmatch=True)
LIMITS = (
    Limit("tenant:acme", "requests", 5, Sliding(bucket_ms=1000, buckets=60)),
    Limit("tenant:acme", "tokens", 99, Calendar("month")),
    Limit("key:a1B2", "concurrency", 3, AtOnce()),
    Limit("key:a1B2/m:0123456789ab", "money", 7, Calendar("day")),
)


def ending(tenant: str) -> list[str]:
    """The keys of reserve and settle, as they are sent."""
    number, *keys = packed_values(Layout.of(tenant, LIMITS).ending("01ABC"))
    assert int(number) == len(keys)
    return keys


def packed_values(values: bytes) -> list[str]:
    return values.decode().split("\r\n")[1::2]


@given(TENANT)
def test_all_keys_of_a_tenant_lie_in_one_slot(tenant: str) -> None:
    keys = ending(tenant)

    assert 0 <= shard_of(tenant) < SHARDS
    assert {key[key.index("{") : key.index("}") + 1] for key in keys} == {
        f"{{s{shard_of(tenant)}}}"
    }
    assert all(key.startswith("lg1:{") for key in keys)


@given(TENANT, TENANT)
def test_no_key_of_a_tenant_is_one_of_another(one: str, other: str) -> None:
    mine, others = (set(ending(each)[5:]) for each in (one, other))

    assert (mine & others == set()) == (one != other)


@pytest.mark.parametrize(
    ("tenant", "scope"),
    [("a{b}", "tenant:a"), ("", "tenant:a"), ("A", "tenant:a"), ("a" * 41, "x"), ("a", "k;|,")],
)
def test_a_name_that_could_leave_its_slot_is_refused(tenant: str, scope: str) -> None:
    with pytest.raises(ValueError, match="can not be part of a key"):
        Layout.of(tenant, (Limit(scope, "concurrency", 1, AtOnce()),))


def test_keys_are_named_as_documented() -> None:
    layout = Layout.of("acme", LIMITS)
    shard = f"lg1:{{s{shard_of('acme')}}}:"

    assert ending("acme") == [
        shard + "rsv",
        shard + "rsvx",
        shard + "clk",
        shard + "acme:t:01ABC",
        shard + "led",
        shard + "acme:w:1000x60:requests:tenant:acme",
        shard + "acme:p:month:tokens:tenant:acme",
        shard + "acme:c:concurrency:key:a1B2",
        shard + "acme:p:day:money:key:a1B2/m:0123456789ab",
    ]
    assert list(layout.restoring("01ABC")) == [
        key for key in ending("acme") if not key.endswith(":led")
    ]
    assert layout.places == (shard + "acme:c:concurrency:key:a1B2",)
    assert layout.rooms == (3,)


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


def test_keys_are_found_again_in_what_is_stored() -> None:
    names = ";".join(f"w,r,1,17,1000,60,{limit.name}" for limit in LIMITS)
    stored = f'0,0,9|acme|{names}|{{"a": "b|c;d"}}'.encode()

    assert list(stored_keys(shard_of("acme"), "01ABC", stored)) == ending("acme")
    assert stored_keys(3, "x", b"") == (*shard_keys(3), "lg1:{s3}::t:x", "lg1:{s3}:led")

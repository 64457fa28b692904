import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.keys import SHARDS, Layout, shard_keys, shard_of, stored_keys
from gateway.limits.model import Amounts, Ask, AtOnce, Calendar, Limit, Sliding

TENANT = st.from_regex(r"[a-z0-9-]{1,40}", fullmatch=True)
LIMITS = (
    Limit("tenant:acme", "requests", 5, Sliding(bucket_ms=1000, buckets=60)),
    Limit("tenant:acme", "tokens", 99, Calendar("month")),
    Limit("key:a1B2", "concurrency", 3, AtOnce()),
    Limit("key:a1B2/m:0123456789ab", "money", 7, Calendar("day")),
)


@given(TENANT)
def test_all_keys_of_a_tenant_lie_in_one_slot(tenant: str) -> None:
    keys = Layout.of(tenant, LIMITS).ending("01ABC")

    assert 0 <= shard_of(tenant) < SHARDS
    assert {key[key.index("{") : key.index("}") + 1] for key in keys} == {
        f"{{s{shard_of(tenant)}}}"
    }
    assert all(key.startswith("lg1:{") for key in keys)


@given(TENANT, TENANT)
def test_no_key_of_a_tenant_is_one_of_another(one: str, other: str) -> None:
    mine, others = (set(Layout.of(each, LIMITS).ending("01ABC")[5:]) for each in (one, other))

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

    assert layout.ending("01ABC") == (
        shard + "rsv",
        shard + "rsvx",
        shard + "clk",
        shard + "acme:t:01ABC",
        shard + "led",
        shard + "acme:w:1000x60:requests:tenant:acme",
        shard + "acme:p:month:tokens:tenant:acme",
        shard + "acme:c:concurrency:key:a1B2",
        shard + "acme:p:day:money:key:a1B2/m:0123456789ab",
    )
    assert layout.restoring("01ABC") == tuple(
        key for key in layout.ending("01ABC") if not key.endswith(":led")
    )
    assert layout.places == (shard + "acme:c:concurrency:key:a1B2",)
    assert layout.rooms == (3,)


def test_only_what_the_request_asks_for_differs_between_requests() -> None:
    layout = Layout.of("acme", LIMITS)

    one = layout.arguments(Ask(Amounts(7, 70), Amounts(1, 10), 50, 5))
    other = layout.arguments(Ask(Amounts(8, 80), Amounts(2, 20), 60, 6))

    assert [(a, b) for a, b in zip(one, other, strict=True) if a != b] == [
        (7, 8),
        (1, 2),
        (70, 80),
        (10, 20),
    ]
    assert one[:9] == ["acme", "w", "r", 1, 0, 5, 1000, 60, "w:1000x60:requests:tenant:acme"]


def test_keys_are_found_again_in_what_is_stored() -> None:
    names = ";".join(f"w,r,1,17,1000,60,{limit.name}" for limit in LIMITS)
    stored = f'0,0,9|acme|{names}|{{"a": "b|c;d"}}'.encode()

    assert stored_keys(shard_of("acme"), "01ABC", stored) == Layout.of("acme", LIMITS).ending(
        "01ABC"
    )
    assert stored_keys(3, "x", b"") == (*shard_keys(3), "lg1:{s3}::t:x", "lg1:{s3}:led")

from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.keys import SHARDS, shard_keys, shard_of, stored_keys
from gateway.limits.layout import Layout
from tests.support.packed import LIMITS, packed_values

TENANT = st.from_regex(r"[a-z0-9-]{1,40}", fullmatch=True)


def ending(tenant: str) -> list[str]:
    """The keys of reserve and settle, as they are sent."""
    _, *keys = packed_values(Layout.of(tenant, LIMITS).ending("01ABC"))
    return keys


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


def test_keys_are_found_again_in_what_is_stored() -> None:
    names = ";".join(f"w,r,1,17,1000,60,{limit.name}" for limit in LIMITS)
    stored = f'0,0,9|acme|{names}|{{"a": "b|c;d"}}'.encode()

    assert list(stored_keys(shard_of("acme"), "01ABC", stored)) == ending("acme")
    assert stored_keys(3, "x", b"") == (*shard_keys(3), "lg1:{s3}::t:x", "lg1:{s3}:led")

from hypothesis import given
from hypothesis import strategies as st

from gateway.access.holders import Holders
from gateway.store.feed import Changed

names = st.sampled_from("abc")
sets = st.builds(
    Holders,
    tenants=st.frozensets(names),
    projects=st.frozensets(st.tuples(names, names)),
    keys=st.frozensets(names),
)


def test_changes_concern_the_callers_of_what_they_change() -> None:
    changes = [
        Changed("tenant", "acme", "acme"),
        Changed("project", "web", "other"),
        Changed("key", "k", "other"),
    ]

    assert Holders.of(changes) == Holders(
        frozenset({"acme"}), frozenset({("other", "web")}), frozenset({"k"})
    )


def test_changes_of_anything_else_concern_nobody() -> None:
    changes = [Changed("plan", "gold", None), Changed("operator", "o", None), Changed("?", "", "")]

    assert not Holders.of(changes)


def test_a_caller_is_one_by_its_tenant_its_project_or_its_key() -> None:
    holders = Holders(frozenset({"acme"}), frozenset({("other", "web")}), frozenset({"k"}))

    assert holders.include("acme", None, "x")
    assert holders.include("acme", "web", "x")
    assert holders.include("other", "web", "x")
    assert holders.include("another", None, "k")
    assert not holders.include("other", None, "x")
    assert not holders.include("another", "web", "x")


@given(sets, sets, names, st.none() | names, names)
def test_whoever_is_in_one_of_two_is_in_both_together(
    one: Holders, other: Holders, tenant: str, project: str | None, key: str
) -> None:
    is_in = (one | other).include(tenant, project, key)

    assert is_in == (one.include(tenant, project, key) or other.include(tenant, project, key))
    assert bool(one | other) == (bool(one) or bool(other))

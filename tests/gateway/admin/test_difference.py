from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.difference import (
    KINDS,
    Kind,
    Lists,
    Name,
    Object,
    Step,
    difference,
    outcome,
)

Store = dict[tuple[Kind, Name], dict[str, Any]]
EVERYTHING: Lists = frozenset(
    {("plan", ()), ("tenant", ()), ("project", ("a",)), ("key", ("a",)), ("project", ("b",))}
)


def plan(name: str, **limits: Any) -> Object:
    return Object("plan", (name,), limits)


def tenant(name: str, **fields: Any) -> Object:
    return Object("tenant", (name,), fields, version=3)


def project(owner: str, name: str, **fields: Any) -> Object:
    return Object("project", (owner, name), fields)


def key(owner: str, name: str, **fields: Any) -> Object:
    return Object("key", (owner, name), fields)


def told(steps: Iterable[Step]) -> list[tuple[str, Kind, str]]:
    return [(each.action, each.kind, "/".join(each.name)) for each in steps]


def kept(objects: Iterable[Object]) -> Store:
    return {(each.kind, each.name): dict(each.fields) for each in objects}


def applied(store: Store, steps: Iterable[Step]) -> Store:
    """What the store holds afterwards; each step must find what it expects."""
    result = {name: dict(fields) for name, fields in store.items()}
    for each in steps:
        at = (each.kind, each.name)
        match each.action:
            case "create":
                assert at not in result
                result[at] = dict(each.after)
            case "update":
                assert {name: result[at].get(name) for name in each.after} == each.before
                result[at] |= each.after
            case "replace":
                result[at] = dict(each.after)
            case "delete":
                del result[at]
    return result


# Properties

_names = st.sampled_from(["a", "b"])
_values = st.sampled_from(["x", "y", None, ("m",)])
_fields = st.dictionaries(st.sampled_from(["plan", "models", "title"]), _values)
_key_fields = st.fixed_dictionaries(
    {}, optional={"public_id": st.sampled_from(["1", "2"]), "project": _names, "plan": _values}
)


def _objects() -> st.SearchStrategy[list[Object]]:
    owned = st.tuples(_names, _names)
    each = st.one_of(
        st.builds(Object, st.just("plan"), st.tuples(_names), _fields, st.just(1)),
        st.builds(Object, st.just("tenant"), st.tuples(_names), _fields, st.just(1)),
        st.builds(Object, st.just("project"), owned, _fields, st.just(1)),
        st.builds(Object, st.just("key"), owned, _key_fields, st.just(1)),
    )
    return st.lists(each, max_size=12, unique_by=lambda one: (one.kind, one.name))


_lists = st.sets(st.sampled_from(sorted(EVERYTHING))).map(frozenset)


@given(_objects(), _objects(), _lists)
def test_applying_the_difference_gives_what_should_be_there(
    desired: list[Object], current: list[Object], prune: Lists
) -> None:
    after = applied(kept(current), difference(desired, current, prune=prune))

    for each in desired:
        there = after[each.kind, each.name]
        assert {name: there.get(name) for name in each.fields} == each.fields


@given(_objects(), _objects(), _lists)
def test_a_second_difference_is_empty(
    desired: list[Object], current: list[Object], prune: Lists
) -> None:
    after = applied(kept(current), difference(desired, current, prune=prune))
    there = [Object(kind, name, fields, 2) for (kind, name), fields in after.items()]

    assert difference(desired, there, prune=prune) == ()


@given(_objects(), _objects(), _lists)
def test_the_outcome_is_what_applying_gives(
    desired: list[Object], current: list[Object], prune: Lists
) -> None:
    steps = difference(desired, current, prune=prune)

    assert outcome(current, steps) == applied(kept(current), steps)


@given(_objects(), _objects())
def test_without_pruning_nothing_is_lost(desired: list[Object], current: list[Object]) -> None:
    steps = difference(desired, current)
    after = applied(kept(current), steps)

    assert not [each for each in steps if each.action == "delete"]
    for each in current:
        assert each.fields.keys() <= after[each.kind, each.name].keys()


@given(_objects(), _objects(), _lists)
def test_pruned_lists_hold_what_is_named_and_nothing_else(
    desired: list[Object], current: list[Object], prune: Lists
) -> None:
    after = applied(kept(current), difference(desired, current, prune=prune))
    named = {(each.kind, each.name) for each in desired}

    assert not [at for at in after if at not in named and (at[0], at[1][:-1]) in prune]


@given(_objects(), _objects(), _lists)
def test_what_is_referred_to_comes_first_and_goes_last(
    desired: list[Object], current: list[Object], prune: Lists
) -> None:
    steps = difference(desired, current, prune=prune)
    order = [
        -KINDS.index(each.kind) + 10 if each.action == "delete" else KINDS.index(each.kind)
        for each in steps
    ]

    assert order == sorted(order)


@given(_objects(), _objects(), st.randoms(use_true_random=False))
def test_the_order_of_a_file_makes_no_difference(
    desired: list[Object], current: list[Object], chance: Any
) -> None:
    shuffled = [desired[i] for i in chance.sample(range(len(desired)), len(desired))]

    assert difference(shuffled, current) == difference(desired, current)


# Cases


def test_only_the_fields_that_differ_are_told() -> None:
    [step] = difference(
        [tenant("acme", plan="gold", title="Acme")],
        [tenant("acme", plan="free", title="Acme", suspended=True)],
    )

    assert step == Step("update", "tenant", ("acme",), {"plan": "free"}, {"plan": "gold"}, 3)


def test_another_secret_makes_another_key_with_the_same_fields() -> None:
    [step] = difference(
        [key("acme", "ci", public_id="new")], [key("acme", "ci", public_id="old", plan="free")]
    )

    assert (step.action, step.before) == ("replace", {"public_id": "old"})
    assert step.after == {"public_id": "new", "plan": "free"}


def test_a_key_without_a_written_secret_keeps_the_one_it_has() -> None:
    there = key("acme", "ci", public_id="old", plan=None)

    assert difference([key("acme", "ci", plan=None)], [there]) == ()


def test_what_a_tenant_holds_goes_before_it() -> None:
    there = [tenant("b"), tenant("acme"), project("acme", "web"), key("acme", "ci"), plan("free")]

    steps = difference([tenant("b")], there, prune=frozenset({("tenant", ())}))

    assert told(steps) == [
        ("delete", "key", "acme/ci"),
        ("delete", "project", "acme/web"),
        ("delete", "tenant", "acme"),
    ]


def test_a_projects_keys_go_with_it() -> None:
    there = [
        tenant("acme"),
        project("acme", "web"),
        key("acme", "ci", project="web"),
        key("acme", "own", project=None),
    ]

    steps = difference([tenant("acme")], there, prune=frozenset({("project", ("acme",))}))

    assert told(steps) == [("delete", "key", "acme/ci"), ("delete", "project", "acme/web")]


def test_everything_new_is_made_in_the_order_of_its_references() -> None:
    new = [key("acme", "ci"), project("acme", "web"), tenant("acme"), plan("gold")]

    assert told(difference(new, [])) == [
        ("create", "plan", "gold"),
        ("create", "tenant", "acme"),
        ("create", "project", "acme/web"),
        ("create", "key", "acme/ci"),
    ]

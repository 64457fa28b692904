"""
What must change for the store to be as a file says.

Pure, so that what is shown is what is done. What the file does not name is left alone, objects
and single fields alike; only pruning deletes, and only from the lists that the file writes. An
applied difference leaves none: the next one of the same file is empty.

The order is that of references: plans, tenants, projects, keys, then what goes in reverse.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["plan", "tenant", "project", "key"]
"""What a file may declare, in the order in which one refers to the other."""
Action = Literal["create", "update", "replace", "delete"]
Name = tuple[str, ...]
"""`(plan,)`, `(tenant,)`, `(tenant, project)`, `(tenant, key's name)`."""
Fields = Mapping[str, object]
"""Plain values that can be compared, by field: text, numbers, times, tuples, mappings."""
State = Mapping[tuple[Kind, Name], Fields]
"""What there is, by kind and name."""
Lists = frozenset[tuple[Kind, Name]]
"""Lists of objects by kind and owner: `("plan", ())`, `("key", ("acme",))`."""

KINDS: tuple[Kind, ...] = get_args(Kind)
IDENTITY = "public_id"
"""The field of a key that can't change: another one is another key."""


@dataclass(frozen=True, slots=True)
class Object:
    """
    An object as it is, with all its fields, or as it should be, with those that are written.

    `version` counts the changes of one that is; one that should be has none.
    """

    kind: Kind
    name: Name
    fields: Fields
    version: int = 0

    @property
    def owner(self) -> Name:
        """The object within which the name is one: nothing, or a tenant."""
        return self.name[:-1]


@dataclass(frozen=True, slots=True)
class Step:
    """
    One step. `before` and `after` hold the fields that differ; one is empty for what is created
    or deleted. `replace` is a key that gets another secret under its name: `after` holds all its
    fields. `version` is that of the object when it was looked at, 0 if there was none.
    """

    action: Action
    kind: Kind
    name: Name
    before: Fields
    after: Fields
    version: int = 0


def difference(
    desired: Iterable[Object], current: Iterable[Object], *, prune: Lists = frozenset()
) -> tuple[Step, ...]:
    """
    The steps from the objects that are there to those that should be, in the order in which they
    can be taken. `prune` names the lists in which nothing else may be left.
    """
    wanted = _named(desired)
    there = _named(current)
    steps = [
        step
        for each in sorted(wanted.values(), key=_place)
        for step in _brought(each, there.get((each.kind, each.name)))
    ]
    gone = _pruned(wanted, there, prune)
    steps += [
        Step("delete", each.kind, each.name, each.fields, {}, each.version)
        for each in sorted(gone, key=_place, reverse=True)
    ]
    return tuple(steps)


def outcome(current: Iterable[Object], steps: Iterable[Step]) -> State:
    """What there will be once the steps are taken."""
    state = {(each.kind, each.name): each.fields for each in current}
    for step in steps:
        at = (step.kind, step.name)
        if step.action == "delete":
            state.pop(at, None)
        else:
            state[at] = {**state.get(at, {}), **step.after}
    return state


def _named(objects: Iterable[Object]) -> dict[tuple[Kind, Name], Object]:
    return {(each.kind, each.name): each for each in objects}


def _place(each: Object) -> tuple[int, Name]:
    return KINDS.index(each.kind), each.name


def _brought(wanted: Object, there: Object | None) -> Iterator[Step]:
    """What brings one object to where it should be."""
    if there is None:
        yield Step("create", wanted.kind, wanted.name, {}, wanted.fields)
        return
    after = {k: v for k, v in wanted.fields.items() if v != there.fields.get(k)}
    if not after:
        return
    before = {name: there.fields.get(name) for name in after}
    if IDENTITY in after:
        whole = {**there.fields, **wanted.fields}
        yield Step("replace", wanted.kind, wanted.name, before, whole, there.version)
    else:
        yield Step("update", wanted.kind, wanted.name, before, after, there.version)


def _pruned(
    wanted: Mapping[tuple[Kind, Name], Object],
    there: Mapping[tuple[Kind, Name], Object],
    prune: Lists,
) -> list[Object]:
    """What goes: the unnamed of each list, and with it all that it holds."""
    gone: dict[tuple[Kind, Name], Object] = {}
    for each in sorted(there.values(), key=_place):
        unnamed = (each.kind, each.name) not in wanted
        if unnamed and ((each.kind, each.owner) in prune or _holder(each) & gone.keys()):
            gone[each.kind, each.name] = each
    return list(gone.values())


def _holder(each: Object) -> set[tuple[Kind, Name]]:
    """What takes an object with it when it goes: its tenant, and a key's project."""
    holders: set[tuple[Kind, Name]] = set()
    if each.owner:
        holders.add(("tenant", each.owner))
    if each.kind == "key" and isinstance(project := each.fields.get("project"), str):
        holders.add(("project", (*each.owner, project)))
    return holders

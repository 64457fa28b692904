"""Applying a file, on each kind of database."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from sqlalchemy import select

from gateway.access import Key
from gateway.admin import apply as module
from gateway.admin.apply import (
    ChangedMeanwhile,
    Comparison,
    Made,
    StepRefused,
    apply,
    compare,
    told,
)
from gateway.admin.declared import Declared
from gateway.admin.keys import Rotation, list_keys, rotate_key
from gateway.admin.tenants import TenantPatch, update_tenant
from gateway.contract.errors import StoreUnavailable
from gateway.store.tables import audit, keys, metadata
from tests.support.administration import OWNER, PEPPERS, Office

KEY = Key.generate(Random(1))
FILE: dict[str, Any] = {
    "plans": {"gold": {"requests": "60/minute"}, "tiny": {"concurrency": 1}},
    "tenants": {
        "acme": {
            "plan": "gold",
            "models": ["chat", "embed"],
            "projects": {"web": {"title": "The site", "plan": "tiny"}},
            "keys": [
                {"name": "ci", "project": "web", "key": KEY.reveal()},
                {"name": "own", "models": ["chat"], "networks": ["10.0.0.0/8"]},
            ],
        },
        "other": {},
    },
}


def declared(**sections: Any) -> Declared:
    return Declared.model_validate(sections)


def changed(**fields: Any) -> Declared:
    """The file with other fields of its first tenant."""
    return declared(plans=FILE["plans"], tenants={"acme": {**FILE["tenants"]["acme"], **fields}})


async def look(office: Office, file: Declared, *, prune: bool = False) -> Comparison:
    async with office.administration.reading(OWNER) as view:
        return await compare(view, file, prune=prune)


async def applied(office: Office, file: Declared, *, prune: bool = False) -> tuple[Made, ...]:
    found = await look(office, file, prune=prune)
    async with office.administration.writing(OWNER) as change:
        return await apply(change, file, found, PEPPERS, prune=prune)


async def steps(office: Office, file: Declared, *, prune: bool = False) -> list[str]:
    return [told(step) for step in (await look(office, file, prune=prune)).steps]


async def dump(office: Office) -> dict[str, list[Any]]:
    """Every row of every table."""
    async with office.database.reading() as connection:
        return {
            table.name: [tuple(row) for row in await connection.execute(select(table))]
            for table in metadata.sorted_tables
        }


async def test_an_empty_store_becomes_what_the_file_says(office: Office) -> None:
    made = await applied(office, declared(**FILE))

    assert [(each.tenant, each.name) for each in made] == [("acme", "own")]
    assert await steps(office, declared(**FILE)) == []
    assert await steps(office, declared(**FILE), prune=True) == []


async def test_each_step_is_one_audit_row_in_the_order_of_references(office: Office) -> None:
    await applied(office, declared(**FILE))

    async with office.database.reading() as connection:
        rows = await connection.execute(select(audit).order_by(audit.c.seq))
        told_of = [(row.actor, row.action, row.kind) for row in rows]
    kinds = ["plan", "plan", "tenant", "tenant", "project", "key", "key"]
    assert told_of == [("olga", "create", kind) for kind in kinds]


async def test_a_new_secret_is_shown_once_and_never_stored(office: Office) -> None:
    [made] = await applied(office, declared(**FILE))
    again = await applied(office, declared(**FILE))

    assert again == ()
    assert Key.parse(made.key) is not None
    assert made.key not in repr(made)
    stored = repr(await dump(office))
    assert made.id in stored
    assert made.key not in stored
    assert KEY.reveal() not in stored


async def test_keys_are_stored_under_the_current_pepper(office: Office) -> None:
    [made] = await applied(office, declared(**FILE))

    async with office.database.reading() as connection:
        rows = {row.public_id: row for row in await connection.execute(select(keys))}
    for key in (KEY, Key.parse(made.key)):
        assert key is not None
        row = rows[key.public_id]
        assert (row.digest, row.pepper) == (key.digest(PEPPERS.current), PEPPERS.current.name)


async def test_only_what_differs_is_changed(office: Office) -> None:
    await applied(office, declared(**FILE))
    file = changed(plan="tiny", projects={"web": {"plan": None}})

    assert await steps(office, file) == ["update tenant acme", "update project acme/web"]
    await applied(office, file)

    async with office.administration.reading(OWNER) as view:
        found = {(each.kind, each.name): each for each in (await compare(view, file)).current}
    assert found["tenant", ("acme",)].fields["plan"] == "tiny"
    assert found["tenant", ("acme",)].version == 2
    assert found["project", ("acme", "web")].fields == {
        "title": "The site",
        "plan": None,
        "models": None,
        "suspended": False,
    }
    assert found["tenant", ("other",)].version == 1


async def test_a_plan_is_replaced_whole(office: Office) -> None:
    await applied(office, declared(plans={"gold": {"requests": "5/minute", "concurrency": 5}}))
    file = declared(plans={"gold": {"requests": "6/minute"}})

    [step] = (await look(office, file)).steps
    assert step.before == {"requests": "5/minute", "concurrency": 5}
    assert step.after == {"requests": "6/minute", "concurrency": None}
    await applied(office, file)
    assert await steps(office, file) == []


async def test_what_the_file_does_not_name_is_left_alone(office: Office) -> None:
    await applied(office, declared(**FILE))
    before = await dump(office)

    assert await applied(office, declared(tenants={"acme": {}})) == ()
    assert await dump(office) == before


async def test_pruning_deletes_what_the_lists_of_the_file_do_not_name(office: Office) -> None:
    await applied(office, declared(**FILE))
    file = declared(
        plans={"gold": FILE["plans"]["gold"]},
        tenants={"acme": {"keys": [{"name": "own"}], "projects": {}}},
    )

    assert await steps(office, file, prune=True) == [
        "delete key acme/ci",
        "delete project acme/web",
        "delete tenant other",
        "delete plan tiny",
    ]
    await applied(office, file, prune=True)
    assert await steps(office, file, prune=True) == []


async def test_what_the_configuration_file_has_is_never_pruned(office: Office) -> None:
    await applied(office, declared(plans={}, tenants={}), prune=True)

    async with office.administration.reading(OWNER) as view:
        assert [each.name for each in (await list_keys(view, "written")).data] == ["ci"]


async def test_another_secret_under_a_name_ends_all_earlier_ones(office: Office) -> None:
    await applied(office, declared(**FILE))
    async with office.administration.writing(OWNER) as change:
        verifier = declared(**FILE).verifiers(PEPPERS.current)["acme", "ci"]
        newer = type(verifier)("newerkey0000", verifier.digest, verifier.pepper)
        await rotate_key(change, "acme", KEY.public_id, Rotation(), newer)
    other = Key.generate(Random(2))
    file = changed(keys=[{"name": "ci", "key": other.reveal()}])

    [step] = (await look(office, file)).steps
    assert (step.action, step.before["public_id"]) == ("replace", "newerkey0000")
    await applied(office, file)

    async with office.administration.reading(OWNER) as view:
        found = [each for each in (await list_keys(view, "acme")).data if each.name == "ci"]
    assert [(each.id, each.project) for each in found] == [(other.public_id, "web")]


async def test_a_change_since_the_difference_was_shown_is_refused(office: Office) -> None:
    await applied(office, declared(**FILE))
    file = changed(plan="tiny")
    found = await look(office, file)
    async with office.administration.writing(OWNER) as change:
        await update_tenant(change, "acme", TenantPatch(title="Acme"))
    before = await dump(office)

    with pytest.raises(ChangedMeanwhile, match="nothing was applied"):
        async with office.administration.writing(OWNER) as change:
            await apply(change, file, found, PEPPERS)
    assert await dump(office) == before


async def test_a_step_that_can_not_be_taken_is_named_and_none_is_taken(office: Office) -> None:
    before = await dump(office)
    file = declared(
        plans={"gold": {}},
        tenants={"acme": {"keys": [{"name": "old", "expires": "2020-01-01T00:00:00Z"}]}},
    )

    with pytest.raises(StepRefused, match=r"create key acme/old: This time is past"):
        await applied(office, file)
    assert await dump(office) == before


async def test_what_the_operations_do_not_take_is_refused_by_the_name_of_its_step(
    office: Office,
) -> None:
    many = [f"10.0.0.{number}" for number in range(101)]
    file = declared(tenants={"acme": {"plan": "small", "keys": [{"name": "ci", "networks": many}]}})

    with pytest.raises(StepRefused, match=r"create key acme/ci: networks: "):
        await applied(office, file)


async def test_a_plan_that_somebody_has_is_not_pruned(office: Office) -> None:
    await applied(office, declared(**FILE))

    with pytest.raises(StepRefused, match="delete plan "):
        await applied(office, declared(plans={}), prune=True)


# Any file after any other


def some(chance: Random, names: str) -> list[str]:
    return [name for name in names if chance.random() < 0.6]


def any_file(chance: Random) -> Declared:
    """A file that refers to nothing but what it has itself, or what is configured."""
    plans = some(chance, "pqr")

    def plan() -> dict[str, str]:
        return {"plan": chance.choice(["small", *plans])} if chance.random() < 0.7 else {}

    def models(*may: str) -> dict[str, list[str]]:
        return {"models": chance.sample(may, chance.randint(0, len(may)))}

    def key(name: str, projects: list[str]) -> dict[str, Any]:
        secret = {"key": Key.generate(Random(f"{name}{chance.randint(0, 1)}")).reveal()}
        return {
            "name": name,
            "project": chance.choice([None, *projects]),
            "disabled": chance.random() < 0.3,
            "expires": chance.choice([None, "2030-01-01T00:00:00+01:00"]),
            "networks": chance.choice([[], ["10.0.0.1"], ["10.0.0.0/8"]]),
            "plan": None,
            "models": None,
            **plan(),
            **(secret if chance.random() < 0.5 else {}),
        }

    def tenant(name: str) -> dict[str, Any]:
        projects = some(chance, "xy")
        return {
            "title": chance.choice(["", "A title"]),
            "plan": chance.choice(["small", *plans]),
            "models": ["*"],
            "projects": {each: {"plan": None, **plan(), **models("chat")} for each in projects},
            "keys": [key(f"{name}{each}", projects) for each in some(chance, "klm")],
        }

    limits = {"requests": chance.choice(["5/minute", "6/minute"]), **models_of(chance)}
    return declared(
        plans={name: dict(limits) for name in plans},
        tenants={name: tenant(name) for name in some(chance, "abc")},
    )


def models_of(chance: Random) -> dict[str, Any]:
    return {"models": {"chat": {"requests": "1/minute"}}} if chance.random() < 0.5 else {}


async def test_after_any_file_any_other_can_be_applied_and_leaves_no_difference(
    office: Office,
) -> None:
    chance = Random(20261123)
    actions = set()
    for _ in range(12):
        file = any_file(chance)
        actions |= {(s.action, s.kind) for s in (await look(office, file, prune=True)).steps}
        await applied(office, file, prune=True)
        assert await steps(office, file, prune=True) == []

    assert len(actions) == 13  # every action on every kind, and a key replaced


# Atomicity


class Fault(Exception):
    """What goes wrong in the midst of applying."""


NEXT: dict[str, Any] = {
    "plans": {"silver": {}, "gold": {"requests": "70/minute"}},
    "tenants": {
        "acme": {
            "plan": "silver",
            "projects": {"app": {}},
            "keys": [
                {"name": "ci", "project": None, "key": Key.generate(Random(3)).reveal()},
                {"name": "new"},
            ],
        },
        "third": {},
    },
}
"""Against `FILE`, pruned: steps of every action and kind."""


@asynccontextmanager
async def failing(
    monkeypatch: pytest.MonkeyPatch, at: int, error: Callable[[], BaseException]
) -> AsyncIterator[None]:
    """In this block the step of that number fails after it was taken."""
    take = module._Applying.take
    taken = 0

    async def fails(self: Any, step: Any) -> None:
        nonlocal taken
        await take(self, step)
        taken += 1
        if taken == at + 1:
            raise error()

    with monkeypatch.context() as patched:
        patched.setattr(module._Applying, "take", fails)
        yield


@pytest.mark.parametrize("error", [Fault, StoreUnavailable])
async def test_a_fault_at_any_step_leaves_the_database_untouched(
    office: Office, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    await applied(office, declared(**FILE))
    before = await dump(office)
    file = declared(**NEXT)
    found = await look(office, file, prune=True)
    actions = {(step.action, step.kind) for step in found.steps}
    assert len(found.steps) > 10
    assert {action for action, _ in actions} == {"create", "update", "replace", "delete"}

    for at in range(len(found.steps)):
        async with failing(monkeypatch, at, error):
            with pytest.raises(error):
                await applied(office, file, prune=True)
        assert await dump(office) == before

    await applied(office, file, prune=True)
    assert await steps(office, file, prune=True) == []

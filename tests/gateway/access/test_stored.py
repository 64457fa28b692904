"""Keys of a database, with a table and a feed that do as they are told, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.access import (
    Access,
    ConfiguredKeys,
    Failures,
    FileFirst,
    Key,
    Peppers,
    TenantSettings,
    issue,
)
from gateway.access.holders import Change, Holders
from gateway.access.look_ups import AT_ONCE
from gateway.access.stored import DOWN_AFTER, OLDEST, Clocks, StoredKeys
from gateway.access.upkeep import Replacement
from gateway.contract.errors import GatewayError, InvalidKey, StoreUnavailable
from gateway.contract.head import Head
from gateway.store.feed import Changed
from gateway.store.identities import Identity

PEPPERS = Peppers(b"a pepper of the tests")
START = datetime(2026, 1, 1, tzinfo=UTC)
PLAIN = Identity(
    public_id="",
    name="ci",
    digest=b"",
    pepper="",
    plan=None,
    models=None,
    scopes=("inference", "usage:read"),
    networks=(),
    expires=None,
    disabled=False,
    tenant="acme",
    tenant_plan="gold",
    tenant_models=("*",),
    tenant_suspended=False,
)


class World:
    """A table of keys, and the feed of what changes in it."""

    def __init__(self) -> None:
        self.rows: dict[str, Identity] = {}
        self.is_up = True
        self.feed_stands_since: float | None = None
        self.takes = 0.01
        self.now = self.most = self.asked = 0
        self.found: list[str] = []
        self.used: dict[str, datetime] = {}
        self.replaced: dict[str, Replacement] = {}
        self._subscribers: list[Callable[[Iterable[Change]], None]] = []

    def add(self, peppers: Peppers = PEPPERS, **more: Any) -> Key:
        key, public_id, digest, pepper = issue(peppers, Random(len(self.rows)))
        self.rows[public_id] = replace(
            PLAIN, public_id=public_id, digest=digest, pepper=pepper, **more
        )
        return key

    def change(self, key: Key, **more: Any) -> None:
        self.rows[key.public_id] = replace(self.rows[key.public_id], **more)

    def tell(self, *changes: tuple[str, str, str | None]) -> None:
        for tell in self._subscribers:
            tell(frozenset(Changed(*each) for each in changes))

    def go_down(self) -> None:
        self.is_up = False
        self.feed_stands_since = asyncio.get_running_loop().time()

    def come_up(self) -> None:
        self.is_up = True
        self.feed_stands_since = None

    # The feed

    def subscribe(self, callback: Callable[[Iterable[Change]], None]) -> None:
        self._subscribers.append(callback)

    def stale_for(self) -> float:
        if self.feed_stands_since is None:
            return 0.2
        return asyncio.get_running_loop().time() - self.feed_stands_since

    # The table

    async def find(self, public_ids: Sequence[str]) -> dict[str, Identity]:
        self.found += public_ids
        self.asked += 1
        self.now += 1
        self.most = max(self.most, self.now)
        rows = {each: self.rows[each] for each in public_ids if each in self.rows}
        await asyncio.sleep(self.takes)
        self.now -= 1
        if not self.is_up:
            raise StoreUnavailable
        return rows

    async def ended(
        self,
        tenants: Collection[str],
        projects: Collection[tuple[str, str]],
        keys: Collection[str],
        now: datetime,
    ) -> tuple[frozenset[str], frozenset[tuple[str, str]], frozenset[str]]:
        if not self.is_up:
            raise StoreUnavailable
        gone = {each for each in keys if each not in self.rows or self.rows[each].disabled}
        return frozenset(), frozenset(), frozenset(gone)

    async def write(
        self, used: Mapping[str, datetime], replaced: Mapping[str, Replacement]
    ) -> None:
        if not self.is_up:
            raise StoreUnavailable
        self.used |= used
        self.replaced |= replaced


def now() -> datetime:
    """The loop's clock began at 1000."""
    return START + timedelta(seconds=asyncio.get_running_loop().time())


@asynccontextmanager
async def opened(
    world: World, peppers: Peppers = PEPPERS, configured: ConfiguredKeys | None = None
) -> AsyncIterator[tuple[StoredKeys, Access]]:
    clocks = Clocks(asyncio.get_running_loop().time, now)
    file = configured or ConfiguredKeys({}, b"")
    async with StoredKeys(world, world, peppers, clocks=clocks, chance=Random(1)) as keys:
        both = FileFirst(file, keys)
        yield keys, Access(both, peppers, failures=Failures("1000000/minute"), now=now)


def bearer(key: Key) -> Head:
    return {b"authorization": [b"Bearer " + key.reveal().encode()]}


async def answer(access: Access, key: Key) -> str:
    """The caller's tenant, or the name of what was raised."""
    try:
        return (await access.caller(bearer(key))).tenant
    except (GatewayError, ValueError) as error:
        return type(error).__name__


# Looking up


async def test_a_key_is_looked_up_once_and_then_in_memory() -> None:
    world = World()
    key = world.add()

    async with opened(world) as (keys, access):
        for _ in range(1000):
            assert await answer(access, key) == "acme"

    assert world.found == [key.public_id]
    assert keys.look_ups == 1


async def test_ten_thousand_bad_keys_cause_no_look_up() -> None:
    world, rng = World(), Random(4)
    good = world.add().reveal()

    async with opened(world) as (keys, access):
        for _ in range(10_000):
            place = rng.randrange(len(good))
            bad = good[:place] + rng.choice("~ -") + good[place + 1 :]
            with pytest.raises(InvalidKey):
                await access.caller({b"x-api-key": [bad.encode()]})

    assert keys.look_ups == 0


async def test_a_key_that_is_nobodys_is_looked_up_every_five_seconds_at_most() -> None:
    world = World()
    key = Key.generate(Random(9))

    async with opened(world) as (keys, access):
        for _ in range(600):
            assert await answer(access, key) == "InvalidKey"
            await asyncio.sleep(0.05)

    assert keys.look_ups <= 7


async def test_a_key_in_use_is_read_again_before_its_minute_ends_and_nobody_waits() -> None:
    world = World()
    key = world.add()
    world.takes = 3.0
    loop = asyncio.get_running_loop()

    async with opened(world) as (keys, access):
        await answer(access, key)
        for _ in range(1000):
            asked = loop.time()
            assert await answer(access, key) == "acme"
            assert loop.time() == asked
            await asyncio.sleep(1)

    assert 1000 / 60 <= keys.look_ups <= 1000 / 30


async def test_what_the_background_reads_is_what_the_next_request_is_told() -> None:
    world = World()
    key = world.add()

    async with opened(world) as (_, access):
        await answer(access, key)
        world.change(key, disabled=True)  # and the feed says nothing
        for _ in range(60):
            await asyncio.sleep(1)
            said = await answer(access, key)

    assert said == "InvalidKey"


async def test_a_key_that_was_not_used_for_a_minute_is_read_anew() -> None:
    world = World()
    key = world.add()

    async with opened(world) as (keys, access):
        await answer(access, key)
        world.change(key, disabled=True)
        await asyncio.sleep(61)
        assert await answer(access, key) == "InvalidKey"

    assert keys.look_ups == 2


async def test_when_all_keys_must_be_read_again_each_is_asked_for_once_and_four_at_a_time() -> None:
    world = World()
    many = [world.add() for _ in range(500)]

    async with opened(world) as (keys, access):
        await asyncio.gather(*(answer(access, key) for key in many))
        world.tell(("tenant", "acme", "acme"))
        said = await asyncio.gather(*(answer(access, key) for key in many * 20))

    assert set(said) == {"acme"}
    assert keys.look_ups == len(world.found) == 1000
    assert world.most == AT_ONCE


async def test_keys_that_came_together_are_not_read_again_together() -> None:
    world = World()
    many = [world.add() for _ in range(100)]
    busiest = 0

    async with opened(world) as (keys, access):
        await asyncio.gather(*(answer(access, key) for key in many))
        for _ in range(60):
            before = keys.look_ups
            for key in many:
                await answer(access, key)
            await asyncio.sleep(1)
            busiest = max(busiest, keys.look_ups - before)

    assert busiest < 30


async def test_a_key_of_the_file_wins_and_is_never_looked_up() -> None:
    world = World()
    key = world.add(tenant="database")
    written = {"models": ["*"], "keys": [{"name": "ci", "key": key.reveal()}]}
    file = ConfiguredKeys({"file": TenantSettings.model_validate(written)}, b"")

    async with opened(world, Peppers(b""), file) as (keys, access):
        assert await answer(access, key) == "file"

    assert (keys.look_ups, world.used) == (0, {})


# Changes


@pytest.mark.parametrize(
    "change", [("key", "{key}", "acme"), ("project", "web", "acme"), ("tenant", "acme", "acme")]
)
async def test_a_change_of_key_project_or_tenant_holds_from_the_moment_it_is_told(
    change: tuple[str, str, str],
) -> None:
    world = World()
    key, other = world.add(project="web"), world.add(tenant="other", project="web")

    async with opened(world) as (keys, access):
        await answer(access, key)
        await answer(access, other)
        world.change(key, disabled=True)
        world.tell((change[0], change[1].format(key=key.public_id), change[2]))
        assert await answer(access, key) == "InvalidKey"
        assert await answer(access, other) == "other"

    assert keys.look_ups == 3


async def test_a_change_of_a_plan_or_an_operator_costs_no_look_up() -> None:
    world = World()
    key = world.add()

    async with opened(world) as (keys, access):
        await answer(access, key)
        world.tell(("plan", "gold", None), ("operator", "o", None))
        await answer(access, key)

    assert keys.look_ups == 1


async def test_a_new_key_works_at_once_though_it_was_nobodys_a_moment_ago() -> None:
    world = World()
    key = world.add()
    row = world.rows.pop(key.public_id)

    async with opened(world) as (_, access):
        assert await answer(access, key) == "InvalidKey"
        world.rows[key.public_id] = row
        world.tell(("key", key.public_id, "acme"))
        assert await answer(access, key) == "acme"


async def test_what_was_read_before_a_change_does_not_survive_it() -> None:
    world = World()
    key = world.add()
    world.takes = 2.0
    loop = asyncio.get_running_loop()

    async with opened(world) as (keys, access):
        asking = loop.create_task(answer(access, key))
        await asyncio.sleep(1)  # the row is read already, and on its way
        world.change(key, disabled=True)
        world.tell(("key", key.public_id, "acme"))

        assert await asking == "InvalidKey"
        assert await answer(access, key) == "InvalidKey"
        assert keys.look_ups == 2


async def test_a_change_holds_for_a_key_that_was_read_while_another_is_asked_for_again() -> None:
    world = World()
    first, second = world.add(), world.add()
    world.takes = 2.0
    loop = asyncio.get_running_loop()

    async with opened(world) as (keys, access):
        asking = [loop.create_task(answer(access, key)) for key in (first, second)]
        await asyncio.sleep(1)
        world.tell(("key", second.public_id, "acme"))
        await asyncio.sleep(2)  # the first has been found, the second is asked for again
        world.change(first, disabled=True)
        world.tell(("key", first.public_id, "acme"))

        assert await asyncio.gather(*asking) == ["InvalidKey", "acme"]
        assert await answer(access, first) == "InvalidKey"
        assert keys.look_ups == 4
        assert world.asked == 3


async def test_changes_of_others_do_not_hold_up_a_look_up() -> None:
    world = World()
    key = world.add(project="web")
    world.takes = 1.0
    loop = asyncio.get_running_loop()

    async with opened(world) as (keys, access):
        asking = loop.create_task(answer(access, key))
        unknown = loop.create_task(answer(access, Key.generate(Random(9))))
        await asyncio.sleep(0.5)
        world.tell(("key", "k", "acme"), ("tenant", "other", "other"), ("project", "web", "other"))
        assert (await asking, await unknown) == ("acme", "InvalidKey")

    assert keys.look_ups == 2


async def test_of_a_key_that_changes_faster_than_it_is_read_nobody_knows_anything() -> None:
    world = World()
    key = world.add()
    world.takes = 1.0
    loop = asyncio.get_running_loop()

    async with opened(world) as (keys, access):
        asking = loop.create_task(answer(access, key))
        while not asking.done():
            await asyncio.sleep(0.3)
            world.tell(("key", key.public_id, "acme"))
        assert await asking == "StoreUnavailable"
        assert keys.look_ups == 3
        assert await answer(access, key) == "acme"


steps = st.sampled_from(["disable", "enable", "ask", "wait", "check"])


@given(st.lists(steps, max_size=30))
async def test_a_key_works_if_and_only_if_the_last_change_that_was_told_says_so(
    steps: list[str],
) -> None:
    world = World()
    key = world.add()
    world.takes = 0.05
    loop = asyncio.get_running_loop()
    asking: list[asyncio.Task[str]] = []

    async with opened(world) as (_, access):
        for step in (*steps, "wait", "wait", "check"):
            match step:
                case "disable" | "enable":
                    world.change(key, disabled=step == "disable")
                    world.tell(("key", key.public_id, "acme"))
                case "ask":
                    asking.append(loop.create_task(answer(access, key)))
                case "wait":
                    await asyncio.sleep(0.03)
                case "check":
                    right = "InvalidKey" if world.rows[key.public_id].disabled else "acme"
                    assert await answer(access, key) in {right, "StoreUnavailable"}
        assert {await each for each in asking} <= {"acme", "InvalidKey", "StoreUnavailable"}
        world.tell(("key", key.public_id, "acme"))
        assert await answer(access, key) != "StoreUnavailable"


async def test_those_whose_keys_stopped_working_are_told_about() -> None:
    world = World()
    key, other = world.add(), world.add()
    revoked: list[Holders] = []

    async with opened(world) as (keys, _):
        keys.on_revoked(revoked.append)
        world.change(key, disabled=True)
        world.tell(("key", key.public_id, "acme"), ("key", other.public_id, "acme"))
        await asyncio.sleep(1)

    assert revoked == [Holders(keys=frozenset({key.public_id}))]


# Outages


async def test_while_the_database_is_down_known_keys_work_for_five_minutes_and_then_close() -> None:
    world = World()
    key = world.add()
    loop = asyncio.get_running_loop()

    async with opened(world) as (keys, access):
        await answer(access, key)
        read = loop.time()
        world.go_down()
        said = {}
        for _ in range(400):
            await asyncio.sleep(1)
            said[loop.time() - read] = await answer(access, key)
        asked = keys.look_ups

    assert {each for age, each in said.items() if age < OLDEST - 1} == {"acme"}
    assert {each for age, each in said.items() if age > OLDEST + 1} == {"StoreUnavailable"}
    assert asked < 10, "a database that is down is left alone"


async def test_while_the_database_is_down_nobody_is_unknown() -> None:
    world = World()
    key, unknown = world.add(), Key.generate(Random(9))

    async with opened(world) as (_, access):
        world.go_down()
        for _ in range(20):
            assert await answer(access, key) == "StoreUnavailable"
            assert await answer(access, unknown) == "StoreUnavailable"
            await asyncio.sleep(1)
        world.come_up()
        assert await answer(access, key) == "acme"
        assert await answer(access, unknown) == "InvalidKey"


async def test_while_the_database_is_known_to_be_down_nobody_waits_for_it() -> None:
    world = World()
    key = world.add()
    world.takes = 5.0
    loop = asyncio.get_running_loop()

    async with opened(world) as (_, access):
        world.go_down()
        await asyncio.sleep(DOWN_AFTER + 0.1)
        asked = loop.time()
        assert await answer(access, key) == "StoreUnavailable"
        assert loop.time() == asked


async def test_an_entry_whose_minute_ends_while_the_database_fails_is_used_on() -> None:
    world = World()
    key = world.add()

    async with opened(world) as (_, access):
        await answer(access, key)
        await asyncio.sleep(61)
        world.is_up = False  # and the feed has not noticed yet
        assert await answer(access, key) == "acme"


async def test_after_an_outage_the_changes_that_were_missed_hold() -> None:
    world = World()
    key = world.add()

    async with opened(world) as (_, access):
        await answer(access, key)
        world.go_down()
        await asyncio.sleep(100)
        world.change(key, disabled=True)
        assert await answer(access, key) == "acme"
        world.come_up()
        world.tell(("key", key.public_id, "acme"))
        assert await answer(access, key) == "InvalidKey"


async def test_a_row_that_makes_no_sense_opens_nothing() -> None:
    world = World()
    key = world.add(networks=("everywhere",))

    with capture_logs() as logged:
        async with opened(world) as (_, access):
            assert await answer(access, key) == "ValueError"

    assert [each["event"] for each in logged] == ["key_look_up_failed"]


# What is written


async def test_a_use_is_noted_within_a_minute_and_at_the_end() -> None:
    world = World()
    key, late = world.add(), world.add()

    async with opened(world) as (_, access):
        await answer(access, key)
        used = now()
        await asyncio.sleep(61)
        assert world.used == {key.public_id: used - timedelta(seconds=0)}
        await answer(access, late)
        assert late.public_id not in world.used

    assert set(world.used) == {key.public_id, late.public_id}


async def test_a_key_that_is_refused_was_not_used() -> None:
    world = World()
    key = world.add(disabled=True)

    async with opened(world) as (_, access):
        await answer(access, key)
        await answer(access, Key(key.public_id, "0" * 32))

    assert world.used == {}


async def test_a_key_under_an_older_pepper_is_stored_under_the_current_one() -> None:
    world, rotated = World(), Peppers(b"new", b"a pepper of the tests")
    key, fresh = world.add(), world.add(rotated)
    old = world.rows[key.public_id].digest

    async with opened(world, rotated) as (_, access):
        assert await answer(access, key) == "acme"
        assert await answer(access, fresh) == "acme"

    new = key.digest(rotated.current)
    assert world.replaced == {key.public_id: (old, new, rotated.current.name)}


async def test_a_database_that_is_down_at_the_end_holds_nothing_up() -> None:
    world = World()
    key = world.add()

    async with opened(world) as (_, access):
        await answer(access, key)
        world.go_down()

    assert world.used == {}
    assert len(asyncio.all_tasks()) == 1


async def test_a_background_task_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("no such table")

    world = World()
    monkeypatch.setattr(world, "ended", broken)

    with capture_logs() as logged:
        async with opened(world):
            world.tell(("key", "k", "acme"))
            await asyncio.sleep(1)

    assert [each["event"] for each in logged] == ["key_upkeep_ended"]


# Whom a key stands for


@pytest.mark.parametrize(
    ("tenant", "project", "key", "allowed"),
    [
        (("*",), None, None, {"*"}),
        (("a", "b"), None, None, {"a", "b"}),
        (("a", "b"), ("a",), None, {"a"}),
        (("a", "b"), None, ("b",), {"b"}),
        (("a", "b"), ("a",), ("b",), set()),
        (("a", "b"), ("a", "c"), ("a", "b", "c"), {"a"}),
        (("*",), ("a",), ("*",), {"a"}),
        (("a",), ("*",), ("*",), {"a"}),
        ((), ("*",), ("*",), set()),
        (("*",), (), None, set()),
        (("*",), None, (), set()),
    ],
)
async def test_a_key_may_use_no_more_than_its_project_and_that_no_more_than_its_tenant(
    tenant: tuple[str, ...],
    project: tuple[str, ...] | None,
    key: tuple[str, ...] | None,
    allowed: set[str],
) -> None:
    world = World()
    made = world.add(tenant_models=tenant, project="web", project_models=project, models=key)

    async with opened(world) as (_, access):
        assert (await access.caller(bearer(made))).models == allowed


async def test_a_caller_has_the_plans_of_all_its_levels() -> None:
    world = World()
    key = world.add(project="web", project_plan="silver", plan="bronze")

    async with opened(world) as (_, access):
        caller = await access.caller(bearer(key))

    assert caller.levels == (
        ("tenant:acme", "gold"),
        ("project:web", "silver"),
        (f"key:{key.public_id}", "bronze"),
    )


@given(st.integers(0, 31), st.integers(0, 2**32), st.booleans())
async def test_keys_that_share_any_part_are_never_taken_for_one_another(
    shared: int, seed: int, from_the_end: bool
) -> None:
    world = World()
    key = world.add()
    own = key.reveal()[16:48]
    drawn = Key.generate(Random(seed)).reveal()[16:48]
    near = (
        drawn[:-shared] + own[-shared:]
        if from_the_end and shared
        else own[:shared] + drawn[shared:]
    )

    async with opened(world) as (_, access):
        for _ in range(2):  # looked up, then in memory
            assert await answer(access, Key(key.public_id, near)) == (
                "acme" if near == own else "InvalidKey"
            )
            assert await answer(access, key) == "acme"

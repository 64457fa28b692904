"""
Keys of the database.

A request finds its key in memory; the database is asked once for a key that is not there. Entries
are read again in the background before they end, and go as soon as the feed tells of a change
that concerns them, so that a key stops working everywhere within a second.

While the feed has heard nothing for five seconds the database counts as down: entries are used
until they are five minutes old, and of every other key nobody knows anything, which is 503 and
never 401.

Hot: `known` and `used` run once a request.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

import structlog

from ..contract.errors import StoreUnavailable
from .cache import Entry, KeyCache
from .callers import NOBODY, Caller, StoredKey
from .holders import Change, Holders
from .key import Key
from .look_ups import Found, LookUps
from .networks import networks_of
from .pepper import Peppers
from .revocations import Revocations, States
from .settings import narrowed
from .upkeep import Upkeep, Writes

if TYPE_CHECKING:
    from ..store.identities import Identity

DOWN_AFTER = 5.0
"""Seconds without the feed after which the database counts as down."""

OLDEST = 300.0
"""Seconds since an entry was read, after which it is used no more."""

TRIES = 3
"""Times that a key is asked for while it changes; afterwards nobody knows."""


class KeyTable(States, Writes, Protocol):
    """The stored keys."""

    async def find(self, public_ids: Sequence[str]) -> "Mapping[str, Identity]":
        """
        The keys of those public ids that there are.

        Raises:
            StoreUnavailable: the database is out of reach.
        """
        ...


class Changes(Protocol):
    """The feed that tells of changes."""

    def subscribe(self, callback: Callable[[Iterable[Change]], None]) -> None:
        """Have it called with each batch."""
        ...

    def stale_for(self) -> float:
        """Seconds since everything that was committed was known here."""
        ...


_log = structlog.get_logger()


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Clocks(NamedTuple):
    """`steady` is in seconds since any moment, `now` is in UTC."""

    steady: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = _utc_now


class StoredKeys:
    """
    The keys of a database. Used between the ends of its `async with`.

    `look_ups` counts the keys that the database was asked for since the start, those included
    that were read again.
    """

    def __init__(
        self,
        table: KeyTable,
        feed: Changes,
        peppers: Peppers,
        *,
        clocks: Clocks = Clocks(),  # noqa: B008 - immutable
        chance: Random | None = None,
    ) -> None:
        self.look_ups = 0
        self._table = table
        self._pepper = peppers.current
        self._stale_for = feed.stale_for
        self._clock, self._now = clocks
        self._cache = KeyCache(chance or Random())  # noqa: S311 - when to read again is no secret
        self._running = LookUps(self._load)
        self._upkeep = Upkeep(table)
        self._revocations = Revocations(table, clocks.now)
        self._meanwhile: dict[object, Holders] = {}  # changes since each question was asked
        self._tasks: list[asyncio.Task[None]] = []
        feed.subscribe(self._changed)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._upkeep.run()),
            loop.create_task(self._revocations.run()),
        ]
        for task in self._tasks:
            task.add_done_callback(_say_why)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what is left to write, if the database answers."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._running.aclose()
        await self._upkeep.write()

    def on_revoked(self, listener: Callable[[Holders], None]) -> None:
        """
        Have it called with whose keys have stopped working, within a second or two.

        It may be told of the same ones again, and must not raise.
        """
        self._revocations.subscribe(listener)

    def known(self, public_id: str) -> StoredKey | None:
        """
        The key of that public id if it is in memory and may be used, `NOBODY` if it was read a
        moment ago that there is none.
        """
        now = self._clock()
        entry = self._cache.get(public_id)
        if entry is None:
            return NOBODY if self._cache.is_unknown(public_id, now) else None
        if now < entry.refresh_at:
            return entry.stored
        return self._aged(public_id, entry, now)

    async def find(self, public_id: str) -> StoredKey | None:
        """
        The key of that public id, None if there is none.

        Raises:
            StoreUnavailable: nobody knows.
        """
        if self._is_down():
            raise StoreUnavailable
        try:
            return await self._running(public_id)
        except StoreUnavailable:
            entry = self._cache.get(public_id)
            if entry is None or self._clock() - entry.read > OLDEST:
                raise
            return entry.stored

    def used(self, stored: StoredKey, key: Key | None) -> None:
        """Note that a key was verified, and under which pepper it should be kept."""
        if stored.pepper is None:
            return
        public_id = stored.caller.key_id
        self._upkeep.used(public_id, self._now())
        if key is not None and stored.pepper != self._pepper.name:
            new = key.digest(self._pepper)
            self._upkeep.replace(public_id, (stored.digest, new, self._pepper.name))

    def _aged(self, public_id: str, entry: Entry, now: float) -> StoredKey | None:
        if self._is_down():
            return entry.stored if now - entry.read <= OLDEST else None
        if now >= entry.until:
            return None
        self._running.begin(public_id)
        return entry.stored

    def _is_down(self) -> bool:
        return self._stale_for() > DOWN_AFTER

    async def _load(self, public_ids: Sequence[str]) -> Found:
        """
        Ask the database, and ask again where a key was changed in the meantime: the answer may be
        from before the change and would outlive the news of it.
        """
        answers: dict[str, StoredKey | None] = {}
        asked_for = public_ids
        for _ in range(TRIES):
            found, changed, asked = await self._ask(asked_for)
            answers |= found
            # Those too that were found before: who waits for one has not been told yet.
            asked_for = [each for each in answers if _concerns(changed, each, answers[each])]
            for public_id in asked_for:
                del answers[public_id]
            for public_id in found:
                if public_id in answers:
                    self._keep(public_id, answers[public_id], asked)
            if not asked_for:
                break
        return answers

    async def _ask(self, public_ids: Sequence[str]) -> tuple[Found, Holders, float]:
        """What the database says, whom changes have concerned meanwhile, and when it was asked."""
        question = object()
        self._meanwhile[question] = Holders()
        self.look_ups += len(public_ids)
        asked = self._clock()
        try:
            found = await self._table.find(public_ids)
        finally:
            changed = self._meanwhile.pop(question)
        answers = {each: _stored(found[each]) if each in found else None for each in public_ids}
        return answers, changed, asked

    def _keep(self, public_id: str, stored: StoredKey | None, asked: float) -> None:
        if stored is None:
            self._cache.put_unknown(public_id, asked)
        else:
            self._cache.put(public_id, stored, asked)

    def _changed(self, changes: Iterable[Change]) -> None:
        concerned = Holders.of(changes)
        if concerned:
            for question, before in self._meanwhile.items():
                self._meanwhile[question] = before | concerned
            self._cache.drop(concerned)
            self._revocations.suspect(concerned)


def _concerns(changed: Holders, public_id: str, stored: StoredKey | None) -> bool:
    if stored is None:
        return public_id in changed.keys
    caller = stored.caller
    return changed.include(caller.tenant, caller.project, public_id)


def _say_why(task: "asyncio.Task[None]") -> None:
    """A task that ends before it is told to has met an error that it does not know."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("key_upkeep_ended", exc_info=error)


def _stored(found: "Identity") -> StoredKey:
    """A key may use no more than its project, and that no more than its tenant."""
    of_tenant = narrowed(frozenset(found.tenant_models), None)
    of_project = narrowed(of_tenant, found.project_models)
    return StoredKey(
        digest=found.digest,
        caller=Caller(
            tenant=found.tenant,
            key_id=found.public_id,
            key_name=found.name,
            plan=found.tenant_plan,
            key_plan=found.plan,
            models=narrowed(of_project, found.models),
            project=found.project,
            project_plan=found.project_plan,
            scopes=frozenset(found.scopes),
            networks=networks_of(found.networks),
        ),
        expires=found.expires,
        disabled=found.disabled,
        suspended=found.tenant_suspended or found.project_suspended,
        pepper=found.pepper,
    )

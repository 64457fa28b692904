"""
The plans of the moment: those of the configuration file and those of the store.

They are read whole, at the start and whenever one has changed, and given on as one immutable set.
While the store is out of reach those that were read last hold.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Self

import structlog
from pydantic import ValidationError
from sqlalchemy import select

from ..contract.errors import StoreUnavailable
from ..limits import PlanSettings
from ..store.database import Database
from ..store.feed import Changed
from ..store.tables import plans

AGAIN = 1.0
"""Seconds until a store that could not be read is read again."""

_log = structlog.stdlib.get_logger("lockgate.plans")


class PlanBook:
    """
    Keeps `use` told of the plans by name. `async with` reads them once and begins to follow.

    A plan of the file hides one of the store that has its name.
    """

    def __init__(
        self,
        configured: Mapping[str, PlanSettings],
        database: Database,
        use: Callable[[Mapping[str, PlanSettings]], None],
    ) -> None:
        self._configured = configured
        self._stored: Mapping[str, PlanSettings] = {}
        self._database = database
        self._use = use
        self._is_due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def configure(self, configured: Mapping[str, PlanSettings]) -> Mapping[str, PlanSettings]:
        """Take over the plans of another configuration file; all that hold from now on."""
        self._configured = configured
        return {**self._stored, **configured}

    def heed(self, changes: Iterable[Changed]) -> None:
        """Read the plans again if one of them has changed."""
        if any(change.kind == "plan" for change in changes):
            self._is_due.set()

    async def read(self) -> bool:
        """Read them now; False where the store could not be read."""
        try:
            async with self._database.reading() as connection:
                rows = (await connection.execute(select(plans.c.name, plans.c.limits))).all()
        except StoreUnavailable:
            return False
        found = ((name, _plan(name, limits)) for name, limits in rows)
        self._stored = {name: plan for name, plan in found if plan is not None}
        self._use({**self._stored, **self._configured})
        return True

    async def __aenter__(self) -> Self:
        if not await self.read():
            self._is_due.set()
        self._task = asyncio.get_running_loop().create_task(self._follow())
        return self

    async def __aexit__(self, *raised: object) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            await self._is_due.wait()
            self._is_due.clear()  # before reading: what changes meanwhile is read once more
            if not await self.read():
                self._is_due.set()
                await asyncio.sleep(AGAIN)


def _plan(name: str, limits: object) -> PlanSettings | None:
    """None where another version has written what this one can't read: such a plan is missing."""
    try:
        return PlanSettings.model_validate(limits)
    except ValidationError as error:
        _log.error("plan_unreadable", plan=name, error=str(error))
        return None

"""
Asking providers how they are, without waiting for a request to find out.

Each provider that wants it has a task of its own, which asks again and again, at instants with a
random part so that replicas don't ask together. While probes fail it asks more often, to be sure
soon, and ever more seldom once it is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from random import Random
from types import TracebackType
from typing import Self, TypeAlias

from ..contract.probes import ProbeSettings
from ..contract.provider import AnyProvider
from . import alerts
from .health import Health

SOON = 1.0
"""Seconds between probes after the first that failed."""
SELDOM = 30.0
"""Seconds between probes of a provider that has been down for long."""
JITTER = 0.2
"""So large a part of a pause is added or taken away at random."""
SLACK = 1.0
"""Seconds that a failure holds beyond the end of the next probe, on a busy machine."""

Ask: TypeAlias = Callable[[AnyProvider], Awaitable[bool | None]]
"""Whether a provider is well, None if the answer doesn't tell. Raises nothing of the network's."""


class Probes:
    """Probes between `async with`'s two ends; `configure` may be called before and meanwhile."""

    def __init__(self, health: Health, ask: Ask, *, chance: Random) -> None:
        self._health = health
        self._ask = ask
        self._chance = chance
        self._wanted: dict[str, AnyProvider] = {}
        self._asked: dict[str, AnyProvider] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._runs = False

    async def __aenter__(self) -> Self:
        self._runs = True
        self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._runs = False
        self._stop(list(self._tasks))
        await asyncio.gather(*self._leaving, return_exceptions=True)

    def configure(self, providers: Iterable[AnyProvider]) -> None:
        """From now on these, as far as they want it; those that stay as they are notice nothing."""
        self._wanted = {
            each.name: each for each in providers if each.is_active and each.settings.probe
        }
        if self._runs:
            stay = {
                name
                for name, each in self._wanted.items()
                if name in self._asked and self._asked[name].settings == each.settings
            }
            self._stop([name for name in self._tasks if name not in stay])
            self._start()

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        for name, provider in self._wanted.items():
            if name not in self._tasks:
                self._asked[name] = provider
                self._tasks[name] = loop.create_task(self._watch(provider, provider.settings.probe))

    def _stop(self, names: Iterable[str]) -> None:
        for name in names:
            task = self._tasks.pop(name)
            del self._asked[name]
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
            task.cancel()

    async def _watch(self, provider: AnyProvider, settings: ProbeSettings) -> None:
        failures = 0
        is_told = False
        pause = self._chance.random() * min(settings.every, SOON)
        while True:
            await asyncio.sleep(pause)
            passed = await self._result(provider, settings.timeout)
            if passed is not None:
                failures = 0 if passed else failures + 1
            pause = self._pause(settings, failures)
            if passed is not None:
                holds = 0.0 if passed else pause + settings.timeout + SLACK
                self._health.probed(provider.name, passed=passed, holds=holds)
            elif not is_told:
                is_told = True
                alerts.probe_says_nothing(provider.name)

    async def _result(self, provider: AnyProvider, seconds: float) -> bool | None:
        try:
            async with asyncio.timeout(seconds):
                return await self._ask(provider)
        except TimeoutError:
            return False

    def _pause(self, settings: ProbeSettings, failures: int) -> float:
        pause = settings.every
        if failures:
            doublings = max(0, failures - self._health.settings.consecutive_failures)
            pause = min(min(pause, SOON) * 2.0 ** min(doublings, 64), SELDOM)
        return pause * (1.0 + JITTER * (2.0 * self._chance.random() - 1.0))

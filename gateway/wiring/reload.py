"""
Another configuration while the gateway runs: all of it at once, or nothing.

It is read whole, judged as at the start and made ready beside the one in use; only then is it
taken over, in one assignment. Requests on their way keep what they began with. A file that can't
be used changes nothing: what is wrong with it is told, counted, and in the log.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, Self

import structlog

from ..config import Config, ConfigError
from ..telemetry.metrics import Metrics
from .restarts import needs_restart
from .snapshots import Ready
from .source import Loaded, Loader, Source

_log = structlog.stdlib.get_logger("lockgate.config")


class User(Protocol):
    """Who uses configurations."""

    def make_ready(self, config: Config) -> Ready:
        """Make one ready; nothing changes yet."""
        ...

    def take_over(self, ready: Ready) -> None:
        """Use it from now on. Must not fail."""
        ...


@dataclass(frozen=True, slots=True)
class Staged:
    """A configuration that is ready to be taken over."""

    ready: Ready
    source: Source
    needs_restart: tuple[str, ...]
    """Fields in which it differs from what this process was started with, and can't apply."""


class Reload:
    """
    Takes over other configurations: one after the other, whoever asks.

    `source` is what the one in use was read from. Between the ends of its `async with` it heeds
    `ask`.
    """

    def __init__(
        self,
        loader: Loader,
        user: User,
        started: Config,
        source: Source,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.source = source
        self.reloads = 0
        self.failures = 0
        self._loader = loader
        self._user = user
        self._started = started
        self._now = now
        self._loaded = now()
        self._one_at_a_time = asyncio.Lock()
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """Reload soon, and tell the log what became of it: for signals."""
        self._asked.set()

    async def reload(self) -> Staged:
        """
        Take over what the files say now.

        Raises:
            ConfigError: they can't be used; nothing has changed.
        """
        async with self._one_at_a_time:
            staged = await self.stage()
            self.commit(staged)
        return staged

    async def stage(self, source: Source | None = None) -> Staged:
        """
        Make ready what the files say, once nobody writes them any more, or what they said.

        Raises:
            ConfigError: it can't be used.
        """
        try:
            config, source = await self._read(source)
            return Staged(
                self._user.make_ready(config), source, needs_restart(self._started, config)
            )
        except BaseException as error:
            self.failures += 1
            if isinstance(error, ConfigError):
                _log.error("config_reload_failed", faults=error.lines)
            raise

    def commit(self, staged: Staged) -> None:
        """Take over what was made ready."""
        self._user.take_over(staged.ready)
        self.source = staged.source
        self._loaded = self._now()
        self.reloads += 1
        level = _log.warning if staged.needs_restart else _log.info
        level(
            "config_reloaded",
            digest=staged.source.digest,
            models=len(staged.ready.config.models),
            needs_restart=staged.needs_restart,
        )

    def watch(self, metrics: Metrics) -> None:
        """Show how often, and since when."""
        metrics.watch(
            "lockgate_config_reloads_total",
            "Configurations that were taken over since the start.",
            lambda: [((), float(self.reloads))],
        )
        metrics.watch(
            "lockgate_config_reload_failures_total",
            "Configurations that could not be used: the one before stayed.",
            lambda: [((), float(self.failures))],
        )
        metrics.watch(
            "lockgate_config_loaded_timestamp_seconds",
            "When the configuration in use was taken over.",
            lambda: [((), self._loaded.timestamp())],
        )

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._heed())
        return self

    async def __aexit__(self, *raised: object) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _read(self, source: Source | None) -> Loaded:
        if source is None:
            return await self._loader.load_settled()
        return await asyncio.to_thread(self._loader.load_from, source), source

    async def _heed(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()  # before reading: what is asked meanwhile is done once more
            [told] = await asyncio.gather(self.reload(), return_exceptions=True)
            if isinstance(told, BaseException) and not isinstance(told, ConfigError):
                _log.error("config_reload_broke", exc_info=told)

"""What a worker answers its supervisor: how it is, what it has counted; it reloads in two steps."""

import asyncio
import base64
import os
import signal

from ..config import ConfigError
from ..telemetry.families import read
from ..wiring.overview import Alone
from ..wiring.reload import Reload, Staged
from ..wiring.source import Source
from .channel import Handler, Json, Refused

HEAR = 0.05
"""Seconds for a signal to be heard that was sent just before."""


class Answers:
    """Of one worker. What was staged last waits for `commit`."""

    def __init__(self, alone: Alone, reload: Reload) -> None:
        self._alone = alone
        self._reload = reload
        self._staged: Staged | None = None

    def handlers(self) -> dict[str, Handler]:
        """By the names of the questions."""
        return {
            "metrics": self._metrics,
            "health": self._health,
            "ready": self._ready,
            "read": self._read,
            "stage": self._stage,
            "commit": self._commit,
            "stop": self._stop,
        }

    async def _metrics(self, _: Json) -> Json:
        return {"families": read(self._alone.registry)}

    async def _health(self, _: Json) -> Json:
        return self._alone.status.health().model_dump()

    async def _ready(self, _: Json) -> Json:
        return self._alone.status.ready().model_dump()

    async def _read(self, _: Json) -> Json:
        staged = await self._staged_from(None)
        return {"source": written(staged.source), "digest": staged.source.digest}

    async def _stage(self, asked: Json) -> Json:
        self._staged = await self._staged_from(source_of(asked["source"]))
        return {"needs_restart": self._staged.needs_restart}

    async def _commit(self, _: Json) -> Json:
        staged, self._staged = self._staged, None
        if staged is None:
            raise Refused("Nothing was staged.")
        self._reload.commit(staged)
        return {}

    async def _stop(self, asked: Json) -> Json:
        """
        Drain, or cut what drains. A service manager may have told every process by itself, which
        must not count twice: the second signal is the one that cuts.
        """
        await asyncio.sleep(HEAR)
        if asked["at_once"] or not self._alone.status.is_draining:
            os.kill(os.getpid(), signal.SIGTERM)
        return {}

    async def _staged_from(self, source: Source | None) -> Staged:
        try:
            return await self._reload.stage(source)
        except ConfigError as error:
            raise Refused(*error.lines) from None


def written(source: Source) -> Json:
    """A source as it is sent."""
    return {path: base64.b64encode(raw).decode() for path, raw in source.files.items()}


def source_of(sent: Json) -> Source:
    """A source that was sent."""
    return Source({path: base64.b64decode(text) for path, text in sent.items()})

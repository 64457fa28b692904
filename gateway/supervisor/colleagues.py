"""
The worker's side: what it knows of the others, which is what the supervisor tells it.

When the supervisor is gone the worker drains, as if it had been told to.
"""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ..admin.errors import ConfigRefused
from ..admin.reload import Reloaded
from ..contract.errors import GatewayError
from ..inbound.ops import Health, Ready
from ..inbound.status import GatewayStatus
from ..telemetry import families
from ..wiring.overview import Alone
from ..wiring.reload import Reload
from ..wiring.source import Source
from .answers import Answers, source_of, written
from .channel import Channel, ChannelClosed, Refused

ANSWER = 10.0
"""Seconds for the supervisor to ask all workers how they are."""
RELOAD = 180.0
"""Seconds for all of them to have read a configuration and taken it over."""


class WorkersUnavailable(GatewayError):
    """The supervisor, which speaks for all workers, is gone or does not answer."""

    status, type, code, retryable = 503, "server_error", "workers_unavailable", True

    def __init__(self) -> None:
        super().__init__("The gateway's supervisor does not answer.", retry_after=1.0)


class Colleagues:
    """
    The other workers, by way of the supervisor at the other end of that socket.

    Between the ends of `present` they can be asked, and this worker answers them.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._channel: Channel | None = None
        self._begun = asyncio.Event()
        self._asking: asyncio.Task[Ready] | None = None

    def source(self) -> Source | None:
        """
        The configuration that the others have, None for the first. To be asked once, first.

        Raises:
            EOFError: the supervisor is gone.
        """
        line = bytearray()
        while not line.endswith(b"\n"):
            more = self._control.recv(1 << 16)
            if not more:
                raise EOFError
            line += more
        told = json.loads(line)["source"]
        return None if told is None else source_of(told)

    @asynccontextmanager
    async def present(self, alone: Alone, reload: Reload) -> AsyncIterator[None]:
        """Answer for this worker; drain when the supervisor is gone."""
        handlers = Answers(alone, reload).handlers()
        loop = asyncio.get_running_loop()
        async with Channel(self._control, handlers) as self._channel:
            tasks = [
                loop.create_task(self._say_so(reload.source)),
                loop.create_task(_drain_when(self._channel, alone.status)),
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def begin(self) -> None:
        """This worker takes requests from now on."""
        self._begun.set()

    async def _say_so(self, source: Source) -> None:
        await self._begun.wait()
        await self._ask("started", source=written(source))

    async def ready(self) -> Ready:
        """Whether all workers take requests: one question, however many ask it at once."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ready())
        return await asyncio.shield(self._asking)

    async def _ready(self) -> Ready:
        try:
            return Ready.model_validate(await self._ask("ready"))
        except WorkersUnavailable as error:
            return Ready(ready=False, message=error.message)

    async def health(self) -> Health:
        """
        The health of all workers together.

        Raises:
            WorkersUnavailable: nobody knows.
        """
        return Health.model_validate(await self._ask("health"))

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """
        The sums of all workers' metrics.

        Raises:
            WorkersUnavailable: nobody knows.
        """
        return families.render((await self._ask("metrics"))["families"], accept)

    async def reload(self) -> Reloaded:
        """
        Have all workers take over what the files say, or none.

        Raises:
            ConfigRefused: they can't be used; nothing has changed.
            WorkersUnavailable: nobody knows.
        """
        try:
            told = await self._ask("reload", within=RELOAD)
        except Refused as refused:
            raise ConfigRefused(refused.reasons) from None
        return Reloaded(sha256=told["digest"], needs_restart=tuple(told["needs_restart"]))

    async def _ask(self, name: str, *, within: float = ANSWER, **fields: object) -> Any:
        if self._channel is None:
            raise WorkersUnavailable
        try:
            return await self._channel.ask(name, within=within, **fields)
        except (ChannelClosed, TimeoutError):
            raise WorkersUnavailable from None


async def _drain_when(channel: Channel, status: GatewayStatus) -> None:
    """A worker without its supervisor would never be told to end."""
    await channel.closed.wait()
    if not status.is_draining:
        os.kill(os.getpid(), signal.SIGTERM)

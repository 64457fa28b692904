"""
A worker as its supervisor knows it: a process, and the channel to it.

It is in a process group of its own, so that Ctrl+C reaches the supervisor alone, which tells its
workers once. A worker whose channel closes drains by itself: none outlives its supervisor.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

from .channel import Channel, ChannelClosed, Handler, Json, Refused
from .sums import Family

ANSWER = 3.0
"""Seconds that a worker may take to say how it is."""


@dataclass(frozen=True, slots=True)
class Command:
    """How workers are started: with these bound sockets, under this environment."""

    sockets: Sequence[socket.socket]
    environ: Mapping[str, str] = field(repr=False)

    async def start(self, control: socket.socket) -> asyncio.subprocess.Process:
        """Start one that is controlled by that socket."""
        numbers = [control.fileno(), *(each.fileno() for each in self.sockets)]
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "worker", *map(str, numbers)),
            env=self.environ,
            pass_fds=numbers,
            process_group=0,
        )


class Worker:
    """One process, from its start to its end."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.families: list[Family] = []
        """What it was last known to have counted."""
        self._process = process
        self._channel = channel

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code, once it has ended; below 0 the signal that ended it."""
        return await self._process.wait()

    async def ask(self, name: str, *, within: float = ANSWER, **fields: object) -> Json | None:
        """
        Its answer to a question, None from one that is gone or does not answer in time.

        Raises:
            Refused: it could not do it.
        """
        try:
            answer: Json = await self._channel.ask(name, within=within, **fields)
        except (ChannelClosed, TimeoutError):
            return None
        return answer

    async def counted(self) -> list[Family]:
        """What it has counted; if it does not say, what it was last known to have."""
        with suppress(Refused):
            if (answer := await self.ask("metrics")) is not None:
                self.families = answer["families"]
        return self.families


@asynccontextmanager
async def started(
    command: Command, source: Json | None, handlers: Mapping[str, Handler]
) -> AsyncIterator[Worker]:
    """
    A new worker, which begins with the configuration of that source, else with what the files say.

    Leaving the block closes the channel; a process that has not ended yet is killed.

    Raises:
        OSError: the system has no room for another.
    """
    ours, theirs = socket.socketpair()
    with theirs, ExitStack() as unless_started:
        unless_started.enter_context(ours)
        process = await command.start(theirs)
        unless_started.pop_all()
    try:
        async with Channel(ours, handlers) as channel:
            channel.send(source=source)
            yield Worker(process, channel)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def environment(changes: Mapping[str, str]) -> Mapping[str, str]:
    """This process's, with changes."""
    return {**os.environ, **changes}

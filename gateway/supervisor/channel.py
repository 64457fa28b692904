"""
How a worker and the supervisor talk: JSON objects, one a line, over a pair of sockets.

Either side may ask the other, any number of questions at once. Each question is answered, refused
with a reason, or fails with the channel, whose end is also how one learns that the other is gone.
"""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from itertools import count
from types import TracebackType
from typing import Any, Self

Json = dict[str, Any]
Handler = Callable[[Json], Awaitable[Any]]
"""Takes the fields of a question and gives its answer, or raises `Refused`."""

MAX_LINE = 64 * 1024 * 1024
"""Bytes. The largest are a worker's metrics, of about 100 bytes a sample."""


class Refused(Exception):
    """The other side could not do it, and says why: `reasons` are for people to read."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = reasons


class ChannelClosed(Exception):
    """The other side is gone, or going."""


class Channel:
    """
    One end, which owns its socket. Between the ends of its `async with` questions are asked and
    answered; `closed` is set when the other side is gone.
    """

    def __init__(self, sock: socket.socket, handlers: Mapping[str, Handler]) -> None:
        self.closed = asyncio.Event()
        self._socket = sock
        self._handlers = handlers
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        reader, self._writer = await asyncio.open_connection(sock=self._socket, limit=MAX_LINE)
        self._begin(self._read(reader))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._end()
        if self._writer is not None:
            self._writer.close()

    def send(self, **message: Any) -> None:
        """Send a line as it is, which is lost where nobody reads it any more."""
        if self._writer is not None and not self.closed.is_set():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def ask(self, name: str, *, within: float, **fields: Any) -> Any:
        """
        The answer to a question.

        Raises:
            Refused: the other side could not do it.
            ChannelClosed: it is gone.
            TimeoutError: it did not answer `within` so many seconds.
        """
        if self._writer is None or self.closed.is_set():
            raise ChannelClosed
        number = next(self._numbers)
        self._waiting[number] = answer = asyncio.get_running_loop().create_future()
        try:
            self.send(ask=name, number=number, fields=fields)
            async with asyncio.timeout(within):
                return await answer
        finally:
            del self._waiting[number]

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._take(json.loads(line))
        except (OSError, ValueError):  # reset, or a line that no one of ours has written
            pass
        finally:
            self._end()

    def _take(self, message: Json) -> None:
        match message:
            case {"ask": str(name), "number": int(number), "fields": dict(fields)}:
                self._begin(self._answer(name, number, fields))
            case {"answer": int(number), "value": value}:
                if (waiting := self._waiting.get(number)) is not None and not waiting.done():
                    waiting.set_result(value)
            case {"answer": int(number), "refused": list(reasons)}:
                if (waiting := self._waiting.get(number)) is not None and not waiting.done():
                    waiting.set_exception(Refused(*reasons))
            case _:
                raise ValueError("not a message")

    async def _answer(self, name: str, number: int, fields: Json) -> None:
        handler = self._handlers.get(name, _unknown)
        [answer] = await asyncio.gather(handler(fields), return_exceptions=True)
        match answer:
            case Refused():
                self.send(answer=number, refused=answer.reasons)
            case BaseException():
                self.send(answer=number, refused=[f"{name} failed: {type(answer).__name__}"])
                told = {"message": f"could not answer {name}", "exception": answer}
                asyncio.get_running_loop().call_exception_handler(told)
            case _:
                self.send(answer=number, value=answer)

    def _end(self) -> None:
        self.closed.set()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ChannelClosed())


async def _unknown(_: Json) -> None:
    raise Refused("This is no question that is answered here.")

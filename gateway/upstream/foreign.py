"""
What the engines of others have in common, so that each has the guarantees of our own.

A library brings its protocol and its pool of connections. Here is what is ours to promise: the
bound of exchanges for each origin and the order of those who wait, addresses that are checked,
heads that are what they should be, a second chance for a request whose kept-alive connection was
dead, and a connection that is free when its answer is over, at once.

Such an answer costs several times what ours does: these are for what our engine does not speak.
"""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import httpx

from . import heads
from .connection import MAX_HEAD, MAX_HEADERS
from .dialler import Dialler, dialler_of, origin_of, verifying
from .exchange import Engine, Header
from .settings import UpstreamSettings
from .slots import Slots

_VERSIONS = frozenset(("1.0", "1.1", "2"))
_FRAMING: Mapping[bytes, Callable[[bytes], bool]] = {
    b"content-length": lambda value: value.isdigit() and len(value) < 19,
    b"transfer-encoding": lambda value: value.lower() == b"chunked",
}


class Unanswered(httpx.ReadError):
    """A connection that had been used before ended without a byte of this answer."""


@dataclass(slots=True)
class Asked:
    """
    One request; `fresh` wants a connection that nobody has used. `sent` is the library's to say: it
    has a connection, so that something may have gone out.
    """

    method: str
    url: httpx.URL
    headers: list[Header] = field(repr=False)
    content: bytes = field(repr=False)
    public: bool
    connect_timeout: float
    fresh: bool = False
    sent: bool = False


class Answered(Protocol):
    """A library's answer, whose head is there; `version` is as it says, `1.1` or `2`."""

    version: str
    status: int
    headers: list[Header]

    async def receive(self) -> bytes:
        """
        More of the body, empty at its end.

        Raises:
            httpx.ReadError: the connection ended before the body did.
            httpx.RemoteProtocolError: the framing of the body is broken.
        """
        ...

    async def aclose(self) -> None:
        """Free the connection, which is used again only if the body has ended."""
        ...


class Library(Protocol):
    """What speaks HTTP. Its pool is to take whatever comes: bounds are held before it."""

    async def send(self, asked: Asked) -> Answered:
        """
        Send once, for the head of the answer.

        Raises:
            Unanswered: as it says; it may be sent again.
            httpx.TransportError: there is no answer.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection, those in use too."""
        ...


class ForeignEngine(Engine):
    """`library` is closed with it; `dialler` says what hosts are."""

    def __init__(self, settings: UpstreamSettings, library: Library, dialler: Dialler) -> None:
        self._settings = settings
        self._library = library
        self._dialler = dialler
        self._slots: dict[tuple[str, str, int, bool], Slots] = {}
        self._bodies: set[_Body] = set()
        self._closed = False

    @property
    def open(self) -> int:
        """Connections in use and being made; the library keeps idle ones to itself."""
        return sum(each.taken for each in self._slots.values())

    @property
    def idle(self) -> int:
        """None is known."""
        return 0

    @property
    def waiting(self) -> int:
        """Requests that wait for a connection."""
        return sum(each.waiting for each in self._slots.values())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """
        Send once, for the head of the answer, whose `stream` must be closed.

        `request.extensions` says afterwards in `sent` whether anything may have gone out.

        Raises:
            httpx.HTTPError: there is no answer.
        """
        request.extensions["sent"] = False
        asked = await self._asked(request)
        try:
            return await self._exchanged(asked)
        finally:
            request.extensions["sent"] = asked.sent

    async def _exchanged(self, asked: Asked) -> httpx.Response:
        slots = self._slots_of(asked)
        await slots.take(self._settings.pool_timeout)
        try:
            answered = await self._answered(asked)
            body = _Body(answered, slots, self._bodies)
        except BaseException:
            slots.give_back()
            raise
        try:
            check(answered.version, answered.status, answered.headers)
        except BaseException:
            await body.aclose()
            raise
        return httpx.Response(answered.status, headers=answered.headers, stream=body)

    async def aclose(self) -> None:
        """Close all connections, those in use too. May be repeated."""
        self._closed = True
        for body in tuple(self._bodies):
            await body.cut()
        await self._library.aclose()

    async def _asked(self, request: httpx.Request) -> Asked:
        # The libraries write heads themselves: here it is seen that they can be written.
        heads.beginning(request.method, request.url, request.headers.raw)
        url = request.url
        return Asked(
            request.method,
            url.copy_with(userinfo=b"") if url.userinfo else url,  # some would send it
            [each for each in request.headers.raw if each[0].lower() not in heads.FRAMING],
            await request.aread(),
            request.extensions.get("public", False),
            request.extensions.get("timeout", {}).get("connect") or self._settings.connect_timeout,
        )

    def _slots_of(self, asked: Asked) -> Slots:
        if self._closed:
            raise httpx.ConnectError("the transport is closed")
        origin = origin_of(asked.url, None, public=asked.public)
        key = (asked.url.scheme, origin.host, origin.port, asked.public)
        slots = self._slots.get(key)
        if slots is None:
            slots = self._slots[key] = Slots(self._settings.max_connections)
        return slots

    async def _answered(self, asked: Asked) -> Answered:
        if asked.public and self._settings.proxy is None:
            # Whatever is connected to is checked once more when it is.
            await self._dialler.addresses(origin_of(asked.url, None, public=True))
        try:
            return await self._library.send(asked)
        except Unanswered:
            if self._closed:
                raise
            asked.fresh = True
            return await self._library.send(asked)


def engine_over(
    library: Callable[[UpstreamSettings, ssl.SSLContext, Dialler], Library],
    settings: UpstreamSettings,
    *,
    context: ssl.SSLContext | None,
    dialler: Dialler | None,
) -> ForeignEngine:
    """
    An engine of that library, with what the settings say where nothing else is given.

    Raises:
        OSError, ssl.SSLError: `ca_file` cannot be read.
    """
    context = context if context is not None else verifying(settings.ca_file)
    dialler = dialler if dialler is not None else dialler_of(settings)
    return ForeignEngine(settings, library(settings, context, dialler), dialler)


def check(version: str, status: int, headers: Sequence[Header]) -> None:
    """
    Libraries forgive more than we do.

    Raises:
        httpx.RemoteProtocolError: a head that leaves a doubt about what follows, or passes a bound.
    """
    if not 200 <= status < 600 or version not in _VERSIONS:
        raise httpx.RemoteProtocolError("not a response of HTTP")
    size = sum(len(name) + len(value) + 4 for name, value in headers)
    if len(headers) > MAX_HEADERS or size > MAX_HEAD:
        raise httpx.RemoteProtocolError(f"more than {MAX_HEADERS} headers, or {MAX_HEAD} bytes")
    framing = [each for each in headers if each[0] in _FRAMING]
    if len(framing) > 1 or not all(_FRAMING[name](value) for name, value in framing):
        raise httpx.RemoteProtocolError("framing that can be read in two ways")


class _Body(httpx.AsyncByteStream):
    """The body of one answer; its end, or `aclose`, frees connection and slot."""

    def __init__(self, answered: Answered, slots: Slots, among: set["_Body"]) -> None:
        self._answered: Answered | None = answered
        self._slots = slots
        self._among = among
        self._is_cut = False
        among.add(self)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._answered is not None:
            data = await self._answered.receive()
            if self._is_cut:
                raise httpx.ReadError("the transport was closed")
            if not data:
                await self.aclose()
                return
            yield data
        if self._is_cut:
            raise httpx.ReadError("the transport was closed")

    async def aclose(self) -> None:
        answered, self._answered = self._answered, None
        if answered is None:
            return
        self._among.discard(self)
        try:
            await answered.aclose()
        finally:
            self._slots.give_back()

    async def cut(self) -> None:
        """The transport is closed while somebody reads."""
        self._is_cut = True
        await self.aclose()

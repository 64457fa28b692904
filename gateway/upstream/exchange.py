"""
What passes between those who ask and a transport: one request out, its answer in; and what every
transport is that an operator may choose.

A body is taken where it is there (`take`) and waited for only where it is not (`news`, `rest`),
so that a chunk costs one coroutine however many layers it comes through. A transport's errors are
httpx's; names for them are `naming`'s.
"""

from abc import abstractmethod
from collections.abc import Awaitable, Iterator, Mapping
from typing import Protocol

import httpx

from ..contract.provider import UpstreamRequest

Header = tuple[bytes, bytes]

IDENTITY: Header = (b"accept-encoding", b"identity")
"""Every request carries it: nobody here wants a body packed."""


class Outgoing(Protocol):
    """
    One POST on its way. `more` are headers beside the request's own; a `connect_timeout` of None,
    else in seconds, is the settings'. `sent` is the transport's to say: whether anything may have
    gone out.
    """

    request: UpstreamRequest
    public: bool
    more: tuple[Header, ...]
    connect_timeout: float | None
    sent: bool


class Headers(Mapping[str, str]):
    """
    An answer's headers by their names in lower case; repeated ones are joined with a comma.

    `pairs` is how they came, `raw` what they say. One is decoded when somebody asks for it: of a
    dozen, hardly any is.
    """

    __slots__ = ("pairs", "raw")

    def __init__(self, pairs: list[Header]) -> None:
        self.pairs = pairs
        self.raw = dict(pairs)
        if len(self.raw) != len(pairs):
            self.raw = _joined(pairs)

    def __getitem__(self, name: str) -> str:
        return self.raw[_bytes(name)].decode("latin-1")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _bytes(name) in self.raw

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self.raw)

    def __len__(self) -> int:
        return len(self.raw)


class Body(Protocol):
    """A body as it comes."""

    def take(self) -> bytes | None:
        """
        What has come of it; None if nothing has, empty at its end.

        Raises:
            httpx.HTTPError: it does not go on, and what came before was taken.
            ProviderGarbled: what came makes no sense.
        """
        ...

    def news(self) -> Awaitable[object]:
        """For when there is something to take. Only after `take` had nothing."""
        ...

    def rest(self) -> Awaitable[object]:
        """Like `news`, but rather when all is there, or as much as may wait."""
        ...


class Exchange(Body, Protocol):
    """An answer whose head is there. It owns a connection until its body ends, or `aclose`."""

    status: int
    headers: Headers

    @property
    def over(self) -> bool:
        """Whether its connection is free, so that there is nothing to close."""
        ...

    async def aclose(self) -> None:
        """Free the connection: it is not used again unless the body has ended. May be repeated."""
        ...


class Transport(Protocol):
    """What sends requests."""

    def exchange(self, outgoing: Outgoing) -> Awaitable[Exchange]:
        """
        Send once, for the head of the answer. `outgoing.sent` is set even if it fails.

        Raises:
            httpx.HTTPError: there is no answer.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection, those in use too."""
        ...


class Engine(httpx.AsyncBaseTransport):
    """
    Sends requests over connections that are bounded for each origin, in one running loop.

    `request.extensions` may hold `timeout`, with `connect` in seconds, and `public`: the addresses
    of the host must belong to the public internet.
    """

    @property
    @abstractmethod
    def open(self) -> int:
        """Connections idle, in use and being made, to all origins, as far as they are known."""

    @property
    @abstractmethod
    def idle(self) -> int:
        """Connections that are known to be ready for a request."""

    @property
    @abstractmethod
    def waiting(self) -> int:
        """Requests that wait for a connection."""


def _bytes(name: str) -> bytes:
    return name.encode("latin-1", "replace")  # no name has a ? in it


def _joined(pairs: list[Header]) -> dict[bytes, bytes]:
    values: dict[bytes, bytes] = {}
    for name, value in pairs:
        values[name] = values[name] + b", " + value if name in values else value
    return values

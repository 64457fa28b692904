"""
A request that carries an `Idempotency-Key`: run once, and answered as often as it is sent.

A repeat is answered with the bytes of the first answer. It is a request like others until it has
shown who sends it and that it may use the model; then nothing is reserved for it, and no upstream
hears of it. The first goes on when its client leaves, because it is about to come back.

Hot: one look-up a request; nothing else here runs for one without the header.
"""

import re

from starlette.types import Message, Send

from ..access import Caller
from ..contract.errors import InvalidRequest, ProviderRejected
from ..contract.head import Head
from ..idempotency import Claim, Idempotency, Kept, Ticket
from ..pipeline import Request
from .errors import Headers
from .relay import Relay

_HEADER = b"idempotency-key"

FINAL = frozenset({400, 413, 422})
"""An upstream's refusals that it would repeat, and that are therefore answers."""

MAX_KEY = 255
"""Characters of a key."""

_KEY = re.compile(rb"[!-~]{1,%d}" % MAX_KEY)
_REPEATED = frozenset(
    {
        b"cache-control",
        b"content-length",
        b"content-type",
        b"x-accel-buffering",
        b"x-lockgate-dropped",
        b"x-lockgate-error-source",
        b"x-lockgate-max-tokens",
        b"x-lockgate-model",
        b"x-lockgate-target",
        b"x-should-retry",
    }
)
"""Headers that tell of the answer; others tell of the request that fetched it."""


def key_of(head: Head) -> bytes | None:
    """The idempotency key of a request, None without one; empty, which is no key, if it has two."""
    keys = head.get(_HEADER)
    if keys is None:
        return None
    return keys[0] if len(keys) == 1 else b""


def check_key(key: bytes) -> None:
    """
    Raises:
        InvalidRequest: it is no key, or there were two.
    """
    if not _KEY.fullmatch(key):
        raise InvalidRequest(
            "The header Idempotency-Key must be given once, "
            f"as 1 to {MAX_KEY} visible ASCII characters.",
            code="invalid_idempotency_key",
        )


class Once:
    """Of one route: who runs a request, and who is given its answer."""

    def __init__(self, idempotency: Idempotency, path: str) -> None:
        self._idempotency = idempotency
        self._path = path

    async def claim(
        self, request: Request, caller: Caller, model: str, key: bytes, content: bytes
    ) -> Claim | Kept:
        """
        The right to run it, or the answer: waited for as long as the request itself may take.

        Raises:
            GatewayError: it may not use the model, or the key can't be answered.
        """
        route = request.route(caller, model)
        ticket = Ticket.of((caller.tenant, caller.key_id), self._path, key, content)
        return await self._idempotency.claim(
            ticket, request.record.request_id, within=route.settings.total
        )


async def replay(kept: Kept, relay: Relay, headers: Headers) -> None:
    """
    Give the answer again, with the headers of this request.

    Raises:
        ProviderRejected: it was a refusal; the client has been told, and the record will say so.
    """
    told: Headers = [
        *kept.headers,
        *headers,
        (b"idempotent-replayed", b"true"),
        (b"x-lockgate-original-request-id", kept.request_id.encode()),
    ]
    await relay.again(kept.status, told, kept.body)
    if kept.status in FINAL:
        raise ProviderRejected("", status=kept.status)


class Copy:
    """
    An ASGI send that copies what it sends for `claim`. That the client has left does not end the
    request: the gateway's own server says nothing of it here, and others raise OSError.
    """

    def __init__(self, claim: Claim, send: Send) -> None:
        self._claim = claim
        self._send = send
        self._is_heard = True
        self._status = 0
        self._headers: tuple[tuple[bytes, bytes], ...] = ()

    async def __call__(self, message: Message) -> None:
        """Send, and copy."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = tuple(each for each in message["headers"] if each[0] in _REPEATED)
        else:
            self._claim.add(message["body"])
        if self._is_heard:
            try:
                await self._send(message)
            except OSError:
                self._is_heard = False

    async def keep(self, request_id: str) -> None:
        """All of it has been sent: from now on it is the answer."""
        await self._claim.keep(request_id, self._status, self._headers)

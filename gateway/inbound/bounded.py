"""
Bounds on the bodies of what is no inference: sign-in, administration, whatever nobody answers to.

FastAPI reads such a body before it asks who is there, and would read it however long it is and
takes. What is read is small, so none of this needs to be fast.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from ..contract.errors import GatewayError
from ..contract.head import head_of
from .body import GRACE, check_announced, too_large, too_slow
from .settings import HttpSettings

MAX_BODY = 1024 * 1024
"""Bytes; `http.max_body` where that is less."""


class BodyRefused(HTTPException):
    """A body that is not read on. FastAPI lets this kind of error pass; `refusal` is the answer."""

    def __init__(self, refusal: GatewayError) -> None:
        super().__init__(refusal.status, refusal.message)
        self.refusal = refusal


class BoundedReceive:
    """A `receive` of one request that raises `BodyRefused`."""

    __slots__ = ("_graced", "_headers", "_http", "_max", "_now", "_receive", "_size")

    def __init__(
        self,
        receive: Receive,
        headers: Sequence[tuple[bytes, bytes]],
        http: HttpSettings,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._receive = receive
        self._headers: Sequence[tuple[bytes, bytes]] | None = headers
        self._http = http
        self._max = min(MAX_BODY, http.max_body)
        self._size = 0
        self._now = now
        self._graced: float | None = now() + GRACE

    async def __call__(self) -> Message:
        """The next message; after the body, as long as that one takes."""
        if self._graced is None:
            return await self._receive()
        try:
            return await self._bounded(self._graced)
        except GatewayError as refusal:
            raise BodyRefused(refusal) from None

    async def _bounded(self, graced: float) -> Message:
        if self._headers is not None:
            check_announced(head_of(self._headers), self._max)
            self._headers = None
        try:
            async with asyncio.timeout(self._http.body_timeout):
                message = await self._receive()
        except TimeoutError:
            raise too_slow() from None
        self._size += len(message.get("body", b""))
        if self._size > self._max:
            raise too_large(self._max)
        if not message.get("more_body", False):
            self._graced = None
        elif self._size < self._http.min_body_rate * (self._now() - graced):
            raise too_slow()
        return message

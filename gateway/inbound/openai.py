"""
The inference routes in OpenAI's dialect: client bytes in, client bytes out.

Plain ASGI endpoints. A request is refused as early as it can be: without a valid key no byte of
its body is read. Whatever happens, the client gets exactly one outcome.

Hot: `Inference.__call__` runs once a request.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any

import structlog
from starlette.types import Receive, Scope, Send

from ..access import Caller
from ..contract.errors import (
    GatewayError,
    InternalError,
    InvalidRequest,
    ProviderError,
    ProviderRejected,
)
from ..contract.head import Head, head_of
from ..idempotency import Claim, Idempotency, Kept
from ..pipeline import ClientHungUp, Hints, Interrupt, Pipeline, Request
from .addresses import ClientAddresses
from .body import body_at_hand, read_body
from .client_id import client_id_of
from .errors import error_headers
from .hang_up import watch
from .headers import headers_of
from .hints import hints_of
from .hops import HEADER as HOP
from .hops import hops_of
from .keepalive import Keepalive
from .parse import parse
from .relay import Relay
from .replay import FINAL, Copy, Once, check_key, key_of, replay
from .routes import InferenceRoute
from .settings import HttpSettings
from .tags import HEADER as TAGS
from .tags import tags_of

_log = structlog.stdlib.get_logger("lockgate.inbound")


class Inference:
    """One inference route: `pipeline` answers requests, `idempotency` those that come again."""

    def __init__(
        self,
        route: InferenceRoute,
        pipeline: Pipeline,
        settings: HttpSettings,
        idempotency: Idempotency,
    ) -> None:
        self._route = route
        self._operation = route.operation
        self._pipeline = pipeline
        self._settings = settings
        self._once = Once(idempotency, route.path)
        self._addresses = ClientAddresses(settings.trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; returns when its last byte is out, or its client gone."""
        head = head_of(scope["headers"])
        request = Request(self._pipeline, self._operation, head, client_id_of(head))
        relay = Relay(send)
        try:
            async with request:
                await self._answer(request, head, scope, receive, relay)
        except (GatewayError, ProviderError) as error:
            await relay.error(error, error_headers(error) + headers_of(request))
        except ClientHungUp:
            return
        except Exception:  # noqa: BLE001 - the outermost: whatever it is, the client hears of it
            _log.exception("request_failed", request_id=request.record.request_id)
            await relay.error(InternalError(), error_headers(InternalError()) + headers_of(request))

    async def _answer(
        self, request: Request, head: Head, scope: Scope, receive: Receive, relay: Relay
    ) -> None:
        if HOP in head:
            request.record.hops = hops_of(head)
        caller = await request.identify(head, self._addresses(scope))
        key = key_of(head)
        if key is not None:
            check_key(key)
        content = body_at_hand(scope, head, self._settings.max_body)
        if content is None:
            content = await self._read(receive, head, request.interrupt)
        body = parse(content, self._route.request)
        if body.get("stream") and not self._route.streams:
            raise InvalidRequest("This route does not stream.", param="stream")
        if TAGS in head:
            request.record.tags = tags_of(head)
        hints = hints_of(head)
        with watch(scope, receive, request.interrupt):
            if key is None:
                await self._run(request, caller, body, relay, hints)
                return
            request.record.stream = bool(body.get("stream"))
            found = await self._once.claim(request, caller, body["model"], key, content)
        if isinstance(found, Kept):
            await replay(found, relay, headers_of(request))
        else:  # nobody watches: it goes on without its client, however long that one would wait
            patient = replace(hints, patience=inf)
            run = partial(self._run, request, caller, body, relay, patient)
            await self._run_for_all(found, request, relay, run)

    async def _run(
        self,
        request: Request,
        caller: Caller,
        body: dict[str, Any],
        relay: Relay,
        hints: Hints,
    ) -> None:
        stream = bool(body.get("stream"))
        after = request.commit_after(body["model"]) if stream else None
        if after is None:
            answer = await request.answer(caller, body, stream=stream, hints=hints)
        else:
            async with Keepalive(relay, after, headers_of(request)):
                answer = await request.answer(caller, body, stream=stream, hints=hints)
        await relay.answer(answer, request.record.model, headers_of(request, answer))

    async def _run_for_all(
        self, claim: Claim, request: Request, relay: Relay, run: Callable[[], Awaitable[None]]
    ) -> None:
        """Run it, and keep its answer if it is a final one."""
        async with claim:
            relay.send = copy = Copy(claim, relay.send)
            try:
                await run()
            except ProviderRejected as error:
                if relay.started or error.status not in FINAL:
                    raise
                await relay.error(error, error_headers(error) + headers_of(request))
                await copy.keep(request.record.request_id)
                raise
            await copy.keep(request.record.request_id)

    async def _read(self, receive: Receive, head: Head, interrupt: Interrupt) -> bytes:
        settings = self._settings
        return await read_body(
            receive,
            head,
            interrupt,
            max_body=settings.max_body,
            patience=settings.body_timeout,
            min_rate=settings.min_body_rate,
        )

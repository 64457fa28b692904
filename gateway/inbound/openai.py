"""
The inference routes in OpenAI's dialect: client bytes in, client bytes out.

Plain ASGI endpoints. A request is refused as early as it can be: without a valid key no byte of
its body is read. Whatever happens, the client gets exactly one outcome.

Hot: `Inference.__call__` runs once a request.
"""

import re
from collections.abc import Iterable
from typing import Any

import structlog
from starlette.types import Receive, Scope, Send

from ..contract.errors import GatewayError, InternalError, InvalidRequest, ProviderError
from ..limits import ratelimit_headers
from ..pipeline import Answer, ClientHungUp, Pipeline, Request
from .addresses import ClientAddresses
from .body import read_body
from .errors import Headers, error_headers
from .hang_up import watch
from .parse import parse
from .relay import Relay
from .routes import InferenceRoute
from .settings import HttpSettings
from .tags import tags_of

MAX_HEADER = 1024
"""Characters of a name that a header repeats."""

_CLIENT_ID = re.compile(rb"[A-Za-z0-9_-]{1,64}")
_CLIENT_ID_HEADERS = (b"x-client-request-id", b"x-request-id")

_log = structlog.stdlib.get_logger("lockgate.inbound")


class Inference:
    """One inference route. `pipeline` answers its requests."""

    def __init__(self, route: InferenceRoute, pipeline: Pipeline, settings: HttpSettings) -> None:
        self._route = route
        self._pipeline = pipeline
        self._settings = settings
        self._addresses = ClientAddresses(settings.trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; returns when its last byte is out, or its client gone."""
        headers = scope["headers"]
        request = Request(self._pipeline, self._route.operation, headers, _client_id(headers))
        relay = Relay(send)
        try:
            async with request:
                await self._answer(request, scope, receive, relay)
        except (GatewayError, ProviderError) as error:
            await relay.error(error, error_headers(error) + _headers(request))
        except ClientHungUp:
            return
        except Exception:  # noqa: BLE001 - the outermost: whatever it is, the client hears of it
            _log.exception("request_failed", request_id=request.record.request_id)
            await relay.error(InternalError(), error_headers(InternalError()) + _headers(request))

    async def _answer(self, request: Request, scope: Scope, receive: Receive, relay: Relay) -> None:
        headers = scope["headers"]
        caller = await request.identify(headers, self._addresses(scope))
        content = await read_body(
            receive,
            headers,
            request.interrupt,
            max_body=self._settings.max_body,
            patience=self._settings.body_timeout,
        )
        body = self._parse(content)
        request.record.tags = tags_of(headers)
        with watch(scope, receive, request.interrupt):
            answer = await request.answer(caller, body, stream=bool(body.get("stream")))
            await relay.answer(answer, body["model"], _headers(request, answer))

    def _parse(self, content: bytes) -> dict[str, Any]:
        body = parse(content, self._route.request)
        if not self._route.streams and body.get("stream"):
            raise InvalidRequest("This route does not stream.", param="stream")
        return body


def _client_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The client's own id for the request if it is a harmless one, else nothing."""
    found = ""
    for name, value in headers:
        if name in _CLIENT_ID_HEADERS and _CLIENT_ID.fullmatch(value):
            if name == b"x-client-request-id":
                return value.decode()
            found = value.decode()
    return found


def _headers(request: Request, answer: Answer | None = None) -> Headers:
    """What every response to an inference request carries."""
    record = request.record
    headers = [
        (b"x-request-id", record.request_id.encode()),
        (b"x-lockgate-attempts", b"%d" % len(record.attempts)),
    ]
    if request.account is not None:
        headers += ratelimit_headers(request.account.standings)
    if record.client_request_id:
        headers.append((b"x-client-request-id", record.client_request_id.encode()))
    if answer is not None:
        headers += _answer_headers(request, answer)
    return headers


def _answer_headers(request: Request, answer: Answer) -> Headers:
    record = request.record
    assert record.first_content is not None, "there is an answer"
    assert request.serving is not None, "there is an answer"
    upstream = record.first_content - record.attempts[-1].started
    gateway = record.first_content - record.started - upstream
    headers = [
        (b"x-lockgate-model", _header_text(record.model)),
        (
            b"server-timing",
            b"gateway;dur=%.1f, upstream;dur=%.1f" % (gateway * 1e3, upstream * 1e3),
        ),
        (b"openai-processing-ms", b"%d" % (upstream * 1e3)),
    ]
    if answer.sent.dropped:
        headers.append((b"x-lockgate-dropped", _header_text(", ".join(answer.sent.dropped))))
    if request.account is not None and request.account.lowered_cap is not None:
        headers.append((b"x-lockgate-max-tokens", b"%d" % request.account.lowered_cap))
    if request.exposes_target:
        headers.append((b"x-lockgate-target", _header_text(request.serving.name)))
    return headers


def _header_text(text: str) -> bytes:
    """Names may hold any character, those of a client's fields too; a header may not."""
    return text[:MAX_HEADER].encode("unicode_escape")

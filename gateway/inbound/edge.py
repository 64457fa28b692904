"""
The outermost ASGI application: exact inference paths go straight to their endpoints.

Everything else (models, health, metrics, documents) goes on to FastAPI, whose stack an inference
request never pays for. Its bodies have bounds, too.

Hot: one dictionary look-up a request.
"""

from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime

import structlog
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..contract.errors import InvalidRequest
from ..telemetry.ulid import ulid
from .bounded import BoundedReceive
from .errors import error_body, error_headers
from .settings import HttpSettings

_ESCAPE = ord("%")

_log = structlog.stdlib.get_logger("lockgate.inbound")


class Edge:
    """Dispatches by exact path; what is no inference goes to `rest`."""

    def __init__(
        self, inference: Mapping[str, ASGIApp], rest: ASGIApp, http: HttpSettings | None = None
    ) -> None:
        self._inference = inference
        self._rest = rest
        self._http = http or HttpSettings()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """An ASGI application; whoever answers is awaited, with nothing in between."""
        if scope["type"] != "http":
            return self._rest(scope, receive, send)
        endpoint = self._inference.get(scope["path"])
        # Exact as it was sent: whatever stands in front may have judged the bytes.
        if endpoint is None or _ESCAPE in scope.get("raw_path", b""):
            return self._answer(self._rest, scope, receive, send)
        if scope["method"] == "POST":
            return endpoint(scope, receive, send)
        return self._answer(_post_only, scope, receive, send)

    async def _answer(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it answer, under a request id that the log knows too."""
        request_id = ulid(int(datetime.now(UTC).timestamp() * 1000))

        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        try:
            await app(scope, BoundedReceive(receive, scope["headers"], self._http), tagged)
        except Exception:  # noqa: BLE001 - the outermost: the client has its constant answer
            _log.exception("request_failed", request_id=request_id, path=scope["path"])


async def _post_only(scope: Scope, receive: Receive, send: Send) -> None:
    error = InvalidRequest("This path takes POST.", code="method_not_allowed")
    headers = {name.decode(): value.decode() for name, value in error_headers(error)}
    answer = JSONResponse(error_body(error), 405, {**headers, "allow": "POST"})
    await answer(scope, receive, send)

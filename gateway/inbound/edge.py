"""
The outermost ASGI application: exact inference paths go straight to their endpoints.

Everything else (models, health, metrics, documents) goes on to FastAPI, whose stack an inference
request never pays for.

Hot: one dictionary look-up a request.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..telemetry.ulid import ulid

_log = structlog.stdlib.get_logger("lockgate.inbound")


class Edge:
    """Dispatches by exact path; POST only, anything else falls through to `rest`."""

    def __init__(self, inference: Mapping[str, ASGIApp], rest: ASGIApp) -> None:
        self._inference = inference
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] == "http" and scope["method"] == "POST":
            endpoint = self._inference.get(scope["path"])
            # Exact as it was sent: whatever stands in front may have judged the bytes.
            if endpoint is not None and b"%" not in scope.get("raw_path", b""):
                await endpoint(scope, receive, send)
                return
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the rest answer, under a request id that the log knows too."""
        request_id = ulid(int(datetime.now(UTC).timestamp() * 1000))

        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        try:
            await self._rest(scope, receive, tagged)
        except Exception:  # noqa: BLE001 - the outermost: the client has its constant answer
            _log.exception("request_failed", request_id=request_id, path=scope["path"])

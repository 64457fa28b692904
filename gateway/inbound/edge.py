"""
The outermost ASGI application: exact inference paths go straight to their endpoints.

Everything else (models, health, metrics, documents) goes on to FastAPI, whose stack an inference
request never pays for.

Hot: one dictionary look-up a request.
"""

from collections.abc import Mapping

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

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
        try:
            await self._rest(scope, receive, send)
        except Exception:
            _log.exception("request_failed", path=scope.get("path"))
            if scope["type"] == "lifespan":
                raise

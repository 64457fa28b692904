"""
Acme, a made-up upstream with a dialect of its own, as a stranger's package would bring it.

It knows nothing of the gateway but `gateway.contract`.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from gateway.contract.errors import (
    ProviderError,
    ProviderFailed,
    ProviderGarbled,
    ProviderRefused,
    ProviderRejected,
)
from gateway.contract.provider import (
    Body,
    Operation,
    Provider,
    ProviderSettings,
    Seen,
    Target,
    UpstreamRequest,
    Usage,
)


class AcmeSettings(ProviderSettings):
    """One Acme account."""

    region: str = "north"


class Acme(Provider[AcmeSettings]):
    """Speaks of engines and turns."""

    Settings = AcmeSettings
    operations: ClassVar[frozenset[Operation]] = frozenset({"chat"})
    needs_credential: ClassVar[bool] = True

    def encode(self, operation: Operation, body: Body, target: Target) -> UpstreamRequest:
        """Messages become turns."""
        turns = [{"who": turn["role"], "say": turn["content"]} for turn in body["messages"]]
        key = self.settings.api_key.get_secret_value()
        known = {"model", "messages", "stream"}
        return UpstreamRequest(
            url=f"{self.settings.base_url}/{self.settings.region}/{operation}",
            headers=((b"authorization", f"Key {key}".encode()),),
            content=json.dumps({"engine": target.model, "turns": turns}).encode(),
            dropped=tuple(name for name in body if name not in known),
        )

    def reader(self, operation: Operation, body: Body, *, stream: bool) -> "AcmeReader":
        """Both forms are lists of the same objects."""
        return AcmeReader(body["model"], stream=stream)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Acme says nothing that is worth telling."""
        if 400 <= status <= 499:
            return ProviderRejected("acme rejected this", status=400)
        kind = ProviderRefused if status == 503 else ProviderFailed
        return kind(f"acme answered {status}")


class AcmeReader:
    """Turns what Acme says into chunks, or into one answer."""

    def __init__(self, model: str, *, stream: bool) -> None:
        self._model = model
        self._part = "delta" if stream else "message"
        self.complete = False

    def read(self, data: bytes) -> Seen:
        """Read one event's data, or the whole body."""
        try:
            said = json.loads(data)
        except (ValueError, RecursionError):
            return Seen(error=ProviderGarbled("acme sent no JSON"))
        match said:
            case {"t": str(text), "done": {"in": int(read), "out": int(written)}}:
                return self._last(text, Usage(read, written))
            case {"t": str(text)} if self._part == "delta":
                return Seen(self._payload(text, None), content=bool(text), translated=True)
            case _:
                return Seen(error=ProviderGarbled("acme sent something else"))

    def _last(self, text: str, usage: Usage) -> Seen:
        self.complete = True
        return Seen(
            self._payload(text, "stop"),
            content=True,
            usage=usage,
            finish_reasons=("stop",),
            translated=True,
        )

    def _payload(self, text: str, finish: str | None) -> dict[str, Any]:
        said = {"role": "assistant", "content": text}
        choice = {"index": 0, self._part: said, "finish_reason": finish}
        return {"id": "acme", "model": self._model, "choices": [choice]}

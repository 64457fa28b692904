"""
A vLLM server.

It speaks OpenAI's dialect and takes more fields. Fields that it does not know it ignores with a
warning of its own, so nothing is dropped here; what it has renamed is sent under the new name.
An answer that broke off at one server goes on at another.
"""

from typing import Any, ClassVar, Final

from pydantic import Field

from gateway.contract.continuation import Continuation, Said
from gateway.contract.network import Network
from gateway.contract.provider import Body, Operation, Target

from .continuing import continuation
from .openai import Compatible, CompatibleSettings

_GUIDED: Final = {
    "guided_json": "json",
    "guided_regex": "regex",
    "guided_choice": "choice",
    "guided_grammar": "grammar",
    "guided_whitespace_pattern": "whitespace_pattern",
}
_OLD_NAMES: Final = frozenset(_GUIDED)


class VLLMSettings(CompatibleSettings):
    """One vLLM server; its key is optional."""

    continuous_usage: bool = Field(
        default=False,
        description="Ask for usage in every chunk, so that a stream that is cut is still counted.",
    )


class VLLM(Compatible[VLLMSettings]):
    """A vLLM server, of this version or an older one."""

    Settings = VLLMSettings
    network: ClassVar[Network] = "private"
    health_path: ClassVar[str] = "/health"

    def resume(
        self, operation: Operation, body: Body, target: Target, said: Said
    ) -> Continuation | None:
        """Go on with text, where that is exact."""
        return continuation(operation, body, target, said)

    def _adapt(self, operation: Operation, out: dict[str, Any], target: Target) -> None:
        if not _OLD_NAMES.isdisjoint(out):
            _rename_guided(out)
        if out.get("stream") and operation != "embedding" and self._tells_tokens(target):
            out["stream_options"] = {
                **(out.get("stream_options") or {}),
                "continuous_usage_stats": True,
            }

    def _tells_tokens(self, target: Target) -> bool:
        """Whether every event of a stream is to tell its tokens: another may have to go on."""
        return self.settings.continuous_usage or (target.resumable and self.settings.stream_usage)


def _rename_guided(out: dict[str, Any]) -> None:
    """Old names of structured outputs become one object; what the client wrote there wins."""
    old = {name: out.pop(name) for name in _GUIDED if name in out}
    wanted = {_GUIDED[name]: value for name, value in old.items() if value is not None}
    given = out.get("structured_outputs") or {}
    if wanted and isinstance(given, dict):  # what makes no sense is the server's to refuse
        out["structured_outputs"] = {**wanted, **given}

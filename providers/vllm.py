"""
A vLLM server.

It speaks OpenAI's dialect and takes more fields. Fields that it does not know it ignores with a
warning of its own, so nothing is dropped here; what it has renamed is sent under the new name.
"""

from typing import Any, ClassVar, Final

from pydantic import Field

from gateway.contract.provider import Operation

from .openai import Compatible, CompatibleSettings

_GUIDED: Final = {
    "guided_json": "json",
    "guided_regex": "regex",
    "guided_choice": "choice",
    "guided_grammar": "grammar",
    "guided_whitespace_pattern": "whitespace_pattern",
}


class VLLMSettings(CompatibleSettings):
    """One vLLM server; its key is optional."""

    continuous_usage: bool = Field(
        default=False,
        description="Ask for usage in every chunk, so that a stream that is cut is still counted.",
    )


class VLLM(Compatible[VLLMSettings]):
    """A vLLM server, of this version or an older one."""

    Settings = VLLMSettings
    health_path: ClassVar[str] = "/health"

    def _adapt(self, operation: Operation, out: dict[str, Any]) -> None:
        _rename_guided(out)
        if self.settings.continuous_usage and out.get("stream") and operation != "embedding":
            options = out.get("stream_options") or {}
            out["stream_options"] = {**options, "continuous_usage_stats": True}


def _rename_guided(out: dict[str, Any]) -> None:
    """Old names of structured outputs become one object; what the client wrote there wins."""
    old = {name: out.pop(name) for name in _GUIDED if name in out}
    wanted = {_GUIDED[name]: value for name, value in old.items() if value is not None}
    if wanted:
        out["structured_outputs"] = {**wanted, **(out.get("structured_outputs") or {})}

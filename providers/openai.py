"""
OpenAI, and every host that speaks its dialect.

The request goes on as the client wrote it, unknown fields included, but for the model's name,
the output cap and what the host is known to refuse. `Compatible` is the dialect; the kinds built
on it differ in settings and in what they adapt.

Hot: `encode` copies the body once and serialises it once.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, TypeVar
from urllib.parse import urlsplit

import orjson
from pydantic import Field, SecretStr, field_validator

from gateway.contract.errors import ProviderError
from gateway.contract.provider import (
    Body,
    Operation,
    Provider,
    ProviderSettings,
    Reader,
    Target,
    UpstreamRequest,
)

from .reader import EmbeddingReader, StreamReader, WholeReader
from .refusal import Refusals

PATHS: Final[Mapping[Operation, str]] = {
    "chat": "/v1/chat/completions",
    "completion": "/v1/completions",
    "embedding": "/v1/embeddings",
}
# fmt: off
VLLM_ONLY: Final = frozenset(
    {
        "add_generation_prompt", "add_special_tokens", "allowed_token_ids", "bad_words",
        "cache_salt", "chat_template", "chat_template_kwargs", "continue_final_message",
        "documents", "guided_choice", "guided_decoding_backend", "guided_grammar",
        "guided_json", "guided_regex", "guided_whitespace_pattern", "ignore_eos",
        "include_reasoning", "include_stop_str_in_output", "kv_transfer_params",
        "length_penalty", "logits_processors", "min_p", "min_tokens", "mm_processor_kwargs",
        "priority", "prompt_logprobs", "repetition_penalty", "request_id", "return_token_ids",
        "return_tokens_as_token_ids", "skip_special_tokens", "spaces_between_special_tokens",
        "stop_token_ids", "stream_interval", "structured_outputs", "top_k",
        "truncate_prompt_tokens", "use_beam_search", "vllm_xargs",
    }
)
# fmt: on
"""Fields of vLLM's that OpenAI answers with a 400."""

MaxTokensField = Literal["max_tokens", "max_completion_tokens"]


class CompatibleSettings(ProviderSettings):
    """What every host of the dialect may be told."""

    drop_params: bool | None = Field(
        default=None,
        description="Leave out vLLM's own fields. Default: only for OpenAI itself.",
    )
    stream_usage: bool = Field(
        default=True, description="The host accepts `stream_options`: ask every stream for usage."
    )
    max_tokens_field: MaxTokensField | None = Field(
        default=None,
        description="How a chat's output cap is called. Default: `max_completion_tokens` for "
        "OpenAI itself, else `max_tokens`.",
    )

    @field_validator("api_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr) -> SecretStr:
        secret = value.get_secret_value()
        if not (secret.isascii() and secret.isprintable()):
            raise ValueError("must be printable ASCII")
        return value


class OpenAISettings(CompatibleSettings):
    """One account at OpenAI, or one host like it."""

    base_url: str = Field(
        default="https://api.openai.com",
        description="What an OpenAI SDK would take, or the server's root.",
    )
    organization: str = Field(
        default="", pattern=r"^[!-~]*$", description="Sent as `OpenAI-Organization`."
    )
    project: str = Field(default="", pattern=r"^[!-~]*$", description="Sent as `OpenAI-Project`.")


C = TypeVar("C", bound=CompatibleSettings)


class Compatible(Provider[C]):
    """The dialect. A kind adapts the body, the addresses or the headers where it differs."""

    operations: ClassVar[frozenset[Operation]] = frozenset(PATHS)

    def __init__(self, name: str, settings: C) -> None:
        super().__init__(name, settings)
        key = settings.api_key.get_secret_value()
        is_openai = self.is_openai
        self._refusals = Refusals([key, settings.base_url, urlsplit(settings.base_url).netloc])
        self._named = self._refusals.of_event
        self._headers = self._header_pairs(key)
        self._urls = {each: settings.base_url + PATHS[each] for each in self.operations}
        self._drops = is_openai if settings.drop_params is None else settings.drop_params
        self._max_tokens_field: MaxTokensField = settings.max_tokens_field or (
            "max_completion_tokens" if is_openai else "max_tokens"
        )

    @property
    def is_openai(self) -> bool:
        """Whether this is OpenAI itself, which is stricter than hosts like it."""
        host = urlsplit(self.settings.base_url).hostname or ""
        return host == "api.openai.com" or host.endswith(".api.openai.com")

    def encode(self, operation: Operation, body: Body, target: Target) -> UpstreamRequest:
        """Pass the request on, but for the model name, the cap and what the host refuses."""
        out = {**body, "model": target.model}
        dropped = self._drop(out) if self._drops else ()
        injected = False
        if operation == "embedding":
            if not out.get("encoding_format"):
                out.pop("encoding_format", None)
        else:
            self._cap(operation, out, target.max_output)
            if out.get("stream") and self.settings.stream_usage:
                injected = _ask_for_usage(out)
        self._adapt(operation, out, target)
        return UpstreamRequest(
            url=self._url(operation, target.model),
            headers=self._headers,
            content=orjson.dumps(out),
            dropped=dropped,
            injected_usage=injected,
        )

    def reader(self, operation: Operation, body: Body, *, stream: bool) -> Reader:
        """A fresh reader for one answer."""
        if operation == "embedding":
            return EmbeddingReader(self._named, as_base64=body.get("encoding_format") == "base64")
        return StreamReader(self._named) if stream else WholeReader(self._named)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Name what a refusal means."""
        return self._refusals.of_answer(status, headers, body)

    def _header_pairs(self, key: str) -> tuple[tuple[bytes, bytes], ...]:
        content_type = (b"content-type", b"application/json")
        if not key:
            return (content_type,)
        return (content_type, (b"authorization", b"Bearer " + key.encode()))

    def _url(self, operation: Operation, model: str) -> str:
        return self._urls[operation]

    def _adapt(self, operation: Operation, out: dict[str, Any], target: Target) -> None:
        """What else the kind writes differently; `out` is a copy, its values are not."""

    def _drop(self, out: dict[str, Any]) -> tuple[str, ...]:
        dropped = [name for name in out if name in VLLM_ONLY]
        for name in dropped:
            del out[name]
        options = out.get("stream_options")
        if isinstance(options, dict) and "continuous_usage_stats" in options:
            out["stream_options"] = {
                name: value for name, value in options.items() if name != "continuous_usage_stats"
            }
            dropped.append("stream_options.continuous_usage_stats")
        return tuple(dropped)

    def _cap(self, operation: Operation, out: dict[str, Any], most: int | None) -> None:
        """One cap under the name that the host knows: the lower where the client gave both."""
        if operation == "completion":
            if out.get("max_tokens") is None and most is not None:
                out["max_tokens"] = most
            return
        cap, other = out.pop("max_tokens", None), out.pop("max_completion_tokens", None)
        if cap is None:
            cap = most if other is None else other
        elif other is not None:
            cap = min(cap, other)
        if cap is not None:
            out[self._max_tokens_field] = cap


class OpenAI(Compatible[OpenAISettings]):
    """OpenAI itself, or any host of its dialect under another `base_url`."""

    Settings = OpenAISettings

    @property
    def is_active(self) -> bool:
        """OpenAI itself needs a credential; whether another host does is for it to say."""
        return not self.is_openai or bool(self.settings.api_key.get_secret_value())

    def price_list(self, model: str) -> tuple[str, str] | None:
        """OpenAI's own list; another host's prices are for the operator to state."""
        return ("openai", model) if self.is_openai else None

    def _header_pairs(self, key: str) -> tuple[tuple[bytes, bytes], ...]:
        pairs = super()._header_pairs(key)
        if self.settings.organization:
            pairs += ((b"openai-organization", self.settings.organization.encode()),)
        if self.settings.project:
            pairs += ((b"openai-project", self.settings.project.encode()),)
        return pairs


def _ask_for_usage(out: dict[str, Any]) -> bool:
    """Whether the client did not ask for it itself."""
    options = out.get("stream_options") or {}
    if options.get("include_usage"):
        return False
    out["stream_options"] = {**options, "include_usage": True}
    return True

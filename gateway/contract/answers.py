"""
Answers in the OpenAI dialect, as the API document describes them.

An upstream's answer is relayed as it came and never goes through these models; only the
gateway's own (lists of models, errors) are built from them. Unknown fields belong to an answer.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

_USAGE: JsonDict = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
_CHUNK: JsonDict = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1767225600,
    "model": "chat-small",
}


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow")


class TokenUsage(_Answer):
    """The tokens of a request and of its answer."""

    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int
    prompt_tokens_details: dict[str, Any] | None = None
    completion_tokens_details: dict[str, Any] | None = None


class ChatAnswer(_Answer):
    """What the model said."""

    role: Literal["assistant"]
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class ChatChoice(_Answer):
    """One of the answers."""

    index: int
    message: ChatAnswer
    finish_reason: str
    logprobs: dict[str, Any] | None = None


class ChatCompletion(_Answer):
    """A whole chat completion. `model` is the name that was asked for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_CHUNK,
                    "object": "chat.completion",
                    "choices": [
                        {
                            "index": 0,
                            "message": {"role": "assistant", "content": "Hello there."},
                            "finish_reason": "stop",
                        }
                    ],
                    "usage": _USAGE,
                }
            ]
        }
    )

    id: str
    object: Literal["chat.completion"]
    created: int = Field(description="Seconds since 1970.")
    model: str
    choices: list[ChatChoice]
    usage: TokenUsage | None = None


class ChatDelta(_Answer):
    """A piece of an answer."""

    role: str | None = None
    content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class ChatChunkChoice(_Answer):
    """A piece of one of the answers."""

    index: int
    delta: ChatDelta
    finish_reason: str | None = None


class ChatCompletionChunk(_Answer):
    """One event of a streamed chat completion; the last one of all is `data: [DONE]`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_CHUNK,
                    "choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}],
                }
            ]
        }
    )

    id: str
    object: Literal["chat.completion.chunk"]
    created: int = Field(description="Seconds since 1970.")
    model: str
    choices: list[ChatChunkChoice]
    usage: TokenUsage | None = None


class CompletionChoice(_Answer):
    """One of the answers."""

    index: int
    text: str
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class Completion(_Answer):
    """A whole completion, or one event of a streamed one."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "cmpl-1",
                    "object": "text_completion",
                    "created": 1767225600,
                    "model": "chat-small",
                    "choices": [{"index": 0, "text": " a door for water", "finish_reason": "stop"}],
                    "usage": _USAGE,
                }
            ]
        }
    )

    id: str
    object: Literal["text_completion"]
    created: int = Field(description="Seconds since 1970.")
    model: str
    choices: list[CompletionChoice]
    usage: TokenUsage | None = None


class Embedding(_Answer):
    """The vector of one input."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str = Field(
        description="Numbers, or where base64 was asked for: 32-bit floats, little-endian."
    )


class Embeddings(_Answer):
    """One vector for each input, in the inputs' order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}],
                    "model": "embed-small",
                    "usage": {"prompt_tokens": 6, "total_tokens": 6},
                }
            ]
        }
    )

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: TokenUsage | None = None


class Model(BaseModel):
    """A model that may be asked for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "chat-small",
                    "object": "model",
                    "created": 1767225600,
                    "owned_by": "lockgate",
                }
            ]
        }
    )

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="Seconds since 1970.")
    owned_by: str


class ModelList(BaseModel):
    """The models that may be asked for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "data": [
                        {
                            "id": "chat-small",
                            "object": "model",
                            "created": 1767225600,
                            "owned_by": "lockgate",
                        }
                    ],
                }
            ]
        }
    )

    object: Literal["list"] = "list"
    data: list[Model]


class ErrorDetail(BaseModel):
    """What went wrong, in OpenAI's four words."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """The body of every refusal, and the last event of a stream that breaks off."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": {
                        "message": "Incorrect API key provided.",
                        "type": "invalid_request_error",
                        "param": None,
                        "code": "invalid_api_key",
                    }
                }
            ]
        }
    )

    error: ErrorDetail

"""
The requests that vLLM reads, as far as they change what the simulator answers.

Unknown fields are ignored, as vLLM ignores them. Prompts are rendered here, by one made-up chat
template, so that the chat endpoint and `/tokenize` count the same tokens.
"""

from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

MAX_CHOICES = 128

TokenId = Annotated[int, Field(ge=1, lt=1 << 53)]


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Message(_Read):
    """One turn; whatever it holds besides text counts as its JSON does."""

    role: str
    content: str | list[dict[str, JsonValue]] | None = None
    tool_calls: list[dict[str, JsonValue]] | None = None

    def text(self) -> str:
        """What is said: the text parts, with every other part as its JSON."""
        match self.content:
            case None:
                said = ""
            case str(text):
                said = text
            case parts:
                said = "".join(map(_part, parts))
        return said + (_json(self.tool_calls) if self.tool_calls else "")


class Function(_Read):
    """What can be called, and the schema of its arguments."""

    name: str = Field(min_length=1)
    parameters: dict[str, JsonValue] = Field(default_factory=dict)


class Tool(_Read):
    """A tool offered with a request."""

    type: Literal["function"] = "function"
    function: Function


class Named(_Read):
    """The tool that must be called."""

    type: Literal["function"] = "function"
    function: Function


class JsonSchema(_Read):
    """A named schema, under the key that OpenAI gave it."""

    schema_: dict[str, JsonValue] = Field(default_factory=dict, alias="schema")


class ResponseFormat(_Read):
    """What the text must be."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StructuredOutputs(_Read):
    """vLLM's own way to say the same."""

    json_: dict[str, JsonValue] | str | None = Field(default=None, alias="json")
    choice: list[str] | None = None


class StreamOptions(_Read):
    """Which usage a stream tells."""

    include_usage: bool | None = False
    continuous_usage_stats: bool | None = False


class Sampled(_Read):
    """What chat and text completion have in common."""

    model: str | None = None
    n: int | None = Field(default=1, ge=1, le=MAX_CHOICES)
    min_tokens: int | None = Field(default=0, ge=0)
    ignore_eos: bool | None = False
    stop: str | list[str] | None = None
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    stream: bool | None = False
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def _options_need_a_stream(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("Stream options can only be defined when `stream=True`.")
        return self

    def stops(self) -> list[str]:
        """The stop strings, none of them empty."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [text for text in given if text]


class ChatBody(Sampled):
    """`POST /v1/chat/completions`."""

    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | Named | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None

    @model_validator(mode="after")
    def _choice_is_offered(self) -> Self:
        match self.tool_choice:
            case Named(function=Function(name=name)):
                if name not in {tool.function.name for tool in self.tools or ()}:
                    raise ValueError(f"tool_choice names {name}, which is not among `tools`.")
            case "required" if not self.tools:
                raise ValueError("When using `tool_choice`, `tools` must be set.")
        return self

    def prompt(self) -> str:
        """What the model reads."""
        offered = [tool.function.model_dump() for tool in self.tools or ()]
        return render(self.messages, offered)


class CompletionBody(Sampled):
    """`POST /v1/completions`."""

    prompt: str | list[TokenId] | list[str] | list[list[TokenId]]
    max_tokens: int | None = Field(default=16, ge=1)
    echo: bool | None = False


class EmbeddingBody(_Read):
    """`POST /v1/embeddings`."""

    model: str | None = None
    input: str | list[TokenId] | list[str] | list[list[TokenId]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1, le=4096)


class TokenizeBody(_Read):
    """`POST /tokenize`: a prompt, or messages as chat takes them."""

    model: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = None
    tools: list[Tool] | None = None
    return_token_strs: bool | None = False

    @model_validator(mode="after")
    def _has_something_to_split(self) -> Self:
        if self.prompt is None and self.messages is None:
            raise ValueError("Either `prompt` or `messages` must be given.")
        return self

    def text(self) -> str:
        """What is to be split."""
        if self.prompt is not None:
            return self.prompt
        offered = [tool.function.model_dump() for tool in self.tools or ()]
        return render(self.messages or [], offered)


class DetokenizeBody(_Read):
    """`POST /detokenize`."""

    model: str | None = None
    tokens: list[TokenId]


def render(messages: list[Message], tools: list[dict[str, Any]]) -> str:
    """The chat template: every turn under its role, then the assistant's turn begins."""
    turns = [f"<|{message.role}|>\n{message.text()}\n" for message in messages]
    offered = f"<|tools|>\n{_json(tools)}\n" if tools else ""
    return f"{offered}{''.join(turns)}<|assistant|>\n"


def _part(part: dict[str, JsonValue]) -> str:
    match part:
        case {"type": "text", "text": str(text)}:
            return text
        case _:
            return _json(part)


def _json(value: object) -> str:
    return orjson.dumps(value).decode()

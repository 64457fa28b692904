"""
The requests that vLLM reads, as far as they change what the simulator answers.

Unknown fields are ignored, as vLLM ignores them. Prompts are rendered here, by one made-up chat
template, so that the chat endpoint and `/tokenize` count the same tokens. As many templates do, it
trims white space off the end of a message that is to be continued.
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


class Turns(_Read):
    """How a conversation ends: with the head of an answer, or open, in the midst of one."""

    add_generation_prompt: bool = True
    continue_final_message: bool = False

    @model_validator(mode="after")
    def _is_one_or_the_other(self) -> Self:
        if self.continue_final_message and self.add_generation_prompt:
            raise ValueError(
                "Cannot set both `continue_final_message` and `add_generation_prompt` to True."
            )
        return self

    def rendered(self, messages: list[Message], tools: list[Tool] | None) -> str:
        """What a model reads."""
        offered = [tool.function.model_dump() for tool in tools or ()]
        turns = render(messages, offered)
        if self.continue_final_message:
            return turns.rstrip()
        return f"{turns}<|assistant|>\n" if self.add_generation_prompt else turns


class ChatBody(Sampled, Turns):
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

    @model_validator(mode="after")
    def _has_what_it_continues(self) -> Self:
        if self.continue_final_message and self.messages[-1].content is None:
            raise ValueError("The final message has no `content` to continue.")
        return self

    def prompt(self) -> str:
        """What the model reads."""
        return self.rendered(self.messages, self.tools)

    def begun(self) -> str:
        """What of the answer there is already."""
        return self.messages[-1].text().rstrip() if self.continue_final_message else ""


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


class TokenizeBody(Turns):
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
        return self.rendered(self.messages or [], self.tools)


class DetokenizeBody(_Read):
    """`POST /detokenize`."""

    model: str | None = None
    tokens: list[TokenId]


def render(messages: list[Message], tools: list[dict[str, Any]]) -> str:
    """The chat template: every turn under its role."""
    turns = [f"<|{message.role}|>\n{message.text()}\n" for message in messages]
    offered = f"<|tools|>\n{_json(tools)}\n" if tools else ""
    return offered + "".join(turns)


def _part(part: dict[str, JsonValue]) -> str:
    match part:
        case {"type": "text", "text": str(text)}:
            return text
        case _:
            return _json(part)


def _json(value: object) -> str:
    return orjson.dumps(value).decode()

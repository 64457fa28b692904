"""
Requests in the OpenAI dialect: what the gateway checks before it bothers an upstream.

What is known is checked strictly (`"1"` is no 1), what is unknown is kept, and null stands for
"not given" as it does at OpenAI. They are dictionaries and no models, which would be made only to
be forgotten: the body itself is what goes upstream. A message about a fault names the field and
the kind of value expected, never the value.

Hot: one validation a request.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired, Required

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    JsonValue,
    Tag,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    with_config,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from typing_extensions import TypedDict

from .errors import InvalidRequest
from .message import OPEN, Message

# A list stops at its first fault: a million bad items cost one message.
_Strings = Annotated[list[str], Field(fail_fast=True)]
_Tokens = Annotated[list[int], Field(fail_fast=True)]


_Model = Annotated[str, Field(min_length=1, description="One of `GET /v1/models`.")]


def _with_examples(*examples: JsonValue) -> ConfigDict:
    return {**OPEN, "json_schema_extra": {"examples": [*examples]}}


def _missing(field: str) -> PydanticCustomError:
    return PydanticCustomError("missing", "Field required", {"field": field})


@with_config(OPEN)
class FunctionDefinition(TypedDict):
    """A function that the model may ask for."""

    name: Annotated[str, Field(min_length=1)]
    description: NotRequired[str | None]
    parameters: NotRequired[dict[str, Any] | None]
    strict: NotRequired[bool | None]


@with_config(OPEN)
class Tool(TypedDict):
    """A tool that the model may ask for."""

    type: str
    function: NotRequired[FunctionDefinition | None]


def _function_is_defined(tool: Tool) -> Tool:
    if tool["type"] == "function" and tool.get("function") is None:
        raise _missing("function")
    return tool


@with_config(OPEN)
class NamedChoice(TypedDict):
    """The one tool, or the set of tools, that the model must use."""

    type: str


@with_config(OPEN)
class NamedFunction(TypedDict):
    """The one function that the model must call."""

    name: str


@with_config(OPEN)
class ResponseFormat(TypedDict):
    """The form that the answer must have."""

    type: Literal["text", "json_object", "json_schema", "structural_tag"]
    json_schema: NotRequired[dict[str, Any] | None]


def _schema_is_given(form: ResponseFormat) -> ResponseFormat:
    if form["type"] == "json_schema" and form.get("json_schema") is None:
        raise _missing("json_schema")
    return form


@with_config(OPEN)
class StreamOptions(TypedDict, total=False):
    """What a stream tells besides the answer."""

    include_usage: bool | None
    include_obfuscation: bool | None
    continuous_usage_stats: bool | None


def _a_stream_is_wanted(
    options: StreamOptions | None, request: ValidationInfo
) -> StreamOptions | None:
    if options is not None and not request.data.get("stream"):
        raise PydanticCustomError(
            "invalid_value",
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        )
    return options


class _Generation(TypedDict, total=False):
    """What chat and plain completions have in common."""

    model: Required[_Model]
    stream: Annotated[bool | None, Field(description="Send the answer as it is written.")]
    stream_options: Annotated[
        StreamOptions | None,
        Field(description="Only with `stream`."),
        AfterValidator(_a_stream_is_wanted),
    ]
    temperature: Annotated[float | None, Field(ge=0, le=2)]
    top_p: Annotated[float | None, Field(ge=0, le=1)]
    n: Annotated[int | None, Field(ge=1, le=128, description="How many answers.")]
    stop: Annotated[str, Tag("<string>")] | Annotated[_Strings, Tag("<array>")] | None
    presence_penalty: Annotated[float | None, Field(ge=-2, le=2)]
    frequency_penalty: Annotated[float | None, Field(ge=-2, le=2)]
    logit_bias: dict[str, float] | None
    seed: int | None
    user: str | None


@with_config(
    _with_examples(
        {
            "model": "chat-small",
            "messages": [{"role": "user", "content": "Say hello."}],
            "stream": True,
        }
    )
)
class ChatRequest(_Generation, total=False):
    """`POST /v1/chat/completions`. Fields that are not listed go to the upstream unchanged."""

    messages: Required[Annotated[list[Message], Field(min_length=1, fail_fast=True)]]
    max_tokens: Annotated[int | None, Field(ge=1, description="Of the answer, in tokens.")]
    max_completion_tokens: Annotated[
        int | None, Field(ge=1, description="Of the answer, thinking included, in tokens.")
    ]
    logprobs: bool | None
    top_logprobs: Annotated[int | None, Field(ge=0, le=20)]
    response_format: Annotated[ResponseFormat, AfterValidator(_schema_is_given)] | None
    tools: (
        Annotated[
            list[Annotated[Tool, AfterValidator(_function_is_defined)]], Field(fail_fast=True)
        ]
        | None
    )
    tool_choice: (
        Annotated[Literal["none", "auto", "required"], Tag("<string>")]
        | Annotated[NamedChoice, Tag("<object>")]
        | None
    )
    parallel_tool_calls: bool | None
    functions: Annotated[list[FunctionDefinition], Field(fail_fast=True)] | None
    function_call: (
        Annotated[Literal["none", "auto"], Tag("<string>")]
        | Annotated[NamedFunction, Tag("<object>")]
        | None
    )
    reasoning_effort: str | None
    service_tier: str | None
    metadata: dict[str, Any] | None
    store: bool | None


@with_config(_with_examples({"model": "chat-small", "prompt": "A lock gate is", "max_tokens": 16}))
class CompletionRequest(_Generation, total=False):
    """`POST /v1/completions`. Fields that are not listed go to the upstream unchanged."""

    prompt: Required[
        Annotated[str, Tag("<string>")]
        | Annotated[_Strings, Tag("<strings>")]
        | Annotated[_Tokens, Tag("<tokens>")]
        | Annotated[list[_Tokens], Field(fail_fast=True), Tag("<token arrays>")]
    ]
    max_tokens: Annotated[int | None, Field(ge=0, description="Of the answer, in tokens.")]
    best_of: Annotated[int | None, Field(ge=1)]
    echo: bool | None
    logprobs: Annotated[int | None, Field(ge=0, le=20)]
    suffix: str | None


_Texts = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, fail_fast=True)]
_Ids = Annotated[list[int], Field(min_length=1, fail_fast=True)]


@with_config(_with_examples({"model": "embed-small", "input": "A lock on a canal."}))
class EmbeddingRequest(TypedDict, total=False):
    """`POST /v1/embeddings`. Fields that are not listed go to the upstream unchanged."""

    model: Required[_Model]
    input: Required[
        Annotated[str, Field(min_length=1), Tag("<string>")]
        | Annotated[_Texts, Tag("<strings>")]
        | Annotated[_Ids, Tag("<tokens>")]
        | Annotated[list[_Ids], Field(min_length=1, fail_fast=True), Tag("<token arrays>")]
    ]
    encoding_format: Literal["float", "base64"] | None
    dimensions: Annotated[int | None, Field(ge=1)]
    user: str | None


CHAT = TypeAdapter(ChatRequest)
COMPLETION = TypeAdapter(CompletionRequest)
EMBEDDING = TypeAdapter(EmbeddingRequest)


def invalid(error: ValidationError) -> InvalidRequest:
    """The first fault of a body, told as OpenAI tells it: field and kind, never the value."""
    faults = error.errors(include_url=False)
    paths = [_path(fault) for fault in faults]
    # A union reports every branch: the one that came furthest is the one that was meant.
    related = [i for i, path in enumerate(paths) if path[: len(paths[0])] == paths[0]]
    depth = max(len(paths[i]) for i in related)
    deepest = [i for i in related if len(paths[i]) == depth]
    meant = next((i for i in deepest if faults[i]["type"] not in _EXPECTED), deepest[0])
    alternatives = [faults[i] for i in related if paths[i] == paths[meant]]
    name = _rendered(paths[meant])
    message, code = _told(faults[meant], alternatives, name)
    return InvalidRequest(message, param=name or None, code=code)


def _path(fault: ErrorDetails) -> tuple[str | int, ...]:
    steps = [step for step in fault["loc"] if not (isinstance(step, str) and step[:1] == "<")]
    if steps[:1] == ["messages"]:
        del steps[2:3]  # the role, which chose the branch
    if fault["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        steps.append("role")
    field = fault.get("ctx", {}).get("field")
    return (*steps, field) if field else tuple(steps)


def _rendered(path: Sequence[str | int]) -> str:
    parts = (f"[{step}]" if isinstance(step, int) else f".{step[:64]}" for step in path)
    return "".join(parts).removeprefix(".")


_EXPECTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "a boolean",
    "list_type": "an array",
    "dict_type": "an object",
    "model_attributes_type": "an object",
    "literal_error": "a string",
}
_KINDS = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
    type(None): "null",
}
_BOUNDS = {
    "greater_than_equal": ("below", "minimum", ">=", "ge"),
    "less_than_equal": ("above", "maximum", "<=", "le"),
}


def _told(fault: ErrorDetails, alternatives: list[ErrorDetails], name: str) -> tuple[str, str]:
    """The message and the code, in OpenAI's words."""
    kind, context = fault["type"], fault.get("ctx", {})
    if not name:
        return "The request body must be a JSON object.", "invalid_type"
    if kind in {"missing", "union_tag_not_found"}:
        return f"Missing required parameter: '{name}'.", "missing_required_parameter"
    if kind in _BOUNDS:
        side, end, sign, bound = _BOUNDS[kind]
        number = "integer" if isinstance(fault["input"], int) else "decimal"
        expected = f"Expected a value {sign} {context[bound]:g}."
        return (
            f"Invalid '{name}': {number} {side} {end} value. {expected}",
            f"{number}_{side}_{end[:3]}_value",
        )
    if kind in {"too_short", "string_too_short"}:
        return f"Invalid '{name}': it must not be empty.", "invalid_value"
    if kind == "union_tag_invalid":
        return f"Invalid value for '{name}'. Supported values are: {context['expected_tags']}.", (
            "invalid_value"
        )
    return _told_type(fault, alternatives, name)


def _told_type(fault: ErrorDetails, alternatives: list[ErrorDetails], name: str) -> tuple[str, str]:
    given = _KINDS.get(type(fault["input"]), "something else")
    expected = dict.fromkeys(
        _EXPECTED[each["type"]] for each in alternatives if each["type"] in _EXPECTED
    )
    if fault["type"] == "literal_error" and given == "a string":
        values = fault["ctx"]["expected"]
        return f"Invalid value for '{name}'. Supported values are: {values}.", "invalid_value"
    if fault["type"] == "invalid_value":
        return fault["msg"], "invalid_value"
    if not expected:
        return f"Invalid value for '{name}'.", "invalid_value"
    wanted = " or ".join(expected)
    return f"Invalid type for '{name}': expected {wanted}, but got {given} instead.", "invalid_type"

"""
Messages of a conversation in the OpenAI dialect, as a request brings them.

What is known is checked strictly, what is unknown is kept: a part of a kind that only the
upstream understands passes.
"""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Discriminator, Field, Tag, with_config
from typing_extensions import TypedDict

OPEN: ConfigDict = {"strict": True, "extra": "allow"}
"""Strict about what it knows, silent about the rest."""


@with_config(OPEN)
class TextPart(TypedDict):
    """A piece of text."""

    type: Literal["text"]
    text: str


@with_config(OPEN)
class ImageURL(TypedDict):
    """Where an image is: an address or a `data:` URL."""

    url: str
    detail: NotRequired[str | None]


@with_config(OPEN)
class ImagePart(TypedDict):
    """An image to look at."""

    type: Literal["image_url"]
    image_url: Annotated[ImageURL, Tag("<object>")] | Annotated[str, Tag("<string>")]


@with_config(OPEN)
class InputAudio(TypedDict):
    """Sound in base64."""

    data: str
    format: str


@with_config(OPEN)
class AudioPart(TypedDict):
    """A sound to listen to."""

    type: Literal["input_audio"]
    input_audio: InputAudio


@with_config(OPEN)
class FilePart(TypedDict):
    """A file to read."""

    type: Literal["file"]
    file: dict[str, Any]


@with_config(OPEN)
class RefusalPart(TypedDict):
    """What an assistant said instead of an answer."""

    type: Literal["refusal"]
    refusal: str


# A part that only the upstream understands.
OtherPart = dict[str, Any]

_PARTS = frozenset({"text", "image_url", "input_audio", "file", "refusal"})


def _part_tag(part: Any) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    return f"<{kind}>" if isinstance(kind, str) and kind in _PARTS else "<other>"


Part = Annotated[
    Annotated[TextPart, Tag("<text>")]
    | Annotated[ImagePart, Tag("<image_url>")]
    | Annotated[AudioPart, Tag("<input_audio>")]
    | Annotated[FilePart, Tag("<file>")]
    | Annotated[RefusalPart, Tag("<refusal>")]
    | Annotated[OtherPart, Tag("<other>")],
    Discriminator(_part_tag),
]
# A tag in angle brackets names a branch of a union and is no step on the way to a field.
Content = (
    Annotated[str, Tag("<string>")] | Annotated[list[Part], Field(fail_fast=True), Tag("<array>")]
)


@with_config(OPEN)
class SystemMessage(TypedDict):
    """How the model should behave."""

    role: Literal["system", "developer"]
    content: Content
    name: NotRequired[str | None]


@with_config(OPEN)
class UserMessage(TypedDict):
    """What the user says."""

    role: Literal["user"]
    content: Content
    name: NotRequired[str | None]


@with_config(OPEN)
class FunctionCall(TypedDict):
    """A function's name and its arguments, which are JSON in a string."""

    name: str
    arguments: str


@with_config(OPEN)
class ToolCall(TypedDict):
    """A tool that the assistant asked for."""

    id: str
    type: NotRequired[str | None]
    function: NotRequired[FunctionCall | None]


@with_config(OPEN)
class AssistantMessage(TypedDict):
    """What the model said, or which tools it asked for; its content may be missing."""

    role: Literal["assistant"]
    content: NotRequired[Content | None]
    name: NotRequired[str | None]
    refusal: NotRequired[str | None]
    tool_calls: NotRequired[list[ToolCall] | None]
    function_call: NotRequired[FunctionCall | None]


@with_config(OPEN)
class ToolMessage(TypedDict):
    """What a tool answered."""

    role: Literal["tool"]
    tool_call_id: str
    content: NotRequired[Content | None]


@with_config(OPEN)
class FunctionMessage(TypedDict):
    """What a function answered; the older form of a tool's message."""

    role: Literal["function"]
    name: str
    content: NotRequired[Content | None]


Message = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage,
    Field(discriminator="role"),
]

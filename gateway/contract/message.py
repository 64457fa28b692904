"""
Messages of a conversation in the OpenAI dialect, as a request brings them.

What is known is checked strictly, what is unknown is kept: a part of a kind that only the
upstream understands passes.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag


class Open(BaseModel):
    """Strict about what it knows, silent about the rest."""

    model_config = ConfigDict(strict=True, extra="allow")


class TextPart(Open):
    """A piece of text."""

    type: Literal["text"]
    text: str


class ImageURL(Open):
    """Where an image is: an address or a `data:` URL."""

    url: str
    detail: str | None = None


class ImagePart(Open):
    """An image to look at."""

    type: Literal["image_url"]
    image_url: Annotated[ImageURL, Tag("<object>")] | Annotated[str, Tag("<string>")]


class InputAudio(Open):
    """Sound in base64."""

    data: str
    format: str


class AudioPart(Open):
    """A sound to listen to."""

    type: Literal["input_audio"]
    input_audio: InputAudio


class FilePart(Open):
    """A file to read."""

    type: Literal["file"]
    file: dict[str, Any]


class RefusalPart(Open):
    """What an assistant said instead of an answer."""

    type: Literal["refusal"]
    refusal: str


# A part that only the upstream understands. No model: of ten bytes each it would make a megabyte.
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


class SystemMessage(Open):
    """How the model should behave."""

    role: Literal["system", "developer"]
    content: Content
    name: str | None = None


class UserMessage(Open):
    """What the user says."""

    role: Literal["user"]
    content: Content
    name: str | None = None


class FunctionCall(Open):
    """A function's name and its arguments, which are JSON in a string."""

    name: str
    arguments: str


class ToolCall(Open):
    """A tool that the assistant asked for."""

    id: str
    type: str | None = None
    function: FunctionCall | None = None


class AssistantMessage(Open):
    """What the model said, or which tools it asked for; its content may be missing."""

    role: Literal["assistant"]
    content: Content | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: FunctionCall | None = None


class ToolMessage(Open):
    """What a tool answered."""

    role: Literal["tool"]
    tool_call_id: str
    content: Content | None = None


class FunctionMessage(Open):
    """What a function answered; the older form of a tool's message."""

    role: Literal["function"]
    name: str
    content: Content | None = None


Message = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage,
    Field(discriminator="role"),
]

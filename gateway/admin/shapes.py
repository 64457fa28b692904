"""
What requests and answers of administration are made of: bounded names, and three kinds of model.

Text is printable: neither database nor terminal is asked what it makes of a control character.
Nothing that is shown has a field for a secret, so none can be shown by oversight.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SecretStr,
    model_validator,
)
from pydantic_core import CoreSchema

from ..access import SCANNER
from ..access.settings import NetworkText

Json = Mapping[str, Any]

MAX_VERSION = 2**31 - 1
MAX_LIST = 1000
"""Names in one list of a request."""

_KEY = re.compile(SCANNER)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _is_printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable text")
    return text


def _holds_no_key(text: str) -> str:
    """What is pasted into the wrong field is not kept, and not repeated either."""
    if _KEY.search(text):
        raise ValueError("must not have a key in it")
    return text


def _is_encodable(secret: SecretStr) -> SecretStr:
    """JSON can hold halves of characters, which no hash takes."""
    try:
        secret.get_secret_value().encode()
    except UnicodeEncodeError:
        raise ValueError("must be Unicode text") from None
    return secret


def _is_rfc3339(value: object) -> object:
    """Numbers would be read as seconds or milliseconds, whichever seems likely."""
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC3339.fullmatch(value)):
        return value
    raise ValueError("must be a time with its offset from UTC, such as 2026-01-31T12:00:00Z")


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a time between the years 1 and 9999 in UTC") from None


Text = Annotated[str, AfterValidator(_is_printable), AfterValidator(_holds_no_key)]
SecretText = Annotated[SecretStr, AfterValidator(_is_encodable)]
TenantId = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$", examples=["acme"])]
ProjectId = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$", examples=["search"])]
KeyId = Annotated[str, Field(pattern=r"^[0-9A-Za-z]{12}$", examples=["8xT2mQ4vLp0Z"])]
Name = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9._-]{1,64}$", examples=["default"]),
    AfterValidator(_holds_no_key),
]
Title = Annotated[Text, Field(max_length=200, examples=["Acme, Inc."])]
ModelName = Annotated[Text, Field(min_length=1, max_length=200, examples=["chat-small"])]
ModelNames = Annotated[tuple[ModelName, ...], Field(max_length=MAX_LIST)]
Network = Annotated[NetworkText, Field(max_length=50, examples=["10.0.0.0/8"])]
Instant = Annotated[AwareDatetime, BeforeValidator(_is_rfc3339), AfterValidator(_in_utc)]
Source = Literal["database", "file"]
"""Where an object is kept. What is in the configuration file is changed there."""


class Documented(BaseModel):
    """A model whose schema comes with an `example`."""

    example: ClassVar[Json] = {}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /
    ) -> dict[str, Any]:
        """The schema with its example."""
        schema = handler(core_schema)
        if cls.example:
            handler.resolve_ref_schema(schema)["examples"] = [dict(cls.example)]
        return schema


class Request(Documented):
    """What a client sends: unknown fields are refused, and what is refused is not repeated."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Patch(Request):
    """
    A change of some fields: what is left out stays as it is.

    Defaults only stand for what was left out, so the schema does not tell of them.
    """

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("names nothing to change")
        return self

    def given(self) -> dict[str, Any]:
        """The fields that were sent."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /
    ) -> dict[str, Any]:
        """The schema without defaults."""
        schema = super().__get_pydantic_json_schema__(core_schema, handler)
        for field in handler.resolve_ref_schema(schema).get("properties", {}).values():
            field.pop("default", None)
        return schema


class Shown(Documented):
    """What a client is shown."""

    model_config = ConfigDict(frozen=True)

    def record(self) -> dict[str, Any]:
        """The fields as the audit log keeps them."""
        left_out = {"object", "source", "version", "created", "updated"}
        return self.model_dump(mode="json", exclude=left_out, exclude_none=True)


KEPT: Json = {
    "source": "database",
    "version": 1,
    "created": "2026-01-31T12:00:00Z",
    "updated": "2026-01-31T12:00:00Z",
}
"""What examples of administered objects have in common."""


class Kept(Shown):
    """An administered object. One of the configuration file has version 0 and no times."""

    source: Source = "database"
    version: Annotated[int, Field(ge=0, le=MAX_VERSION, description="Also the ETag.")] = 0
    created: datetime | None = None
    updated: datetime | None = None

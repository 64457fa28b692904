"""
What the ledger keeps of one request, as its tables have it.

Every text fits its column and holds nothing that a database refuses, and every number can be
added up for years without passing 64 bits: what is `Writable` can be written.
"""

from collections.abc import Iterable, Mapping
from dataclasses import field
from datetime import UTC, date
from operator import attrgetter
from typing import Annotated, Any, Protocol

from pydantic import AwareDatetime, ConfigDict, Field
from pydantic.dataclasses import dataclass

from .tables import attempts, ledger

MAX_TOKENS = 2**40
"""Of one kind in one request; whoever reports more is not believed."""
MAX_COST = 2**53 - 1
"""Nano-dollars, about nine million dollars: what limits can count."""
MAX_MS = 2**31 - 1

_NO_NUL = r"^[^\x00]*$"  # PostgreSQL has no place for one

Text12 = Annotated[str, Field(max_length=12, pattern=_NO_NUL)]
Text16 = Annotated[str, Field(max_length=16, pattern=_NO_NUL)]
Text40 = Annotated[str, Field(max_length=40, pattern=_NO_NUL)]
Text64 = Annotated[str, Field(max_length=64, pattern=_NO_NUL)]
Text200 = Annotated[str, Field(max_length=200, pattern=_NO_NUL)]
Text300 = Annotated[str, Field(max_length=300, pattern=_NO_NUL)]
RequestId = Annotated[str, Field(min_length=1, max_length=26, pattern=_NO_NUL)]
TagText = Annotated[str, Field(pattern=_NO_NUL)]
Tokens = Annotated[int, Field(ge=0, le=MAX_TOKENS)]
Cost = Annotated[int, Field(ge=0, le=MAX_COST)]
Milliseconds = Annotated[int, Field(ge=0, le=MAX_MS)]
Status = Annotated[int, Field(ge=0, le=999)]


COLUMNS = tuple(str(column.name) for column in ledger.c if column.name != "day")
"""What a row is written with, in this order; `attempts` is how many there were."""
ATTEMPT_COLUMNS = tuple(str(column.name) for column in attempts.c)

_attempts = COLUMNS.index("attempts")
_before_attempts = attrgetter(*COLUMNS[:_attempts])
_after_attempts = attrgetter(*COLUMNS[_attempts + 1 :])
_of_attempt = attrgetter(*ATTEMPT_COLUMNS[2:])


class Writable(Protocol):
    """What can be written, whatever holds it."""

    @property
    def request_id(self) -> str:
        """What there is one row of."""
        ...

    @property
    def provisional(self) -> bool:
        """Whether a final row may take its place."""
        ...

    def columns(self) -> tuple[Any, ...]:
        """What `COLUMNS` names; the time is an aware datetime, the tags are a mapping."""
        ...

    def attempt_columns(self) -> Iterable[tuple[Any, ...]]:
        """What `ATTEMPT_COLUMNS` names, of each of its attempts; numbers begin at 1."""
        ...


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """
    One request sent to one target; `cost` is the operator's, in nano-dollars. `served_model` is
    what the upstream called itself, where that is not `model`.
    """

    target: Text300
    provider: Text64
    model: Text200
    status: Status | None = None
    error: Text64 | None = None
    duration_ms: Milliseconds = 0
    cost: Cost = 0
    served_model: Text200 | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="ignore"))
class Row:
    """
    One request. `provisional`: its gateway died, and this is what its limits were charged; the
    final row takes its place if it still comes.
    """

    request_id: RequestId
    at: AwareDatetime
    tenant: Text40
    project: Text40 | None = None
    key: Text12
    operation: Text16
    model: Text200
    target: Text300 = ""
    stream: bool
    status: Status = 0
    outcome: Text16
    error: Text64 | None = None
    prompt_tokens: Tokens = 0
    cached_tokens: Tokens = 0
    cache_written_tokens: Tokens = 0
    audio_prompt_tokens: Tokens = 0
    completion_tokens: Tokens = 0
    reasoning_tokens: Tokens = 0
    audio_completion_tokens: Tokens = 0
    cost: Cost = 0
    priced: bool = False
    usage_source: Text16
    provisional: bool = False
    duration_ms: Milliseconds = 0
    first_content_ms: Milliseconds | None = None
    client_request_id: Text64 | None = None
    tags: Mapping[TagText, TagText] = field(default_factory=dict)
    attempts: tuple[AttemptRow, ...] = ()

    @property
    def day(self) -> date:
        """In UTC: the day whose budgets it is part of."""
        return self.at.astimezone(UTC).date()

    def columns(self) -> tuple[Any, ...]:
        """See `Writable`."""
        return (*_before_attempts(self), len(self.attempts), *_after_attempts(self))

    def attempt_columns(self) -> Iterable[tuple[Any, ...]]:
        """See `Writable`."""
        for number, each in enumerate(self.attempts, 1):
            yield (self.request_id, number, *_of_attempt(each))

"""How usage records are kept, as the configuration file states it."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from ..contract.duration import Duration

SHORTEST = 32
"""Days: the budgets of a calendar month are rebuilt from the ledger."""

LONGEST = 36_500

_DAYS = re.compile(r"([0-9]{1,5}) ?(?:d|days?)")


def days(value: object) -> int:
    """
    Read a number of days.

    Raises:
        ValueError: it is none in those bounds.
    """
    number = -1
    match value:
        case bool():
            pass
        case int():
            number = value
        case str() if written := _DAYS.fullmatch(value.strip()):
            number = int(written[1])
    if not SHORTEST <= number <= LONGEST:
        raise ValueError(
            f"must be {SHORTEST} to {LONGEST} days, like 400 days; "
            "monthly budgets are rebuilt from the ledger"
        )
    return number


Days = Annotated[
    int,
    BeforeValidator(days),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": SHORTEST, "maximum": LONGEST},
                {"type": "string", "pattern": r"^[0-9]{1,5} ?(d|days?)$"},
            ]
        }
    ),
]
"""A number of days, as a field of a settings model."""


class LedgerSettings(BaseModel):
    """The ledger: one row for each request that was admitted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    retention: Days = Field(
        default=400,
        description="Days that rows are kept: `400 days`. At least 32, a month of budgets.",
    )
    prune_hour: int = Field(
        default=3, ge=0, le=23, description="The hour in UTC in which old rows are removed."
    )
    flush: Duration = Field(
        default=0.5, description="How long a row may wait in this process for others to join it."
    )
    move: Duration = Field(
        default=1.0,
        description="Between two looks for rows that wait in Redis, where there is one.",
    )
    max_queue: int = Field(
        default=64 * 1024 * 1024,
        gt=0,
        description="Bytes of rows that may wait in this process while the database is out of "
        "reach. Beyond it, requests are refused with 503 `ledger_full`.",
    )
    max_stream: int = Field(
        default=2_000_000,
        gt=0,
        description="Rows that may wait in Redis meanwhile, about 1 KB each. Beyond it likewise.",
    )
    journal: Path | None = Field(
        default=None,
        description="A file that keeps rows which wait in this process, so that they outlive it "
        "when it is killed. One process for each file. Default: none.",
    )
    close_timeout: Duration = Field(
        default=5.0, description="How long a shutdown waits for rows that are not written yet."
    )

"""How long answers are kept for a repeat, and how much of them: `idempotency:` in the file."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..contract.duration import Duration

MIB = 1024 * 1024


class IdempotencySettings(BaseModel):
    """Of requests that carry an `Idempotency-Key`; others cost and keep nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window: Duration = Field(
        default=600.0,
        description="Time in which a repeat gets the answer of the first request, and is not "
        "billed.",
    )
    max_answer: int = Field(
        default=MIB,
        gt=0,
        le=32 * MIB,
        description="Bytes of an answer that is kept. The repeat of a larger one is a 409, "
        "because running it again would bill it twice.",
    )
    max_memory: int = Field(
        default=64 * MIB,
        gt=0,
        description="Bytes of kept answers that a process may hold, and as many that it may have "
        "in Redis. Beyond that the oldest are dropped, and their repeats are a 409.",
    )
    max_entries: int = Field(
        default=100_000,
        gt=0,
        description="Answered keys that a process remembers, at half a kilobyte each. Beyond that "
        "the oldest are forgotten before their time.",
    )
    lease: Duration = Field(
        default=10.0,
        description="With Redis: time after which the request of a process that died may be run "
        "by another.",
    )

    @model_validator(mode="after")
    def _holds_one(self) -> Self:
        if self.max_answer > self.max_memory:
            raise ValueError("max_answer is larger than max_memory, which could hold no such one")
        return self

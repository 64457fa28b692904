"""What a request asks for, in the gateway's words."""

from dataclasses import dataclass, field
from typing import Any

from ..contract.provider import Operation


@dataclass(slots=True)
class Call:
    """
    What is asked, whichever target answers. `body` is validated and never changed.

    What the caller's limits make of it at the model that is asked: `max_output` is the cap that is
    sent where the body names none, None for the model's own; `most` is the tokens at which a
    stream that ignores its cap is cut, 0 for never.
    """

    operation: Operation
    body: dict[str, Any] = field(repr=False)
    stream: bool
    max_output: int | None = None
    most: int = 0

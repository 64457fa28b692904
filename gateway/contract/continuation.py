"""
An answer that broke off after its beginning had reached the client, and how it goes on elsewhere.

Only text can go on, and only where not a character of it is lost, said twice or left to a guess.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Said:
    """
    What of an answer the client has. `tokens` is what it took by the upstream's own count, and
    `solid_tokens` what it took up to its last character that is not white space.
    """

    text: str = field(repr=False)
    tokens: int
    solid_tokens: int


@dataclass(frozen=True, slots=True)
class Continuation:
    """
    How to go on: `body` asks for the rest. What comes begins with `repeats` once more, the last of
    the text that the client has; what stands before that took `tokens`.
    """

    body: Mapping[str, Any] = field(repr=False)
    tokens: int
    repeats: str = field(default="", repr=False)

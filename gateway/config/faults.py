"""
What is wrong with a configuration file, so that whoever wrote it finds the place.

One line a fault: file, line, path and message. No message holds a value that came from the
environment.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from ..settings import StartRefused

Place = tuple[str | int, ...]
"""Keys and indices from the top of the file downwards."""

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHOWN = 64
MAX_FAULTS = 50
"""Further ones are counted, not listed."""
MAX_NAMES = 16
"""Known names that a fault lists where none is near."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong; `line` counts from 1, 0 stands for the file as a whole."""

    line: int
    place: Place
    message: str

    def told(self, file: str) -> str:
        """The fault in one line."""
        at = f"{file}:{self.line}" if self.line else file
        message = " ".join(self.message.split())
        return f"{at}: {written(self.place)}: {message}" if self.place else f"{at}: {message}"


class ConfigError(StartRefused):
    """The file cannot be used; `lines` has one line for each fault, in the file's order."""

    def __init__(self, file: str, faults: Iterable[Fault]) -> None:
        ordered = sorted(faults, key=lambda fault: fault.line)
        lines = [fault.told(file) for fault in ordered[:MAX_FAULTS]]
        if len(ordered) > MAX_FAULTS:
            lines.append(f"{file}: and {len(ordered) - MAX_FAULTS} more")
        self.lines = tuple(dict.fromkeys(lines))
        super().__init__("\n".join(self.lines))


def written(place: Place) -> str:
    """A place as text: `models.chat-small.targets[0].provider`."""
    parts = (f"[{each}]" if isinstance(each, int) else f".{quoted(each)}" for each in place)
    return "".join(parts).removeprefix(".")


def quoted(name: str) -> str:
    """A name of the file's, bare if it is plain, else bounded and on one line."""
    return name if _PLAIN.fullmatch(name) else json.dumps(name[:_SHOWN])


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean x?` for the known name that is most like it, else all of a few."""
    names = sorted(known)
    if close := get_close_matches(name[:_SHOWN], names, n=1):
        return f"; did you mean {quoted(close[0])}?"
    if 0 < len(names) <= MAX_NAMES:
        return f"; known: {', '.join(map(quoted, names))}"
    return ""

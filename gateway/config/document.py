"""
YAML text -> plain data whose every part knows its line.

`${NAME}` and `${NAME:-default}` stand for the environment in string values only: not in keys,
not in comments, and what is put in is not read again. `$${` is a plain `${`. Of YAML itself only
what a configuration needs is accepted: no aliases, anchors, tags, octal or base-60 numbers, and
bounded depth, so that a small file cannot become a large one or mean what it does not say.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import yaml

from .faults import ConfigError, Fault, Place

MAX_BYTES = 1 << 20
"""A larger file is refused."""
MAX_DEPTH = 24
"""Mappings and lists within one another."""
MIN_MASKED = 4
"""Characters of the shortest environment value that is kept out of messages."""

Value = str | int | float | Decimal | bool | None | list["Value"] | dict[str, "Value"]
Fraction = Callable[[str], float | Decimal | None]
"""Reads a number with a point or an exponent; None if it is none."""

_TAG = "tag:yaml.org,2002:"
_TEXT = (_TAG + "str", _TAG + "timestamp")
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9_]{0,17})")
_REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")
_TRUE = ("true", "yes", "on")


@dataclass(frozen=True, slots=True)
class Document:
    """The data of a file, the line of each part, and the environment values that went in."""

    data: dict[str, Value]
    lines: Mapping[Place, int]
    masked: tuple[str, ...]

    def line(self, place: Place) -> int:
        """The line of a place, or of the nearest part around it that was written."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def fault(self, place: Place, message: str) -> Fault:
        """A fault at a place, without any value that came from the environment."""
        for value in self.masked:
            message = message.replace(value, "***")
        return Fault(self.line(place), place, message)


def contents(path: Path) -> bytes:
    """
    The bytes of a file, as many as can be read at all.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "not a path"
        raise ConfigError(str(path), [Fault(0, (), f"cannot be read: {reason}")]) from None


def as_float(text: str) -> float | None:
    """A number for whom the last bit does not matter."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def as_decimal(text: str) -> Decimal | None:
    """A number as it is written, for money."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def read(
    raw: bytes, file: str, environ: Mapping[str, str], *, fraction: Fraction = as_float
) -> Document:
    """
    Read a file's bytes; `file` is its name in messages, `fraction` reads what is no whole number.

    Raises:
        ConfigError: it is too large, not UTF-8, not YAML, not a mapping, names a variable that is
            not set, or repeats a key. All such faults are told at once.
    """
    node = _compose(_opened(raw, file), file)
    reader = _Reader(environ, fraction)
    data = reader.value(node, ()) if node else {}
    if not isinstance(data, dict):
        reader.faults.append(Fault(1, (), "must be a mapping"))
    if reader.faults or not isinstance(data, dict):
        raise ConfigError(file, reader.faults)
    # The longest first, so that no part of one is left where another is part of it.
    masked = sorted(reader.masked, key=len, reverse=True)
    return Document(data, reader.lines, tuple(masked))


def _opened(raw: bytes, file: str) -> "_Loader":
    if len(raw) > MAX_BYTES:
        raise ConfigError(file, [Fault(0, (), f"is larger than {MAX_BYTES} bytes")])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(file, [Fault(line, (), "is not UTF-8")]) from None
    try:
        return _Loader(text, file)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(file, [Fault(line, (), "a character that YAML does not allow")]) from None


def _compose(loader: "_Loader", file: str) -> yaml.Node | None:
    try:
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        fault = Fault(mark.line + 1 if mark else 0, (), error.problem or "is not YAML")
        raise ConfigError(file, [fault]) from None
    except (ValueError, OverflowError):
        # Escapes and directives with numbers beyond what Python converts.
        fault = Fault(loader.line + 1, (), "a number that cannot be read")
        raise ConfigError(file, [fault]) from None


class _Loader(yaml.SafeLoader):
    """Composes nodes; refuses what would let a short text grow or nest without end."""

    def __init__(self, text: str, file: str) -> None:
        super().__init__(text)
        self._file = file
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        peek: Callable[[], yaml.Event] = self.peek_event
        event = peek()
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            # An alias is an event with an anchor too.
            raise self._refused("anchors are not used here; quote text that starts with & or *")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._refused(f"nested deeper than {MAX_DEPTH}")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _refused(self, message: str) -> ConfigError:
        return ConfigError(self._file, [Fault(self.line + 1, (), message)])


class _Reader:
    """Nodes -> data, with the line of each and all faults on the way."""

    def __init__(self, environ: Mapping[str, str], fraction: Fraction) -> None:
        self._environ = environ
        self._fraction = fraction
        self.lines: dict[Place, int] = {}
        self.faults: list[Fault] = []
        self.masked: set[str] = set()

    def value(self, node: yaml.Node, place: Place) -> Value:
        self.lines.setdefault(place, node.start_mark.line + 1)
        match node:
            case yaml.MappingNode() if node.tag == _TAG + "map":
                return self._mapping(node, place)
            case yaml.SequenceNode() if node.tag == _TAG + "seq":
                return [self.value(each, (*place, i)) for i, each in enumerate(node.value)]
            case yaml.ScalarNode() if node.tag in _TEXT:
                return self._text(node, place)
            case yaml.ScalarNode():
                return self._plain(node, place)
            case _:
                self._blame(node, place, "tags are not used here; quote text that starts with !")
                return None

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or not key.value.isprintable():
                self._blame(key, place, "a key must be plain, printable text")
                continue
            inner = (*place, key.value)
            if inner in self.lines:
                self._blame(key, inner, f"is written twice, first in line {self.lines[inner]}")
                continue
            self.lines[inner] = key.start_mark.line + 1
            found[key.value] = self.value(value, inner)
        return found

    def _plain(self, node: yaml.ScalarNode, place: Place) -> Value:
        digits = node.value.replace("_", "")
        match node.tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return node.value.lower() in _TRUE
            case "int" if _WHOLE.fullmatch(node.value):
                return int(digits)
            case "int":
                self._blame(node, place, "write whole numbers in plain decimals, text in quotes")
            case "float" if (number := self._fraction(digits)) is not None:
                return number
            case "float":
                self._blame(node, place, "write numbers in plain decimals, text in quotes")
            case _:
                self._blame(node, place, "tags are not used here; quote text that starts with !")
        return None

    def _text(self, node: yaml.ScalarNode, place: Place) -> str:
        def put(found: re.Match[str]) -> str:
            if found[0] == "$${":
                return "${"
            if found[1] is None:
                self._blame(node, place, "write ${NAME} or ${NAME:-default}, or $${ for a plain ${")
                return ""
            return self._variable(found[1], found[2], node, place)

        text = _REFERENCE.sub(put, node.value)
        if not node.value.isprintable():
            self._blame(node, place, "has a line break or a character that cannot be printed")
        return text

    def _variable(self, name: str, default: str | None, node: yaml.ScalarNode, place: Place) -> str:
        value = self._environ.get(name)
        if default is not None and not value:
            return default
        if value is None:
            self._blame(
                node, place, f"{name} is not set; ${{{name}:-}} would stand for nothing then"
            )
            return ""
        if not value.isprintable():
            self._blame(node, place, f"{name} has a line break or an unprintable character")
        if len(value) >= MIN_MASKED:
            self.masked.add(value)
        return value

    def _blame(self, node: yaml.Node, place: Place, message: str) -> None:
        self.faults.append(Fault(node.start_mark.line + 1, place, message))

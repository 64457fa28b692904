"""
What no log, span or metric may show.

One function for every sink: known secret values, whatever looks like a credential, and
characters that play tricks on a terminal are replaced, then the text is cut to a bound. It runs
where the text leaves the process, so that no caller has to remember it.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

MAX_FIELD = 1024
"""Bytes of one field; what is longer is cut."""
MAX_READ = 8192
"""Characters that are looked at. Longer ones cost time, and no more than `MAX_FIELD` is kept."""
MAX_ITEMS = 64
"""Entries of a list or mapping."""
MAX_DEPTH = 4
"""Levels of nesting."""
SHORTEST_SECRET = 4
"""Characters; replacing shorter ones would shred every line and protect nobody."""
REPLACED = "[redacted]"

_SHAPES = (
    r"lg_[0-9A-Za-z]{12}_[0-9A-Za-z]{4,}",  # our keys, also when cut short
    r"(?<![0-9A-Za-z])(?:sk|hf|pk|rk)[-_][0-9A-Za-z_-]{16,}",  # upstream keys
    r"(?i:\bbearer)\s+[^\s,;\"']{8,}",
    r"(?i:\bbasic)\s+[0-9A-Za-z+/]{16,}={0,2}",
    r"(?<=://)[^\s/@]+@",  # user and password of an address
    r"(?<=input_value=)[^\n]{0,600}?(?=, input_type=)",  # pydantic quotes what a client sent
)

# JSON escapes the first 32 itself; these it leaves as they are: C1, bidirectional, separators.
_UNPRINTABLE = {
    code: f"\\u{code:04x}"
    for code in (
        *range(0x7F, 0xA0),
        *range(0x200B, 0x2010),
        *range(0x2028, 0x202F),
        *range(0x2066, 0x206A),
        0xFEFF,
    )
}


class Redaction:
    """Cleans what goes to a sink. Callable from any thread."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: frozenset[str] = frozenset()
        self.word = lru_cache(maxsize=1024)(self.text)
        """`text`, remembered: for codes and names, of which the same few come again and again."""
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Know these secrets as well; earlier ones stay known, for a rotated one may still leak."""
        known = {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
        self._secrets |= known
        # The longest first, so that a secret which begins like another goes as a whole.
        values = sorted(self._secrets, key=len, reverse=True)
        self._longest = len(values[0]) if values else 0
        self._pattern = re.compile("|".join([*map(re.escape, values), *_SHAPES]))
        self.word.cache_clear()

    def text(self, value: str) -> str:
        """Clean and bounded: at most `MAX_FIELD` bytes, without control characters."""
        clean = self._pattern.sub(REPLACED, value[:MAX_READ])
        if len(value) > MAX_READ:
            clean = clean[: -self._longest or None]  # half a secret may stand where it was cut
        clean = clean.translate(_UNPRINTABLE)
        return clean.encode("utf-8", "backslashreplace")[:MAX_FIELD].decode("utf-8", "ignore")

    def field(self, value: object, depth: int = 0) -> Any:
        """The value of a field as JSON can hold it, every text in it clean, its size bounded."""
        match value:
            case None | bool() | float():
                return value
            case int() if value.bit_length() < 64:
                return value
            case Mapping() | list() | tuple() | set() | frozenset() if depth < MAX_DEPTH:
                return self._nested(value, depth + 1)
            case bytes():
                return self.text(value[:MAX_READ].decode("utf-8", "backslashreplace"))
            case _:
                return self.text(str(value))

    def _nested(self, value: Mapping[Any, Any] | Iterable[Any], depth: int) -> Any:
        if isinstance(value, Mapping):
            items = islice(value.items(), MAX_ITEMS)
            return {self.text(str(key)): self.field(item, depth) for key, item in items}
        return [self.field(item, depth) for item in islice(value, MAX_ITEMS)]

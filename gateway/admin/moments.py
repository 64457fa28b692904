"""
An instant as people write it: a day, a time with its offset from UTC, or how far it is from now.

`2026-10-01` is the beginning of that day in UTC; `90d`, `12h`, `30m` or `2w` are before or after
now, whichever is meant.
"""

import re
from datetime import UTC, datetime, timedelta

_FAR = re.compile(r"([0-9]{1,5})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def before(text: str, now: datetime) -> datetime:
    """
    The instant, where `7d` was seven days ago.

    Raises:
        ValueError: it can't be read; the message says how to write it.
    """
    far = _far(text)
    return _instant(text) if far is None else now - far


def after(text: str, now: datetime) -> datetime:
    """
    The instant, where `7d` is in seven days.

    Raises:
        ValueError: it can't be read; the message says how to write it.
    """
    far = _far(text)
    return _instant(text) if far is None else now + far


def seconds(text: str) -> int:
    """
    The whole seconds of a length such as `24h`; `0` is none.

    Raises:
        ValueError: it is no length.
    """
    far = timedelta() if text == "0" else _far(text)
    if far is None:
        raise ValueError(f"{text!r} is no length of time; write it like 30m, 24h, 7d")
    return int(far.total_seconds())


def _far(text: str) -> timedelta | None:
    found = _FAR.fullmatch(text)
    return timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else None


def _instant(text: str) -> datetime:
    try:
        read = datetime.fromisoformat(text)
        if read.tzinfo is None and len(text) == len("2026-10-01"):
            return read.replace(tzinfo=UTC)
        if read.tzinfo is not None:
            return read.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _unreadable(text) from None
    raise _unreadable(text)


def _unreadable(text: str) -> ValueError:
    return ValueError(f"{text!r} is no time; write it like 2026-10-01, 2026-10-01T12:00Z, 24h, 7d")

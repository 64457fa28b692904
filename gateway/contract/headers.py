"""
How long an upstream asks to be left alone, read from the headers of its refusal.

Whatever the headers hold, the answer is None or a number of seconds within bounds: a refusal
never stalls a target for long and never raises.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST: Final = 60.0
"""Seconds; nobody is waited for any longer."""

_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DURATION: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|d|h|m|s))+")
_PART: Final = re.compile(r"([0-9.]+)(ms|d|h|m|s)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """
    Seconds to wait, between 0 and `LONGEST`; None where nothing readable asks for it.

    The most precise header wins: `retry-after-ms`, then `retry-after`, then when the exhausted
    `x-ratelimit-*` is reset. A date counts from the upstream's own `date`, where it sends one,
    so that its clock may be wrong; else from `now`. Header names are lower case.
    """
    wait = _number(headers.get("retry-after-ms", ""))
    if wait is not None:
        wait /= 1000
    if wait is None:
        wait = _seconds_or_date(headers, now)
    if wait is None:
        wait = _reset(headers)
    return None if wait is None else min(max(wait, 0.0), LONGEST)


def _number(text: str) -> float | None:
    text = text.strip()
    return float(text) if _NUMBER.fullmatch(text) else None


def _seconds_or_date(headers: Mapping[str, str], now: datetime) -> float | None:
    text = headers.get("retry-after", "")
    seconds = _number(text)
    if seconds is not None:
        return seconds
    date = _date(text)
    if date is None:
        return None
    return (date - (_date(headers.get("date", "")) or now)).total_seconds()


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _reset(headers: Mapping[str, str]) -> float | None:
    """When what is used up is reset; where no header says what is, the longer of the two."""
    kinds = ("requests", "tokens")
    spent = [kind for kind in kinds if _is_spent(headers, kind)] or kinds
    waits = [_duration(headers.get(f"x-ratelimit-reset-{kind}", "")) for kind in spent]
    return max((wait for wait in waits if wait is not None), default=None)


def _is_spent(headers: Mapping[str, str], kind: str) -> bool:
    return headers.get(f"x-ratelimit-remaining-{kind}", "").strip() == "0"


def _duration(text: str) -> float | None:
    """`6m0s`, `1.5s`, `20ms`, or bare seconds."""
    text = text.strip()
    if _DURATION.fullmatch(text) is None:
        return _number(text)
    return sum(float(amount) * _SECONDS[unit] for amount, unit in _PART.findall(text))

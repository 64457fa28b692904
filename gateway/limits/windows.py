"""
The times over which limits count: a window that slides, a period of the calendar, at once.

Where one clock is enough, instants are milliseconds since 1970.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import ClassVar, Literal

Unit = Literal["day", "month"]

DAY_MS = 86_400_000
_FIRST_DAY = date(1970, 1, 1)


@dataclass(slots=True)
class Instant:
    """
    Milliseconds: `steady` counts windows, `wall` (since 1970) finds calendar periods. Not frozen,
    which would cost each request a microsecond; never changed.
    """

    steady: int
    wall: int


@dataclass(frozen=True, slots=True)
class Sliding:
    """
    Any interval of `buckets` × `bucket_ms` holds no more than the amount.

    What was taken leaves one bucket late at most, so n/(n+1) of the amount can be used.
    """

    kind: ClassVar[str] = "w"
    bucket_ms: int
    buckets: int

    @property
    def name(self) -> str:
        """How counters of this window are told from those of another."""
        return f"w:{self.bucket_ms}x{self.buckets}"

    def __str__(self) -> str:
        return f"per {self.bucket_ms * self.buckets / 1000:g} s"

    def resets_in(self, now: Instant) -> int:
        """Milliseconds until what is taken now has left."""
        return (now.steady // self.bucket_ms + self.buckets + 1) * self.bucket_ms - now.steady


@dataclass(frozen=True, slots=True)
class Calendar:
    """A day or a month in UTC: settled + reserved never pass the amount at an admission."""

    kind: ClassVar[str] = "p"
    unit: Unit

    @property
    def name(self) -> str:
        """How counters of this period are told from those of another."""
        return f"p:{self.unit}"

    def __str__(self) -> str:
        return f"per {self.unit}"

    def period(self, now: int) -> tuple[int, int]:
        """The number of the period that holds `now` (ms since 1970), and where it ends."""
        day = now // DAY_MS
        if self.unit == "day":
            return day, (day + 1) * DAY_MS
        return _month(day)

    def first_day(self, now: int) -> date:
        """The day, in UTC, on which the period that holds `now` began."""
        today = _FIRST_DAY + timedelta(days=now // DAY_MS)
        return today if self.unit == "day" else today.replace(day=1)

    def resets_in(self, now: Instant) -> int:
        """Milliseconds until the period ends."""
        return self.period(now.wall)[1] - now.wall


@dataclass(frozen=True, slots=True)
class AtOnce:
    """As many at the same time; a place is a lease that its holder renews."""

    kind: ClassVar[str] = "c"
    name: ClassVar[str] = "c"

    def __str__(self) -> str:
        return "at once"

    def resets_in(self, now: Instant) -> int:
        """0: nothing leaves by itself."""
        return 0


@lru_cache(maxsize=64)
def _month(day: int) -> tuple[int, int]:
    """The number of the month that holds a day, counted from 1970, and where it ends (ms)."""
    at = _FIRST_DAY + timedelta(days=day)
    month = at.year * 12 + at.month  # January's is 1, so this is the next one from 0
    end = datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
    return month, int(end.timestamp()) * 1000


Window = Sliding | Calendar | AtOnce

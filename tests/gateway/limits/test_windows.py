import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.limits.windows import AtOnce, Calendar, Instant, Sliding, Unit


@given(st.integers(0, 16_000_000_000), st.sampled_from(["day", "month"]))
def test_a_period_ends_where_its_day_or_month_in_utc_does(seconds: int, unit: Unit) -> None:
    calendar, date, now = Calendar(unit), datetime.fromtimestamp(seconds, UTC), seconds * 1000

    number, end = calendar.period(now)
    last, first = (datetime.fromtimestamp(at / 1000, UTC) for at in (end - 1000, end))

    assert getattr(last, unit) == getattr(date, unit)
    assert getattr(first, unit) != getattr(last, unit)
    assert (first.hour, first.minute, first.second) == (0, 0, 0)
    assert calendar.period(end) == (number + 1, calendar.period(end)[1])
    assert calendar.resets_in(Instant(0, now)) == end - now > 0
    assert calendar.first_day(end) == first.date()
    assert calendar.first_day(end - 1) == calendar.first_day(now)


def test_windows_of_another_length_or_grain_are_counted_apart() -> None:
    windows = (Sliding(1000, 60), Sliding(500, 60), Sliding(1000, 30), Calendar("day"), AtOnce())

    assert len({window.name for window in windows}) == len(windows)


def test_what_slides_has_left_a_bucket_late_and_places_leave_never() -> None:
    assert Sliding(1000, 10).resets_in(Instant(5_300, 0)) == 10_700
    assert AtOnce().resets_in(Instant(5_300, 0)) == 0


ZONES = (
    "UTC0",
    "CET-1CEST,M3.5.0,M10.5.0/3",
    "EST5EDT,M3.2.0,M11.1.0",
    "LHST-10:30LHDT-11,M10.1.0,M4.1.0",  # by half an hour
    "<+14>-14",
    "<-12>12",
)
"""Where a process may believe itself to be, as POSIX writes it: no list of zones is needed."""


@pytest.fixture
def zones() -> Iterator[None]:
    """The zone of the process afterwards is what it was."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC0")
        yield
    time.tzset()


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 12, 31)),  # noqa: DTZ001 - anywhere
    st.sampled_from(ZONES),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_86_a_period_begins_at_midnight_in_utc_wherever_and_in_whatever_season_it_is(
    zones: None, local: datetime, zone: str
) -> None:
    os.environ["TZ"] = zone
    time.tzset()
    now = int(local.timestamp()) * 1000  # as the clock on the wall there says
    for unit in ("day", "month"):
        _, end = Calendar(unit).period(now)
        last = datetime.fromtimestamp((end - 1000) / 1000, UTC)
        here = datetime.fromtimestamp(now / 1000, UTC)
        assert end % 86_400_000 == 0
        assert now < end
        assert (last.year, last.month) == (here.year, here.month)
        assert unit == "month" or last.day == here.day
        assert Calendar(unit).period(end - 1) == Calendar(unit).period(now)

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.windows import AtOnce, Calendar, Sliding, Unit


@given(st.integers(0, 16_000_000_000), st.sampled_from(["day", "month"]))
def test_a_period_ends_where_its_day_or_month_in_utc_does(seconds: int, unit: Unit) -> None:
    calendar, date, now = Calendar(unit), datetime.fromtimestamp(seconds, UTC), seconds * 1000

    number, end = calendar.period(now)
    last, first = (datetime.fromtimestamp(at / 1000, UTC) for at in (end - 1000, end))

    assert getattr(last, unit) == getattr(date, unit)
    assert getattr(first, unit) != getattr(last, unit)
    assert (first.hour, first.minute, first.second) == (0, 0, 0)
    assert calendar.period(end) == (number + 1, calendar.period(end)[1])
    assert calendar.resets_in(now) == end - now > 0
    assert calendar.first_day(end) == first.date()
    assert calendar.first_day(end - 1) == calendar.first_day(now)


def test_windows_of_another_length_or_grain_are_counted_apart() -> None:
    windows = (Sliding(1000, 60), Sliding(500, 60), Sliding(1000, 30), Calendar("day"), AtOnce())

    assert len({window.name for window in windows}) == len(windows)


def test_what_slides_has_left_a_bucket_late_and_places_leave_never() -> None:
    assert Sliding(1000, 10).resets_in(5_300) == 10_700
    assert AtOnce().resets_in(5_300) == 0

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.moments import after, before, seconds

NOW = datetime(2026, 10, 15, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-10-01", datetime(2026, 10, 1, tzinfo=UTC)),
        ("2026-10-01T12:00Z", datetime(2026, 10, 1, 12, tzinfo=UTC)),
        ("2026-10-01T12:00:30+02:00", datetime(2026, 10, 1, 10, 0, 30, tzinfo=UTC)),
    ],
)
def test_an_instant_means_the_same_in_either_direction(text: str, instant: datetime) -> None:
    assert before(text, NOW) == after(text, NOW) == instant


@pytest.mark.parametrize(
    ("text", "far"),
    [
        ("30m", timedelta(minutes=30)),
        ("24h", timedelta(days=1)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(days=14)),
    ],
)
def test_a_length_is_counted_from_now(text: str, far: timedelta) -> None:
    assert before(text, NOW) == NOW - far
    assert after(text, NOW) == NOW + far
    assert seconds(text) == far.total_seconds()


@pytest.mark.parametrize("text", ["", "soon", "7", "7y", "-7d", "2026-10-01T12:00", "2026-13-01"])
def test_what_is_no_instant_is_told_with_how_to_write_one(text: str) -> None:
    for read in (before, after):
        with pytest.raises(ValueError, match="write it like"):
            read(text, NOW)


def test_no_overlap_is_no_length_of_time_at_all() -> None:
    assert seconds("0") == 0
    with pytest.raises(ValueError, match="write it like"):
        seconds("soon")


@given(st.text() | st.from_regex(r"[0-9]{1,5}[mhdw]", fullmatch=True))
def test_no_text_is_more_than_refused(text: str) -> None:
    for read in (before, after):
        with suppress(ValueError):
            assert read(text, NOW).tzinfo is not None

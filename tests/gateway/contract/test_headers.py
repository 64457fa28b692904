"""How long to leave an upstream alone, from the headers that it sent."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.headers import LONGEST, retry_after

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
NAMES = [
    "retry-after",
    "retry-after-ms",
    "date",
    *(
        f"x-ratelimit-{word}-{kind}"
        for word in ("reset", "remaining")
        for kind in ("requests", "tokens")
    ),
]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2),
        ({"retry-after": "Mon, 04 May 2026 12:00:09 GMT"}, 9),
        ({"retry-after": "Monday, 04-May-26 12:00:09 GMT"}, 9),
        ({"retry-after": "Mon May  4 12:00:09 2026"}, 9),
        ({"retry-after": "Mon, 04 May 2026 12:00:09 -0000"}, 9),
        (
            {
                "retry-after": "Mon, 04 May 2020 12:00:09 GMT",
                "date": "Mon, 04 May 2020 12:00:00 GMT",
            },
            9,
        ),
        ({"retry-after": "Mon, 04 May 2020 12:00:09 GMT"}, 0),
        ({"retry-after": "Mon, 04 May 2099 12:00:09 GMT"}, LONGEST),
        ({"retry-after": "-1"}, 0),
        ({"retry-after": "1e9"}, LONGEST),
        ({"retry-after": "9" * 400}, LONGEST),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1_0"}, None),
        ({"retry-after": "later"}, None),
        ({"retry-after": ""}, None),
        ({"x-ratelimit-reset-requests": "20ms"}, 0.02),
        ({"x-ratelimit-reset-tokens": "1m2.5s"}, LONGEST),
        ({"x-ratelimit-reset-tokens": "6m0s"}, LONGEST),
        ({"x-ratelimit-reset-tokens": "3"}, 3),
        ({"x-ratelimit-reset-tokens": "3 parsecs"}, None),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "9s"}, 9),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-remaining-tokens": "5",
                "x-ratelimit-reset-tokens": "9s",
            },
            1,
        ),
        ({"retry-after": "2", "x-ratelimit-reset-tokens": "9s"}, 2),
    ],
)
def test_the_most_precise_header_says_how_long(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers, NOW) == (None if seconds is None else pytest.approx(seconds))


numbers = st.floats().map(str) | st.integers().map(str)
values = (
    st.text(max_size=30)
    | numbers
    | st.datetimes().map(lambda at: at.strftime("%a, %d %b %Y %H:%M:%S GMT"))
    | st.lists(st.tuples(numbers, st.sampled_from("dhms"))).map(
        lambda parts: "".join(number + unit for number, unit in parts)
    )
    | st.from_regex(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", fullmatch=True)
)


@given(headers=st.dictionaries(st.sampled_from(NAMES), values))
def test_whatever_the_headers_hold_the_wait_is_within_bounds(headers: dict[str, str]) -> None:
    wait = retry_after(headers, NOW)

    assert wait is None or 0 <= wait <= LONGEST

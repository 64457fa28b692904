import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.limits.model import AtOnce, Calendar, Limit, Sliding, Window
from gateway.limits.settings import LimitsSettings, PlanSettings, limits_of, rates

MINUTE = Sliding(bucket_ms=1000, buckets=60)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("600/minute", [(600, MINUTE)]),
        ("10/second; 600/minute", [(10, Sliding(bucket_ms=20, buckets=50)), (600, MINUTE)]),
        ("2 per 5 minutes", [(2, Sliding(bucket_ms=5000, buckets=60))]),
        ("3/hour", [(3, Sliding(bucket_ms=60_000, buckets=60))]),
        ("1000/day, 9000/month", [(1000, Calendar("day")), (9000, Calendar("month"))]),
    ],
)
def test_rates_are_read_as_the_limits_package_writes_them(
    text: str, read: list[tuple[int, Window]]
) -> None:
    assert list(rates(text)) == read


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("600 a minute", "'600 a minute' is no rate"),
        ("", "'' is no rate"),
        ("5/fortnight", "is no rate"),
        ("5 per 2 day", "a calendar day can not be multiplied"),
        ("5 per 3 month", "a calendar month can not be multiplied"),
        ("5/year", "a year is no period"),
        ("5/minute; 9 per 60 second", "limits the same time twice"),
        ("0/minute", "allows nothing"),
    ],
)
def test_a_rate_that_is_not_kept_is_refused_by_its_text(text: str, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        PlanSettings(tokens=text)


@given(st.integers(1, 100_000), st.sampled_from(["second", "minute", "hour"]))
def test_sub_buckets_fill_a_window_exactly_and_98_percent_of_it_can_be_used(
    multiple: int, unit: str
) -> None:
    ((_, window),) = rates(f"1 per {multiple} {unit}")

    assert isinstance(window, Sliding)
    seconds = {"second": 1, "minute": 60, "hour": 3600}[unit] * multiple
    assert window.bucket_ms * window.buckets == seconds * 1000
    assert window.buckets / (window.buckets + 1) > 0.98


def test_a_plan_limits_what_it_names_and_nothing_else() -> None:
    plan = PlanSettings(requests="600/minute", tokens="1/day", concurrency=5)

    assert limits_of(plan, "tenant:a") == (
        Limit("tenant:a", "requests", 600, MINUTE),
        Limit("tenant:a", "tokens", 1, Calendar("day")),
        Limit("tenant:a", "concurrency", 5, AtOnce()),
    )
    assert limits_of(PlanSettings(), "tenant:a") == limits_of(PlanSettings(tokens=None), "x") == ()


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError):
        PlanSettings.model_validate({"request": "1/minute"})
    with pytest.raises(ValidationError):
        LimitsSettings.model_validate({"leases": 1})


def test_times_are_written_as_everywhere() -> None:
    settings = LimitsSettings.model_validate({"deadline": "20ms", "lease": "30s"})

    assert (settings.deadline, settings.lease, settings.sweep) == (0.02, 30, 1)
    assert settings.on_store_error == "local"

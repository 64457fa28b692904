import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.limits.layout import Layout
from gateway.limits.model import AtOnce, Calendar, Limit, Sliding, Window
from gateway.limits.settings import (
    LimitsSettings,
    PlanSettings,
    QuotaSettings,
    budgets,
    limits_of,
    model_hash,
    rates,
)

USD = 10**9
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
        (f"{2**53}/day", "more than can be counted"),
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
    assert (
        limits_of(PlanSettings(), "tenant:a")
        == limits_of(PlanSettings(tokens=None, budget=None), "x")
        == ()
    )


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("20 USD/month", [(20 * USD, Calendar("month"))]),
        ("20 USD/month; 1 USD/day", [(20 * USD, Calendar("month")), (USD, Calendar("day"))]),
        ("0.000000001 USD/day", [(1, Calendar("day"))]),
        (
            " 0.1USD per day;5 USD / month ",
            [(USD // 10, Calendar("day")), (5 * USD, Calendar("month"))],
        ),
        ("9007199.254740991 USD/month", [(2**53 - 1, Calendar("month"))]),
    ],
)
def test_a_budget_is_read_to_the_nano_dollar(text: str, read: list[tuple[int, Window]]) -> None:
    assert list(budgets(text)) == read
    assert PlanSettings(budget=text).budget == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no budget; write it like 20 USD/month"),
        ("20/month", "is no budget"),
        ("20 EUR/month", "is no budget"),
        ("-20 USD/month", "is no budget"),
        ("1e3 USD/month", "is no budget"),
        ("20 USD/hour", "is no budget"),
        ("20 USD/2 month", "is no budget"),
        ("1,5 USD/day", "is no budget"),
        ("1 USD/day;", "is no budget"),
        ("1.2.3 USD/day", "in plain decimals"),
        ("0.0000000001 USD/day", "more than 9 decimals"),
        ("0 USD/day", "allows nothing"),
        ("9007199.254740992 USD/month", "is 9007199 USD at most"),
        ("1 USD/day; 2 USD/day", "limits the same time twice"),
    ],
)
def test_a_budget_that_can_not_be_kept_is_refused_by_its_text(text: str, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        QuotaSettings(budget=text)


def test_a_model_may_have_limits_beside_its_plans() -> None:
    plan = PlanSettings.model_validate(
        {
            "requests": "600/minute",
            "models": {"org/gpt": {"budget": "1 USD/day", "concurrency": 2, "tokens": "5/day"}},
        }
    )
    own = limits_of(plan, "key:k")
    scope = "key:k/m:" + model_hash("org/gpt")

    assert own == limits_of(plan, "key:k", "chat") == (Limit("key:k", "requests", 600, MINUTE),)
    assert limits_of(plan, "key:k", "org/gpt") == (
        *own,
        Limit(scope, "tokens", 5, Calendar("day")),
        Limit(scope, "concurrency", 2, AtOnce()),
        Limit(scope, "money", USD, Calendar("day"), "refuse"),
    )


@given(st.text(min_size=1, max_size=200))
def test_a_models_limits_have_names_that_a_store_can_keep(model: str) -> None:
    plan = PlanSettings.model_validate({"models": {model: {"requests": "1/minute"}}})
    (limit,) = limits_of(plan, "tenant:a", model)

    assert Layout.of("a", (limit,)).limits


def test_each_kind_of_limit_has_its_own_policy_for_an_outage() -> None:
    outage = {"requests": "allow", "tokens": "local", "budget": "i_accept_unlimited_spend"}
    plan = PlanSettings.model_validate(
        {
            "requests": "1/minute",
            "tokens": "1/minute",
            "concurrency": 1,
            "budget": "1 USD/day",
            "models": {"m": {"requests": "1/minute"}},
            "on_store_error": outage,
        }
    )
    policies = [limit.on_store_error for limit in limits_of(plan, "tenant:a", "m")]

    assert policies == ["allow", "local", None, "allow", "allow"]


@pytest.mark.parametrize("policy", ["allow", "open", None])
def test_unlimited_spending_must_be_spelt_out(policy: str | None) -> None:
    with pytest.raises(ValidationError):
        LimitsSettings.model_validate({"budgets_on_store_error": policy})
    if policy is not None:
        with pytest.raises(ValidationError):
            PlanSettings.model_validate({"on_store_error": {"budget": policy}})


@pytest.mark.parametrize("amount", [0, -1, 2**53, 10**20])
def test_what_can_not_be_counted_at_once_is_refused(amount: int) -> None:
    with pytest.raises(ValidationError, match="concurrency"):
        PlanSettings(concurrency=amount)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError):
        PlanSettings.model_validate({"request": "1/minute"})
    with pytest.raises(ValidationError):
        LimitsSettings.model_validate({"leases": 1})


def test_times_are_written_as_everywhere() -> None:
    settings = LimitsSettings.model_validate({"deadline": "20ms", "lease": "30s"})

    assert (settings.deadline, settings.lease, settings.sweep) == (0.02, 30, 1)
    assert settings.on_store_error == "local"

"""A caller has its tenant's limits, and those of its project and its key beside them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.limits import (
    Amounts,
    Ask,
    Limit,
    LimitsSettings,
    MemoryLimiter,
    Plans,
    PlanSettings,
    limits_of,
)
from gateway.limits import plans as plans_module
from gateway.limits.plans import Levels, PlanMissing

PLANS = {
    "none": PlanSettings(),
    "small": PlanSettings(requests="10/minute"),
    "large": PlanSettings(requests="100/minute; 1000/hour", tokens="5000/minute", concurrency=3),
    "paid": PlanSettings.model_validate(
        {
            "budget": "20 USD/month",
            "models": {"gpt": {"requests": "3/minute", "budget": "1 USD/day"}},
        }
    ),
}
names = st.sampled_from(sorted(PLANS))
levels = st.lists(
    st.tuples(st.sampled_from(["tenant:acme", "project:p", "key:k1"]), names),
    unique_by=lambda level: level[0],
).map(tuple)


def limits(plan: str, key_plan: str | None = None, key_id: str = "k1") -> tuple[Limit, ...]:
    wanted: Levels = (("tenant:acme", plan),)
    if key_plan is not None:
        wanted += ((f"key:{key_id}", key_plan),)
    return Plans(PLANS).limits_of(wanted, "chat")


@given(levels, st.sampled_from(["gpt", "chat"]))
def test_a_callers_limits_are_those_of_all_of_its_levels(wanted: Levels, model: str) -> None:
    assert Plans(PLANS).limits_of(wanted, model) == tuple(
        limit for scope, plan in wanted for limit in limits_of(PLANS[plan], scope, model)
    )


def test_a_plan_that_limits_nothing_makes_no_limit() -> None:
    assert limits("none") == ()


def test_limits_are_made_once_for_each_caller() -> None:
    plans = Plans(PLANS)
    wanted = (("tenant:acme", "large"), ("key:k1", "small"))

    assert plans.limits_of(wanted, "chat") is plans.limits_of((*wanted,), "chat")
    assert plans.limits_of(wanted, "chat") is plans.limits_of(wanted, "embed")
    assert plans.limits_of((*wanted[:1], ("key:k2", "small")), "chat") != plans.limits_of(
        wanted, "chat"
    )


def test_no_more_than_so_many_callers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans_module, "KEPT", 10)
    plans = Plans(PLANS)
    for number in range(100):
        plans.limits_of((("tenant:acme", "paid"), (f"key:{number}", "large")), "gpt")

    assert len(plans._made) <= 10
    assert len(plans._same) <= 10


def test_a_caller_is_made_once_among_ten_thousand_and_for_a_thousand_models(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plans, made = Plans(PLANS), []
    make = plans._make
    monkeypatch.setattr(plans, "_make", lambda *asked: made.append(asked) or make(*asked))

    for _ in range(2):
        for number in range(10_000):
            plans.limits_of(((f"tenant:t{number}", "large"),), "chat")
    for number in range(1000):
        plans.limits_of((("tenant:t1", "large"),), f"m{number}")

    assert len(made) == 10_000


def test_keys_of_a_tenant_share_its_limits_and_not_their_own() -> None:
    one, other = limits("small", "small", "k1"), limits("small", "small", "k2")

    assert one[0].name == other[0].name
    assert one[1].name != other[1].name


async def test_what_one_key_uses_the_tenants_other_keys_can_not() -> None:
    limiter = MemoryLimiter()
    for number in range(10):
        await limiter.reserve(f"r{number}", "acme", limits("small", key_id="k1"), Ask(Amounts()))

    with pytest.raises(Exception, match="Rate limit reached for requests"):
        await limiter.reserve("r10", "acme", limits("small", key_id="k2"), Ask(Amounts()))


async def test_a_models_own_limit_holds_for_it_alone() -> None:
    plans, limiter = Plans(PLANS), MemoryLimiter()
    caller = (("tenant:acme", "paid"),)
    for number in range(3):
        await limiter.reserve(f"r{number}", "acme", plans.limits_of(caller, "gpt"), Ask(Amounts()))

    with pytest.raises(Exception, match="Rate limit reached for requests"):
        await limiter.reserve("r4", "acme", plans.limits_of(caller, "gpt"), Ask(Amounts()))
    await limiter.reserve("r5", "acme", plans.limits_of(caller, "chat"), Ask(Amounts()))


def test_a_plan_that_is_not_known_admits_nobody_and_is_logged_once() -> None:
    plans = Plans(PLANS)
    caller = (("tenant:acme", "small"), ("key:k1", "unheard-of"))

    with capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(PlanMissing) as refusal:
                plans.limits_of(caller, "chat")

    assert (refusal.value.status, refusal.value.code) == (503, "plan_missing")
    assert (refusal.value.retryable, refusal.value.retry_after) == (True, 1.0)
    assert [line["plan"] for line in lines] == ["unheard-of"]
    assert "unheard-of" not in refusal.value.message


def test_plans_do_not_change_behind_their_back() -> None:
    written = dict(PLANS)
    plans = Plans(written)
    written.clear()

    assert plans.limits_of((("tenant:acme", "small"),), "chat")


@pytest.mark.parametrize(
    ("settings", "policy"),
    [
        (LimitsSettings(), "refuse"),
        (LimitsSettings(budgets_on_store_error="local"), "local"),
        (LimitsSettings(budgets_on_store_error="i_accept_unlimited_spend"), "allow"),
    ],
)
def test_what_holds_for_budgets_in_an_outage_is_said_once_for_all(
    settings: LimitsSettings, policy: str
) -> None:
    (budget,) = Plans(PLANS, settings).limits_of((("tenant:acme", "paid"),), "chat")

    assert budget.on_store_error == policy

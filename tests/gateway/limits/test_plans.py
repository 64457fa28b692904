"""A caller has its tenant's limits, and its key's own beside them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import Amounts, Ask, Limit, MemoryLimiter, Plans, PlanSettings, limits_of

PLANS = {
    "none": PlanSettings(),
    "small": PlanSettings(requests="10/minute"),
    "large": PlanSettings(requests="100/minute; 1000/hour", tokens="5000/minute", concurrency=3),
}
names = st.sampled_from(sorted(PLANS))


def limits(plan: str, key_plan: str | None = None, key_id: str = "k1") -> tuple[Limit, ...]:
    return Plans(PLANS).limits_of(tenant="acme", plan=plan, key_id=key_id, key_plan=key_plan)


@given(names, st.none() | names)
def test_a_callers_limits_are_its_tenants_and_its_keys(plan: str, key_plan: str | None) -> None:
    expected = limits_of(PLANS[plan], "tenant:acme")
    if key_plan is not None:
        expected += limits_of(PLANS[key_plan], "key:k1")

    assert limits(plan, key_plan) == expected


def test_a_plan_that_limits_nothing_makes_no_limit() -> None:
    assert limits("none") == ()


def test_limits_are_made_once_for_each_key() -> None:
    plans = Plans(PLANS)
    caller = {"tenant": "acme", "plan": "large", "key_id": "k1", "key_plan": "small"}

    assert plans.limits_of(**caller) is plans.limits_of(**caller)
    assert plans.limits_of(**{**caller, "key_id": "k2"}) != plans.limits_of(**caller)


def test_keys_of_a_tenant_share_its_limits_and_not_their_own() -> None:
    one, other = limits("small", "small", "k1"), limits("small", "small", "k2")

    assert one[0].name == other[0].name
    assert one[1].name != other[1].name


async def test_what_one_key_uses_the_tenants_other_keys_can_not() -> None:
    limiter = MemoryLimiter()
    for number in range(10):
        await limiter.reserve(f"r{number}", "acme", limits("small", key_id="k1"), Ask(Amounts(0)))

    with pytest.raises(Exception, match="Rate limit reached for requests"):
        await limiter.reserve("r10", "acme", limits("small", key_id="k2"), Ask(Amounts(0)))


def test_a_plan_that_is_not_configured_is_a_fault_of_ours() -> None:
    with pytest.raises(KeyError):
        limits("unheard-of")

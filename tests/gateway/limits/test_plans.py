from gateway.limits.plans import Plans
from gateway.limits.settings import PlanSettings, limits_of

DEFAULT = PlanSettings(requests="600/minute")
SMALL = PlanSettings(concurrency=2)


def test_a_caller_is_held_to_its_tenants_plan_and_to_its_keys_own() -> None:
    plans = Plans({"default": DEFAULT, "small": SMALL})

    alone = plans.limits_of(tenant="acme", plan="default", key_id="k1", key_plan=None)
    both = plans.limits_of(tenant="acme", plan="default", key_id="k2", key_plan="small")

    assert alone == limits_of(DEFAULT, "tenant:acme")
    assert both == alone + limits_of(SMALL, "key:k2")


def test_limits_are_made_once_for_each_key() -> None:
    plans = Plans({"default": DEFAULT})

    first, again = (
        plans.limits_of(tenant="acme", plan="default", key_id="k1", key_plan=None) for _ in range(2)
    )

    assert first is again

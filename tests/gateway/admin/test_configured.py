import pytest

from gateway.access import KeySettings, TenantSettings
from gateway.admin.configured import Configured
from gateway.contract.errors import InvalidRequest
from tests.support.administration import CONFIGURED, FILE_KEY

EMPTY = Configured(plans={}, tenants={}, models=frozenset())


@pytest.mark.parametrize("models", [(), ("chat",), ("*",), ("chat", "embed", "*")])
def test_configured_models_may_be_given(models: tuple[str, ...]) -> None:
    CONFIGURED.check_models(models)


def test_a_model_that_is_not_configured_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest) as raised:
        CONFIGURED.check_models(("chat", "missing"))
    assert (raised.value.param, raised.value.code) == ("models", "unknown_model")
    assert "'missing'" in raised.value.message


@pytest.mark.parametrize("granted", [("chat",), ("chat", "embed"), ("*",)])
def test_a_model_may_be_given_by_who_has_it(granted: tuple[str, ...]) -> None:
    CONFIGURED.check_models(("chat",), within=granted)


def test_all_of_what_somebody_has_may_be_given() -> None:
    CONFIGURED.check_models(("*",), within=("chat",))


def test_a_model_that_somebody_has_not_is_refused() -> None:
    with pytest.raises(InvalidRequest) as raised:
        CONFIGURED.check_models(("embed",), within=("chat",), param="limits.models")
    assert (raised.value.param, raised.value.code) == ("limits.models", "model_not_granted")


def test_a_plan_is_used_by_tenants_and_by_keys_of_the_file() -> None:
    key = KeySettings.model_validate({"name": "ci", "key": FILE_KEY.reveal(), "plan": "of-key"})
    tenants = {"acme": TenantSettings(plan="of-tenant", keys=(key,))}
    configured = Configured(plans={}, tenants=tenants, models=frozenset())

    assert configured.uses_plan("of-tenant")
    assert configured.uses_plan("of-key")
    assert not configured.uses_plan("of-nobody")
    assert not EMPTY.uses_plan("of-tenant")

from random import Random

import pytest
from pydantic import TypeAdapter, ValidationError

from gateway.access.key import Key
from gateway.access.settings import AccessSettings, KeySettings, TenantId, TenantSettings

KEY = Key.generate(Random(5))
PEPPER = b"a pepper of the tests"


def test_a_key_is_written_whole_or_in_its_stored_form() -> None:
    whole = KeySettings.model_validate({"name": "ci", "key": KEY.reveal()})
    stored = KeySettings.model_validate({"name": "ci", "key_hash": KEY.stored(PEPPER)})

    assert whole.verifier(PEPPER) == stored.verifier(PEPPER)
    assert whole.public_id == stored.public_id == KEY.public_id


@pytest.mark.parametrize("field", ["key", "key_hash"])
def test_an_empty_key_does_not_exist(field: str) -> None:
    settings = KeySettings.model_validate({"name": "ci", field: ""})

    assert settings.verifier(PEPPER) is None
    assert settings.public_id is None


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"key": KEY.reveal(), "key_hash": KEY.stored(PEPPER)},
        {"key": "", "key_hash": ""},
        {"key": KEY.reveal()[:-1]},
        {"key": KEY.reveal()[:-1] + "~"},
        {"key": KEY.stored(PEPPER)},
        {"key_hash": KEY.reveal()},
        {"key_hash": KEY.stored(PEPPER).upper()},
        {"key": KEY.reveal(), "expires": "2030-01-01T00:00:00"},
        {"key": KEY.reveal(), "name": "two\nlines"},
        {"key": KEY.reveal(), "comment": "?"},
        {"key": KEY.reveal(), "scopes": []},
        {"key": KEY.reveal(), "scopes": ["admin"]},
        {"key": KEY.reveal(), "networks": ["10.0.0.1/8"]},
        {"key": KEY.reveal(), "networks": ["everywhere"]},
    ],
)
def test_a_key_that_makes_no_sense_is_refused_without_being_shown(written: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as refused:
        KeySettings.model_validate({"name": "ci"} | written)

    assert KEY.reveal()[16:48] not in str(refused.value)


def test_a_key_in_settings_is_masked() -> None:
    settings = KeySettings.model_validate({"name": "ci", "key": KEY.reveal()})

    assert KEY.reveal()[16:48] not in f"{settings!r}{settings}{settings.model_dump_json()}"


@pytest.mark.parametrize("tenant", ["acme", "a", "team-7", "x" * 40])
def test_a_tenant_id_is_short_and_plain(tenant: str) -> None:
    assert TypeAdapter(TenantId).validate_python(tenant) == tenant


@pytest.mark.parametrize("tenant", ["", "Acme", "a b", "a_b", "x" * 41, "a\n", "\u0661", "{a}"])
def test_any_other_tenant_id_is_refused(tenant: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(TenantId).validate_python(tenant)


@pytest.mark.parametrize(
    ("tenant", "key", "allowed"),
    [
        ([], None, set()),
        (["a", "b"], None, {"a", "b"}),
        (["a", "b"], ["a"], {"a"}),
        (["a", "b"], ["*"], {"a", "b"}),
        (["a"], ["b"], set()),
        (["a"], [], set()),
        (["*"], None, {"*"}),
        (["*"], ["a"], {"a"}),
        (["*"], ["*"], {"*"}),
    ],
)
def test_a_key_may_use_its_own_models_within_its_tenants(
    tenant: list[str], key: list[str] | None, allowed: set[str]
) -> None:
    settings = TenantSettings.model_validate(
        {"models": tenant, "keys": [{"name": "k", "key": "", "models": key}]}
    )

    assert settings.models_of(settings.keys[0]) == allowed


@pytest.mark.parametrize(
    "written", [{"failures": "many"}, {"failures": "0/minute"}, {"on_revoke": "never"}, {"x": 1}]
)
def test_access_that_makes_no_sense_is_refused(written: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AccessSettings.model_validate(written)


def test_running_requests_of_a_revoked_key_are_cut_unless_it_says_otherwise() -> None:
    assert AccessSettings().on_revoke == "cut"
    assert AccessSettings(on_revoke="finish").on_revoke == "finish"

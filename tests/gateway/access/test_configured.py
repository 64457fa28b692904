from typing import Any

import pytest

from gateway.access import ConfiguredKeys, Key, TenantSettings
from gateway.access.callers import NOBODY

PEPPER = b"a pepper of the tests"
KEY = Key.generate()


def configured(*keys: dict[str, Any]) -> ConfiguredKeys:
    settings = {"plan": "gold", "models": ["chat", "embed"], "keys": keys}
    return ConfiguredKeys({"acme": TenantSettings.model_validate(settings)}, PEPPER)


async def test_a_key_is_in_memory_and_nowhere_else() -> None:
    source = configured({"name": "a", "key": KEY.reveal()})

    found = source.known(KEY.public_id)
    assert found is source.get(KEY.public_id) is await source.find(KEY.public_id)
    assert found is not NOBODY
    assert source.known("0" * 12) is NOBODY
    assert source.get("0" * 12) is await source.find("0" * 12) is None


def test_a_key_stands_for_its_tenant_with_what_the_file_says_of_it() -> None:
    written = {
        "name": "a",
        "key": KEY.reveal(),
        "plan": "small",
        "models": ["chat"],
        "scopes": ["inference"],
        "networks": ["10.0.0.0/8"],
        "disabled": True,
    }

    stored = configured(written).known(KEY.public_id)

    assert stored is not None
    assert stored.disabled
    assert not stored.suspended
    assert stored.caller.levels == (("tenant:acme", "gold"), (f"key:{KEY.public_id}", "small"))
    assert stored.caller.models == {"chat"}
    assert stored.caller.scopes == {"inference"}
    assert [str(network) for network in stored.caller.networks] == ["10.0.0.0/8"]


def test_nothing_follows_from_the_use_of_a_configured_key() -> None:
    source = configured({"name": "a", "key": KEY.reveal()})
    stored = source.known(KEY.public_id)

    assert stored is not None
    assert stored.pepper is None
    source.used(stored, KEY)
    assert source.known(KEY.public_id) is stored


def test_two_keys_of_one_public_id_are_refused() -> None:
    twice = [{"name": "a", "key": KEY.reveal()}, {"name": "b", "key_hash": KEY.stored(PEPPER)}]

    with pytest.raises(ValueError, match=KEY.public_id):
        configured(*twice)

from typing import Any

import pytest

from gateway.access import ConfiguredKeys, FileFirst, Key, TenantSettings
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


OTHER = Key.generate()


@pytest.mark.parametrize(
    ("later", "ended"),
    [
        ([{"name": "renamed", "key": KEY.reveal(), "models": ["chat"], "plan": "small"}], False),
        ([{"name": "a", "key": KEY.reveal()}, {"name": "b", "key": OTHER.reveal()}], False),
        ([], True),
        ([{"name": "b", "key": OTHER.reveal()}], True),
        ([{"name": "a", "key": KEY.reveal(), "disabled": True}], True),
        ([{"name": "a", "key_hash": f"{KEY.public_id}:{'0' * 64}"}], True),
    ],
    ids=["changed", "one more", "gone", "exchanged", "disabled", "another secret"],
)
def test_a_key_has_ended_where_a_later_file_does_not_let_it_work(
    later: list[dict[str, Any]], ended: bool
) -> None:
    before = configured({"name": "a", "key": KEY.reveal()})

    assert before.ended_in(configured(*later)) == ({KEY.public_id} if ended else set())


def test_a_key_that_another_tenant_has_now_has_ended() -> None:
    before = configured({"name": "a", "key": KEY.reveal()})
    moved = TenantSettings.model_validate({"keys": [{"name": "a", "key": KEY.reveal()}]})

    assert before.ended_in(ConfiguredKeys({"umbrella": moved}, PEPPER)) == {KEY.public_id}


def test_a_key_that_did_not_work_can_not_end() -> None:
    assert not configured({"name": "a", "key": KEY.reveal(), "disabled": True}).ended_in(
        configured()
    )


async def test_the_file_is_asked_before_the_other_source() -> None:
    others = configured({"name": "of-others", "key": KEY.reveal()})
    others_only = configured({"name": "of-others", "key": OTHER.reveal()})
    file = configured({"name": "of-file", "key": KEY.reveal()})

    for source in (FileFirst(file, others), FileFirst(file, others_only)):
        for found in (source.known(KEY.public_id), await source.find(KEY.public_id)):
            assert found is not None
            assert found.caller.key_name == "of-file"
    behind = FileFirst(file, others_only)
    assert behind.known(OTHER.public_id) is others_only.known(OTHER.public_id)
    assert await behind.find(OTHER.public_id) is others_only.known(OTHER.public_id)
    assert behind.known("0" * 12) is NOBODY
    assert await behind.find("0" * 12) is None

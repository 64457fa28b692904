"""A new key is shown once, with what to write where."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.access import Key, Peppers, describe_new_key, issue, load_pepper, new_key
from gateway.access.key import SCANNER
from gateway.access.settings import KeySettings
from gateway.settings import Settings


def settings(state: Path, pepper: str = "") -> Settings:
    return Settings(state_dir=state, key_pepper=SecretStr(pepper))


@pytest.fixture(autouse=True)
def _no_pepper_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCKGATE_KEY_PEPPER", raising=False)


def test_the_stored_form_that_is_shown_verifies_the_key_that_is_shown(tmp_path: Path) -> None:
    shown = describe_new_key(settings(tmp_path, "a pepper"), "ci")

    (revealed,) = re.findall(SCANNER, shown)
    key = Key.parse(revealed)
    assert key is not None
    (stored,) = re.findall(r'\{name: ci, key_hash: "(.*)"\}', shown)
    assert stored == key.stored(b"a pepper")
    assert KeySettings(name="ci", key_hash=stored).public_id == key.public_id


def test_the_pepper_of_an_earlier_start_is_used(tmp_path: Path) -> None:
    pepper = load_pepper(SecretStr(""), tmp_path)

    shown = describe_new_key(settings(tmp_path), "ci")

    key = Key.parse(re.findall(SCANNER, shown)[0])
    assert key is not None
    assert key.stored(pepper) in shown


def test_without_a_pepper_there_is_no_stored_form_and_none_is_made(tmp_path: Path) -> None:
    shown = describe_new_key(settings(tmp_path / "state"), "ci")

    assert "key_hash" not in shown
    assert '- {name: ci, key: "${A_VARIABLE_WITH_THE_KEY}"}' in shown
    assert not (tmp_path / "state").exists()


def test_every_key_is_a_new_one(tmp_path: Path) -> None:
    shown = {re.findall(SCANNER, describe_new_key(settings(tmp_path), "ci"))[0] for _ in range(50)}

    assert len(shown) == 50


def test_an_issued_key_is_stored_under_the_current_pepper() -> None:
    peppers = Peppers(b"new", b"old")

    key, public_id, digest, pepper = issue(peppers)

    assert Key.parse(key.reveal()) is not None
    assert public_id == key.public_id
    assert f"{public_id}:{digest.hex()}" == key.stored(b"new")
    assert pepper == peppers.current.name


def test_for_programs_a_new_key_comes_with_its_id_and_stored_form(tmp_path: Path) -> None:
    made = new_key(settings(tmp_path, "a pepper"))

    key = Key.parse(made["key"] or "")
    assert key is not None
    assert (made["id"], made["key_hash"]) == (key.public_id, key.stored(b"a pepper"))
    assert new_key(settings(tmp_path))["key_hash"] is None

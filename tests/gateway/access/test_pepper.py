"""The pepper is given, or made once and kept to oneself."""

import multiprocessing
import re
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.access.pepper import (
    FILE,
    Pepper,
    Peppers,
    existing_pepper,
    load_pepper,
)

NONE = SecretStr("")


def test_a_pepper_that_is_given_is_used_and_nothing_is_written(tmp_path: Path) -> None:
    state = tmp_path / "state"

    assert load_pepper(SecretStr("a given pepper"), state) == b"a given pepper"
    assert existing_pepper(SecretStr("ein größerer"), state) == "ein größerer".encode()
    assert not state.exists()


def test_a_pepper_that_is_given_wins_over_one_that_is_kept(tmp_path: Path) -> None:
    kept = load_pepper(NONE, tmp_path)

    assert load_pepper(SecretStr("given"), tmp_path) == b"given"
    assert load_pepper(NONE, tmp_path) == kept


def test_asking_for_a_pepper_makes_none(tmp_path: Path) -> None:
    assert existing_pepper(NONE, tmp_path / "state") is None
    assert not (tmp_path / "state").exists()


def test_a_pepper_is_made_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    state = tmp_path / "deep" / "state"

    made = load_pepper(NONE, state)

    assert len(bytes.fromhex(made.decode())) == 32
    assert load_pepper(NONE, state) == existing_pepper(NONE, state) == made
    assert stat.S_IMODE((state / FILE).stat().st_mode) == 0o600
    assert [each.name for each in state.iterdir()] == [FILE]


def test_two_peppers_differ(tmp_path: Path) -> None:
    assert load_pepper(NONE, tmp_path / "one") != load_pepper(NONE, tmp_path / "two")


def test_a_start_that_comes_second_takes_the_pepper_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_pepper(NONE, tmp_path)
    monkeypatch.setattr(Path, "exists", lambda _: False)  # as it was when the second one looked

    assert load_pepper(NONE, tmp_path) == first
    assert [each.name for each in tmp_path.iterdir()] == [FILE]


def _load(state: str) -> bytes:
    return load_pepper(SecretStr(""), Path(state))


def test_starts_at_the_same_time_agree(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        found = pool.map(_load, [str(tmp_path / str(number // 8)) for number in range(32)])

    for number in range(4):
        assert len(set(found[number * 8 : number * 8 + 8])) == 1


def test_a_pepper_that_is_given_twice_is_tried_once() -> None:
    peppers = Peppers(b"new", b"new", b"old")

    assert peppers.all[0] is peppers.current
    assert [each.name for each in peppers.all] == [Pepper(b"new").name, Pepper(b"old").name]


def test_the_name_of_a_pepper_tells_it_from_others_and_verifies_nothing() -> None:
    names = {Pepper(str(number).encode()).name for number in range(1000)}

    assert len(names) == 1000
    assert Pepper(b"one").name == Pepper(b"one").name
    assert all(re.fullmatch("[0-9a-f]{16}", name) for name in names)

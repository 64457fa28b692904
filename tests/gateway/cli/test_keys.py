from datetime import UTC, datetime, timedelta

import pytest

from gateway.access import Key
from tests.support.command_line import answered, done, refused


@pytest.fixture(autouse=True)
def _tenant(store: object) -> None:
    done("tenants", "create", "acme", "--plan", "free", "--model", "chat")
    done("projects", "create", "acme", "web")


def test_a_new_key_is_shown_once() -> None:
    made = answered("keys", "create", "acme", "ci", "--project", "web")
    key = Key.parse(made["key"])
    assert key is not None
    assert (made["id"], made["project"]) == (key.public_id, "web")

    for command in (["list", "acme"], ["show", "acme", "ci"], ["list", "acme", "--json"]):
        text = done("keys", *command)
        assert key.public_id in text
        assert made["key"] not in text


def test_people_read_the_new_key_on_the_last_line() -> None:
    *_, last = done("keys", "create", "acme", "ci").splitlines()

    assert Key.parse(last.strip()) is not None


def test_a_generated_key_is_stored_nowhere() -> None:
    made = answered("keys", "generate")

    assert made["key_hash"].startswith(f"{made['id']}:")
    assert Key.parse(made["key"]) is not None
    assert answered("keys", "list", "acme")["data"] == []


def test_a_key_is_found_by_its_id_and_by_its_name() -> None:
    made = answered("keys", "create", "acme", "ci")

    by_name, by_id = (answered("keys", "show", "acme", each) for each in ("ci", made["id"]))
    assert by_name == by_id


def test_a_key_is_made_with_all_that_may_bound_it() -> None:
    made = answered(
        "keys", "create", "acme", "ci", "--plan", "free", "--model", "chat", "--scope",
        "inference", "--network", "10.0.0.0/8", "--network", "::1", "--expires", "90d",
    )  # fmt: skip

    assert (made["plan"], made["models"], made["scopes"]) == ("free", ["chat"], ["inference"])
    assert made["networks"] == ["10.0.0.0/8", "::1"]
    far = datetime.fromisoformat(made["expires"]) - datetime.now(UTC)
    assert timedelta(days=89) < far <= timedelta(days=90)


def test_what_bounds_a_key_can_be_taken_away() -> None:
    done("keys", "create", "acme", "ci", "--plan", "free", "--model", "chat", "--expires", "9d")

    changed = answered(
        "keys", "update", "acme", "ci", "--plan", "", "--model", "", "--expires", "", "--project",
        "web", "--network", "", "--scope", "",
    )  # fmt: skip

    assert [changed[each] for each in ("plan", "models", "expires")] == [None, None, None]
    assert (changed["project"], changed["networks"]) == ("web", [])
    assert changed["scopes"] == ["inference", "usage:read"]


def test_a_rotated_key_works_on_for_a_while() -> None:
    old = answered("keys", "create", "acme", "ci")
    new = answered("keys", "rotate", "acme", "ci", "--overlap", "7d")

    assert new["name"] == "ci"
    assert Key.parse(new["key"]) is not None
    shown = answered("keys", "show", "acme", old["id"])
    assert shown["replaced_by"] == new["id"]
    far = datetime.fromisoformat(shown["expires"]) - datetime.now(UTC)
    assert timedelta(days=6) < far <= timedelta(days=7)
    assert answered("keys", "show", "acme", "ci")["id"] == new["id"]


def test_a_key_is_disabled_enabled_and_deleted() -> None:
    done("keys", "create", "acme", "ci")

    assert answered("keys", "disable", "acme", "ci")["disabled"] is True
    assert len(answered("keys", "list", "acme", "--disabled")["data"]) == 1
    assert answered("keys", "enable", "acme", "ci")["disabled"] is False
    assert answered("keys", "list", "acme", "--disabled")["data"] == []
    assert answered("keys", "delete", "acme", "ci", "--yes")["deleted"] is True
    assert answered("keys", "list", "acme", "--project", "web")["data"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["show", "acme", "ci"], 2, "no such key"),
        (["create", "acme", "ci", "--expires", "soon"], 2, "expires: 'soon' is no time"),
        (["create", "acme", "ci", "--expires", "2020-01-01"], 2, "This time is past"),
        (["create", "acme", "ci", "--scope", "admin"], 2, "scopes: "),
        (["create", "acme", "ci", "--network", "x"], 2, "networks: "),
        (["create", "acme", "ci", "--model", "closed"], 2, "closed"),
        (["create", "acme", "ci", "--project", "nope"], 2, "nope"),
        (["create", "wide", "ci2"], 1, "configuration file"),
        (["rotate", "acme", "ci", "--overlap", "x"], 2, "overlap: 'x' is no length"),
        (["delete", "acme", "ci"], 2, "add --yes"),
    ],
)
def test_what_can_not_be_done_is_told_in_a_line(arguments: list[str], code: int, told: str) -> None:
    assert told in refused("keys", *arguments, code=code)

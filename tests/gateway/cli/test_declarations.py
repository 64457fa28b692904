from pathlib import Path

import pytest

from gateway.access import Key
from tests.support.command_line import answered, done, lockgate, refused

FILE = """\
plans:
  gold: {requests: 60/minute}
tenants:
  acme:
    plan: gold
    models: [chat]
    keys:
      - {name: ci}
"""


@pytest.fixture
def file(store: Path) -> str:
    path = store / "acme.yaml"
    path.write_text(FILE)
    return str(path)


def test_a_difference_is_shown_and_nothing_is_done(file: str) -> None:
    text = done("diff", file)

    assert text.splitlines() == [
        "+ plan gold",
        "    requests: 60/minute",
        "+ tenant acme",
        "    plan: gold",
        "    models: chat",
        "+ key acme/ci (with a secret of its own, shown once)",
        "3 to create.",
    ]
    assert done("diff", file) == text


def test_an_applied_file_leaves_no_difference(file: str) -> None:
    applied = answered("apply", file, "--yes")

    [made] = applied["keys"]
    assert Key.parse(made["key"]) is not None
    assert [step["name"] for step in applied["steps"]] == ["gold", "acme", "acme/ci"]
    assert answered("diff", file) == {"object": "difference", "steps": []}
    assert answered("apply", file, "--yes") == {"object": "applied", "steps": [], "keys": []}
    assert done("apply", file, "--yes") == "Nothing to change.\n"


def test_what_was_applied_is_shown_with_the_keys_at_the_end(file: str) -> None:
    *_, done_, empty, heading, last = done("apply", file, "--yes").splitlines()

    assert (done_, empty) == ("Applied.", "")
    assert "shown this once" in heading
    name, key = last.split()
    assert name == "acme/ci"
    assert Key.parse(key) is not None


def test_a_script_may_ask_whether_there_is_a_difference(file: str) -> None:
    assert lockgate("diff", file).exit_code == 0
    assert lockgate("diff", file, "--exit-code").exit_code == 1
    done("apply", file, "--yes")
    assert lockgate("diff", file, "--exit-code").exit_code == 0


def test_changes_are_told_with_what_was_and_what_will_be(file: str) -> None:
    done("apply", file, "--yes")
    key = Key.generate().reveal()
    text = FILE.replace("60/minute", "70/minute").replace("name: ci", f"name: ci, key: {key}")
    Path(file).write_text(text)

    lines = done("diff", file).splitlines()
    assert lines[:3] == [
        "~ plan gold",
        "    requests: 60/minute -> 70/minute",
        "± key acme/ci (the key that it was stops working)",
    ]
    assert lines[-1] == "1 to update, 1 to replace."
    assert key not in "".join(lines)


def test_pruning_is_asked_for_and_shown(file: str) -> None:
    done("apply", file, "--yes")
    done("keys", "create", "acme", "other")

    assert done("diff", file) == "Nothing to change.\n"
    assert "- key acme/other" in done("diff", file, "--prune").splitlines()
    done("apply", file, "--prune", "--yes")
    assert [each["name"] for each in answered("keys", "list", "acme")["data"]] == ["ci"]


def test_nothing_is_applied_where_nobody_can_be_asked(file: str) -> None:
    assert "--yes" in refused("apply", file)
    assert answered("tenants", "list", "--plan", "gold")["data"] == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("plan: gold", "plan: golf", ":5: tenants.acme.plan: no plan golf; did you mean gold?"),
        ("name: ci", "nam: ci", ":8: tenants.acme.keys[0].nam: is not known here"),
        ("acme:", "wide:", ":4: tenants.wide: tenant wide is in the configuration file"),
    ],
)
def test_a_fault_of_the_file_is_told_with_its_line(
    file: str, old: str, new: str, told: str
) -> None:
    Path(file).write_text(FILE.replace(old, new))

    for command in (["diff", file], ["apply", file, "--yes"]):
        assert file + told in refused(*command)


def test_a_step_that_can_not_be_taken_is_told_and_none_is(file: str) -> None:
    Path(file).write_text(FILE.replace("name: ci", "name: ci, expires: 2020-01-01T00:00:00Z"))

    result = lockgate("apply", file, "--yes")
    assert result.exit_code == 1
    assert "lockgate: Can't create key acme/ci: This time is past." in result.stderr
    assert answered("tenants", "list", "--plan", "gold")["data"] == []


def test_a_file_that_is_not_there_is_told(file: str) -> None:
    assert "No such file" in refused("diff", file + ".bak")

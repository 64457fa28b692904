import pytest

from tests.support.command_line import answered, done, lockgate, refused

pytestmark = pytest.mark.usefixtures("store")


def test_a_tenant_is_made_shown_changed_and_deleted() -> None:
    made = answered("tenants", "create", "acme", "--plan", "free", "--title", "Acme")
    assert (made["id"], made["version"], made["models"]) == ("acme", 1, [])

    changed = answered("tenants", "update", "acme", "--model", "chat", "--model", "closed")
    assert (changed["models"], changed["title"]) == (["chat", "closed"], "Acme")
    assert answered("tenants", "show", "acme") == changed
    assert answered("tenants", "update", "acme", "--model", "")["models"] == []

    told = answered("tenants", "delete", "acme", "--yes")
    assert told == {"object": "tenant", "id": "acme", "deleted": True}
    assert "no such tenant" in refused("tenants", "show", "acme")


def test_a_tenant_is_suspended_and_resumed() -> None:
    done("tenants", "create", "acme", "--plan", "free")

    assert answered("tenants", "suspend", "acme")["suspended"] is True
    assert [each["id"] for each in answered("tenants", "list", "--suspended")["data"]] == ["acme"]
    assert answered("tenants", "resume", "acme")["suspended"] is False


def test_a_tenant_is_erased_once_that_is_meant() -> None:
    done("tenants", "create", "acme", "--plan", "free")

    assert "add --yes" in refused("tenants", "erase", "acme")
    assert "Erased tenant acme." in done("tenants", "erase", "acme", "--yes")
    assert "no such tenant" in refused("tenants", "show", "acme")


def test_tenants_are_listed_with_those_of_the_file() -> None:
    done("tenants", "create", "acme", "--plan", "free")

    heading, *lines = done("tenants", "list").splitlines()
    assert heading.split() == ["ID", "TITLE", "PLAN", "MODELS", "SUSPENDED", "SOURCE"]
    assert [(line.split()[0], line.split()[-1]) for line in lines] == [
        ("narrow", "file"),
        ("wide", "file"),
        ("acme", "database"),
    ]
    assert answered("tenants", "list")["object"] == "list"
    assert answered("tenants", "list", "--plan", "no-such")["data"] == []


def test_what_people_read_says_what_was_done() -> None:
    text = done("tenants", "create", "acme", "--plan", "free")

    assert text.splitlines()[:2] == ["Created tenant acme.", "id         acme"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["tenants", "create", "Acme!", "--plan", "free"], 2, "id: "),
        (["tenants", "create", "acme", "--plan", "no-such"], 2, "No plan is called 'no-such'"),
        (["tenants", "create", "acme", "--plan", "free", "--model", "x"], 2, "No model"),
        (["tenants", "create", "wide", "--plan", "free"], 1, "exists"),
        (["tenants", "update", "wide", "--title", "W"], 1, "configuration file"),
        (["tenants", "update", "acme"], 2, "names nothing to change"),
        (["tenants", "delete", "wide", "--yes"], 1, "configuration file"),
        (["tenants", "delete", "wide"], 2, "add --yes"),
        (["tenants", "erase", "wide", "--yes"], 1, "configuration file"),
        (["projects", "delete", "wide", "web"], 2, "add --yes"),
        (["projects", "create", "acme", "web"], 2, "no such tenant"),
    ],
)
def test_what_can_not_be_done_is_told_in_a_line(arguments: list[str], code: int, told: str) -> None:
    assert told in refused(*arguments, code=code)


def test_a_project_is_made_shown_changed_and_deleted() -> None:
    done("tenants", "create", "acme", "--plan", "free", "--model", "*")
    made = answered("projects", "create", "acme", "web", "--plan", "free", "--model", "chat")
    assert (made["tenant"], made["id"], made["models"]) == ("acme", "web", ["chat"])

    changed = answered(
        "projects", "update", "acme", "web", "--plan", "", "--model", "", "--suspended"
    )
    assert (changed["plan"], changed["models"], changed["suspended"]) == (None, None, True)
    assert answered("projects", "show", "acme", "web") == changed
    assert answered("projects", "list", "acme")["data"] == [changed]
    assert answered("projects", "list", "acme", "--active")["data"] == []

    done("projects", "delete", "acme", "web", "--yes")
    assert answered("projects", "list", "acme")["data"] == []


@pytest.mark.parametrize("group", ["tenants", "projects"])
def test_a_group_without_a_command_helps(group: str) -> None:
    assert "Usage: " in lockgate(group).output

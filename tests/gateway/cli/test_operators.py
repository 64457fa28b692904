import pytest

from tests.support.command_line import answered, done, refused

pytestmark = pytest.mark.usefixtures("store")

PASSWORD = "correct horse battery\n"


def test_an_operator_is_made_with_a_password_from_the_input() -> None:
    made = answered("operators", "create", "ada", "--role", "owner", typed=PASSWORD)

    assert (made["name"], made["role"]) == ("ada", "owner")
    assert "correct" not in done("operators", "list", "--json")


def test_an_operator_may_be_bound_to_a_tenant() -> None:
    done("tenants", "create", "acme", "--plan", "free")
    done("operators", "create", "eve", "--role", "admin", "--tenant", "acme", typed=PASSWORD)
    done("operators", "create", "ada", typed=PASSWORD)

    [eve] = answered("operators", "list", "--tenant", "acme")["data"]
    assert (eve["name"], eve["tenant"]) == ("eve", "acme")
    assert "viewer" in done("operators", "list")


def test_an_operator_gets_another_password_is_disabled_enabled_and_deleted() -> None:
    done("operators", "create", "ada", typed=PASSWORD)

    assert answered("operators", "password", "ada", typed="another one of those\n")["version"] == 2
    assert answered("operators", "disable", "ada")["disabled"] is True
    assert answered("operators", "enable", "ada")["disabled"] is False
    done("operators", "delete", "ada", "--yes")
    assert answered("operators", "list")["data"] == []


@pytest.mark.parametrize(
    ("arguments", "typed", "code", "told"),
    [
        (["create", "ada"], "short\n", 2, "password: needs at least 12 characters"),
        (["create", "ada"], "", 2, "password: needs at least 12 characters"),
        (["create", "ada", "--tenant", "no-such"], PASSWORD, 2, "tenant"),
        (["create", "bootstrap"], PASSWORD, 1, "exists"),
        (["password", "ada"], PASSWORD, 2, "no such operator"),
        (["disable", "ada"], "", 2, "no such operator"),
        (["delete", "ada"], "", 2, "add --yes"),
    ],
)
def test_what_can_not_be_done_is_told_without_the_password(
    arguments: list[str], typed: str, code: int, told: str
) -> None:
    line = refused("operators", *arguments, code=code, typed=typed)

    assert told in line
    assert "short" not in line.replace("shortest", "")
    assert "horse" not in line

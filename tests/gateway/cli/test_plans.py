import pytest

from tests.support.command_line import answered, done, refused

pytestmark = pytest.mark.usefixtures("store")


def test_a_plan_is_made_replaced_whole_and_deleted() -> None:
    made = answered("plans", "set", "gold", "--requests", "60/minute", "--concurrency", "5")
    assert (made["limits"]["requests"], made["limits"]["concurrency"]) == ("60/minute", 5)

    changed = answered("plans", "set", "gold", "--budget", "20 USD/month")
    assert (changed["version"], changed["limits"]["requests"]) == (2, None)
    assert changed["limits"]["budget"] == "20 USD/month"
    assert answered("plans", "show", "gold") == changed

    done("plans", "delete", "gold", "--yes")
    assert [each["name"] for each in answered("plans", "list")["data"]] == ["free"]


def test_limits_of_single_models_are_given_as_json() -> None:
    written = '{"models": {"chat": {"requests": "5/minute"}}}'
    made = answered("plans", "set", "gold", "--tokens", "100/minute", "--limits", written)

    assert made["limits"]["tokens"] == "100/minute"
    assert made["limits"]["models"]["chat"]["requests"] == "5/minute"
    assert "models=chat=requests=5/minute" in done("plans", "list")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["set", "gold", "--requests", "many"], 2, "'many'"),
        (["set", "gold", "--limits", "{"], 2, "--limits: is no JSON object"),
        (["set", "gold", "--limits", "[]"], 2, "--limits: is no JSON object"),
        (["set", "gold", "--limits", '{"no_such": 1}'], 2, "limits"),
        (["set", "free", "--requests", "5/minute"], 1, "configuration file"),
        (["delete", "free", "--yes"], 1, "configuration file"),
        (["delete", "free"], 2, "add --yes"),
        (["show", "gold"], 2, "no such plan"),
    ],
)
def test_what_can_not_be_done_is_told_in_a_line(arguments: list[str], code: int, told: str) -> None:
    assert told in refused("plans", *arguments, code=code)


def test_a_plan_that_a_tenant_has_is_not_deleted() -> None:
    done("plans", "set", "gold")
    done("tenants", "create", "acme", "--plan", "gold")

    assert "have this plan" in refused("plans", "delete", "gold", "--yes", code=1)

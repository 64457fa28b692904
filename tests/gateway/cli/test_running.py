import io
import sys
from pathlib import Path

import pytest
import typer

import gateway.cli.running
from gateway.cli.running import confirm, password, settings
from tests.support.command_line import refused


class Terminal(io.StringIO):
    """An input that somebody types at."""

    def isatty(self) -> bool:
        return True


def test_whoever_says_yes_is_not_asked() -> None:
    confirm("Delete everything?", yes=True)


def test_nobody_is_asked_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))

    with pytest.raises(typer.Exit) as ended:
        confirm("Delete everything?", yes=False)
    assert ended.value.exit_code == 2
    assert "add --yes" in capsys.readouterr().err


@pytest.mark.parametrize(("answer", "goes_on"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_only_a_yes_goes_on(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    goes_on: bool,
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))

    if goes_on:
        confirm("Delete everything?", yes=False)
    else:
        with pytest.raises(typer.Exit) as ended:
            confirm("Delete everything?", yes=False)
        assert ended.value.exit_code == 1
    assert "Delete" not in capsys.readouterr().out


def test_a_password_is_the_inputs_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(" with spaces \r\nand more\n"))

    read = password()
    assert read.get_secret_value() == " with spaces "
    assert "spaces" not in repr(read)


def test_a_password_is_asked_for_twice_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(
        gateway.cli.running.typer, "prompt", lambda _, **options: asked.append(options) or "typed"
    )

    assert password().get_secret_value() == "typed"
    assert asked == [{"hide_input": True, "confirmation_prompt": True, "err": True}]


def test_options_that_were_not_given_leave_the_environments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOCKGATE_HOST", "::1")

    assert settings(host=None, port=5).host == "::1"


def test_a_database_out_of_reach_is_told_and_ends_with_1(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKGATE_DATABASE_URL", f"postgresql://u:hidden@/x?host={store}")

    told = refused("tenants", "list", code=1)
    assert "hidden" not in told


def test_an_address_of_a_database_that_is_none_is_told_without_its_password(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKGATE_DATABASE_URL", "mysql://u:hidden@127.0.0.1/x")

    told = refused("tenants", "list")
    assert "LOCKGATE_DATABASE_URL" in told
    assert "hidden" not in told

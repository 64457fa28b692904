import asyncio
import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from gateway import administration
from gateway.admin.desk import Refused
from gateway.administration import COMMANDS, administer, apply, diff, migrate
from gateway.settings import Settings, StartRefused
from gateway.store.database import Database
from tests.support.application import CONFIG, KEY, NARROW_KEY, NOWHERE
from tests.support.databases import database_url, postgres_server

__all__ = ["database_url", "postgres_server"]

FILE = "tenants: {acme: {plan: free, keys: [{name: ci}]}}\n"
NOBODY: Callable[[], None] = lambda: None  # noqa: E731


@pytest.fixture
def settings(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of a migrated database of each kind."""
    for name, value in {"SIM": NOWHERE, "KEY": KEY, "NARROW": NARROW_KEY}.items():
        monkeypatch.setenv(name, value)
    return made(tmp_path, database_url)


def made(folder: Path, url: str | None = None, **more: Any) -> Settings:
    config = folder / "gateway.yaml"
    config.write_text(CONFIG)
    options = {"config": config, "state_dir": folder / "state", "database_url": url, **more}
    return Settings.model_validate(options)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "acme.yaml"
    path.write_text(FILE)
    return path


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_who_changes_something_is_the_systems_user(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("USER", "somebody-else")
    administer(settings, "create_tenant", ["acme"], {"plan": "free"}, False)
    administer(settings, "list_audit", [], {"limit": 5, "page": None}, False)

    assert f" cli:{pwd.getpwuid(os.getuid()).pw_name} " in shown(capsys)


def test_a_user_without_a_name_is_told_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 987654)

    assert administration._user() == "987654"


@pytest.mark.parametrize(
    ("names", "options", "error", "told"),
    [
        (["acme"], {"plan": "no-such"}, StartRefused, "No plan is called 'no-such'"),
        (["Acme"], {"plan": "free"}, StartRefused, "id: "),
        (["wide"], {"plan": "free"}, Refused, "exists"),
    ],
)
def test_what_is_refused_tells_whether_it_made_sense(
    settings: Settings,
    names: list[str],
    options: dict[str, str],
    error: type[StartRefused],
    told: str,
) -> None:
    with pytest.raises(StartRefused, match=told) as refused:
        administer(settings, "create_tenant", names, options, False)
    assert type(refused.value) is error


def test_a_file_is_applied_once(
    settings: Settings, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert diff(settings, file, False, False) is True
    apply(settings, file, False, NOBODY, False)
    assert diff(settings, file, False, False) is False
    assert "Applied." in shown(capsys)


def test_who_does_not_agree_changes_nothing(settings: Settings, file: Path) -> None:
    def refuse() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply(settings, file, False, refuse, False)
    assert diff(settings, file, False, False) is True


def test_what_changes_while_somebody_is_asked_is_not_overwritten(
    settings: Settings, file: Path
) -> None:
    def meanwhile() -> None:
        administer(settings, "create_tenant", ["acme"], {"plan": "free"}, False)

    with pytest.raises(Refused, match="nothing was applied"):
        apply(settings, file, False, meanwhile, False)


def test_a_fault_of_the_file_is_told_before_anybody_is_asked(
    settings: Settings, file: Path
) -> None:
    def asked() -> None:
        raise AssertionError

    file.write_text(FILE.replace("free", "no-such"))
    with pytest.raises(StartRefused, match=r"acme.yaml:1: .*no plan no-such"):
        apply(settings, file, False, asked, False)


def test_an_empty_database_is_migrated_and_taken_back(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    migrate(settings, "base", False)
    assert shown(capsys) == "The schema is empty: it was current.\n"
    migrate(settings, "base", False)
    assert shown(capsys) == "The schema is empty: nothing had to be done.\n"
    migrate(settings, None, True)
    assert '"before": "empty"' in shown(capsys)
    migrate(settings, None, False)
    assert shown(capsys) == "The schema is current: nothing had to be done.\n"


def test_the_schema_of_a_newer_lockgate_is_left_alone(
    settings: Settings, database_url: str
) -> None:
    async def advance() -> None:
        async with Database(database_url) as database, database.writing() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    asyncio.run(advance())
    for command in (
        lambda: migrate(settings, None, False),
        lambda: administer(settings, "list_plans", [], {}, False),
    ):
        with pytest.raises(StartRefused, match="of a newer Lockgate"):
            command()


def test_a_version_that_is_none_is_refused(settings: Settings) -> None:
    with pytest.raises(StartRefused, match="--downgrade: 'x' is none of base"):
        migrate(settings, "x", False)


def test_without_a_schema_postgresql_is_told_how_to_get_one(
    settings: Settings, database_url: str, file: Path
) -> None:
    migrate(settings, "base", False)

    if make_url(database_url).drivername == "sqlite":
        administer(settings, "list_plans", [], {}, False)
        return
    with pytest.raises(StartRefused, match="run `lockgate migrate`"):
        administer(settings, "list_plans", [], {}, False)


def test_in_development_a_database_and_a_pepper_are_made_for_their_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SIM": NOWHERE, "KEY": KEY, "NARROW": NARROW_KEY}.items():
        monkeypatch.setenv(name, value)
    administer(made(tmp_path), "list_plans", [], {}, False)

    for name in ("lockgate.db", "pepper"):
        assert stat.S_IMODE((tmp_path / "state" / name).stat().st_mode) == 0o600


def test_a_database_out_of_reach_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SIM": NOWHERE, "KEY": KEY, "NARROW": NARROW_KEY}.items():
        monkeypatch.setenv(name, value)
    nowhere = made(tmp_path, f"postgresql://u:hidden@/x?host={tmp_path}")

    for command in (
        lambda: administer(nowhere, "list_plans", [], {}, False),
        lambda: migrate(nowhere, None, False),
    ):
        with pytest.raises(Refused) as refused:
            command()
        assert "hidden" not in str(refused.value)


def test_every_command_can_be_called_by_its_name() -> None:
    assert all(name == function.__name__ for name, function in COMMANDS.items())

"""
The commands of administration as an operator runs them: processes of their own on the database of
a gateway that runs, which follows within a second.
"""

import errno
import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.access import Key
from tests.support.databases import postgres_server
from tests.support.postgres_server import PostgresServer
from tests.support.processes import ROOT
from tests.system.world import (
    PEPPER,
    Gateway,
    Simulator,
    bearer,
    chat,
    environment,
    gateway,
    post,
    settings,
    simulator,
    until,
)

__all__ = ["postgres_server"]

WITHIN = 1.0
"""Seconds after a command has ended in which every gateway follows."""

ASKED = "Apply? [y/N]: "
PASSWORD = "correct horse battery"

TENANTS = ("plain", "disabled", "suspended", "deleted", "rotated", "used")


@dataclass
class Shell:
    """Runs `lockgate` with the settings of a gateway."""

    folder: Path
    database: str
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.env = environment(
            LOCKGATE_CONFIG=str(self.folder / "gateway.yaml"),
            LOCKGATE_DATABASE_URL=self.database,
            LOCKGATE_STATE_DIR=str(self.folder / "state"),
            LOCKGATE_KEY_PEPPER=PEPPER,
        )

    def __call__(self, *arguments: str, typed: str = "") -> "subprocess.CompletedProcess[str]":
        """A command's result."""
        return subprocess.run(
            [sys.executable, "-m", "gateway", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=ROOT,
            env=self.env,
            input=typed,
        )

    def done(self, *arguments: str) -> str:
        """What a command prints that can be done, and nothing to standard error."""
        result = self(*arguments)
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout

    def answer(self, *arguments: str) -> Any:
        """The one JSON document that it prints."""
        return json.loads(self.done(*arguments, "--json"))

    def at_terminal(
        self, *arguments: str, says: Sequence[tuple[str, str]], first: Callable[[], object] = str
    ) -> tuple[int, str]:
        """
        The exit code and all that a person sees, who answers each question so. `first` is done
        before the first answer.
        """
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", *arguments],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            cwd=ROOT,
            env={**self.env, "TERM": "xterm-256color"},
        )
        os.close(follower)
        try:
            seen = _answered(leader, says, first)
            return process.wait(30), seen.decode()
        finally:
            process.kill()
            process.wait()
            os.close(leader)


def _answered(terminal: int, says: Sequence[tuple[str, str]], first: Callable[[], object]) -> bytes:
    """All that is shown until it ends."""
    seen = b""
    for question, answer in says:
        while not seen.endswith(question.encode()):
            seen += _read(terminal) or _ended(seen)
        first()
        first = str
        os.write(terminal, f"{answer}\n".encode())
    while piece := _read(terminal):
        seen += piece
    return seen


def _ended(seen: bytes) -> bytes:
    raise AssertionError(f"it ended without asking:\n{seen.decode()}")


def _read(terminal: int) -> bytes:
    """What comes next, nothing once whoever wrote has ended."""
    try:
        return os.read(terminal, 4096)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""


@dataclass
class World:
    """A gateway with its database, and a shell beside it."""

    server: Gateway
    shell: Shell

    def status(self, secret: str) -> int:
        """Of a chat request with that key."""
        return post(self.server, chat(max_tokens=5), **bearer(secret)).status_code

    def becomes(self, status: int, secret: str) -> float:
        """Seconds until a request with that key is answered so; too many are an error."""
        begun = time.monotonic()
        until(lambda: self.status(secret) == status, within=WITHIN)
        return time.monotonic() - begun


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with simulator(tmp_path_factory.mktemp("simulator")) as server:
        yield server


@contextmanager
def served(folder: Path, database: str, upstream: Simulator) -> Iterator[World]:
    """A gateway on that database, which the command has migrated."""
    config = settings({"sim": upstream.url})
    (folder / "gateway.yaml").write_text(json.dumps(config))
    shell = Shell(folder, database)
    assert shell.answer("migrate") == {
        "object": "migration",
        "before": "empty",
        "after": "current",
    }
    own = {"LOCKGATE_DATABASE_URL": database, "LOCKGATE_STATE_DIR": str(folder / "state")}
    with gateway(folder, config, **own) as server:
        yield World(server, shell)


@pytest.fixture(scope="module")
def world(upstream: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("gateway")
    with served(folder, f"sqlite:///{folder / 'lockgate.db'}", upstream) as world:
        yield world


@pytest.fixture(scope="module")
def keys(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A key for each tenant of a file that was applied while the gateway ran."""
    file = tmp_path_factory.mktemp("file") / "tenants.yaml"
    tenants = {
        name: {"models": ["chat"], "plan": "roomy", "keys": [{"name": "ci"}]} for name in TENANTS
    }
    file.write_text(json.dumps({"plans": {"roomy": {}}, "tenants": tenants}))
    made = world.shell.answer("apply", str(file), "--yes")["keys"]
    return {each["tenant"]: each["key"] for each in made}


def test_keys_of_an_applied_file_work_within_a_second(world: World, keys: dict[str, str]) -> None:
    for key in keys.values():
        world.becomes(200, key)


def test_a_created_key_works_within_a_second(world: World, keys: dict[str, str]) -> None:
    assert world.status(Key.generate().reveal()) == 401
    world.becomes(200, world.shell.answer("keys", "create", "plain", "other")["key"])


@pytest.mark.parametrize(
    ("undo", "status", "redo"),
    [
        (("keys", "disable", "disabled", "ci"), 401, ("keys", "enable", "disabled", "ci")),
        (("tenants", "suspend", "suspended"), 403, ("tenants", "resume", "suspended")),
        (
            ("plans", "set", "roomy", "--requests", "1/hour"),
            429,
            ("plans", "set", "roomy"),
        ),
    ],
    ids=["disabled", "suspended", "limited"],
)
def test_what_is_taken_away_stops_within_a_second_and_comes_back(
    world: World,
    keys: dict[str, str],
    undo: tuple[str, ...],
    status: int,
    redo: tuple[str, ...],
) -> None:
    key = keys.get(undo[2], keys["plain"])
    world.becomes(200, key)

    world.shell.done(*undo)
    world.becomes(status, key)
    world.shell.done(*redo)
    world.becomes(200, key)


def test_a_deleted_key_stops_within_a_second(world: World, keys: dict[str, str]) -> None:
    world.becomes(200, keys["deleted"])

    world.shell.done("keys", "delete", "deleted", "ci", "--yes")
    world.becomes(401, keys["deleted"])


def test_both_keys_work_while_one_is_rotated(world: World, keys: dict[str, str]) -> None:
    world.becomes(200, keys["rotated"])

    new = world.shell.answer("keys", "rotate", "rotated", "ci", "--overlap", "1h")["key"]
    world.becomes(200, new)
    assert world.status(keys["rotated"]) == 200


def test_usage_shows_what_was_used(world: World, keys: dict[str, str]) -> None:
    used(world, "used", keys["used"])


def used(world: World, tenant: str, key: str) -> None:
    """Use the key, and find that in the database."""
    world.becomes(200, key)

    def sums() -> Any:
        [group] = world.shell.answer("usage", "--tenant", tenant, "--by", "model")["data"] or [{}]
        return group

    # Rows are written in batches, off the path of requests.
    until(lambda: sums().get("requests") is not None, within=10)
    total = sums()
    rows = world.shell.answer("ledger", "list", "--tenant", tenant)["data"]
    assert {row["status"] for row in rows} == {200}
    assert total["requests"] == len(rows)
    for tokens in ("prompt_tokens", "completion_tokens"):
        assert total[tokens] == sum(row[tokens] for row in rows) > 0


def test_every_change_is_in_the_audit_log_which_is_sound(world: World) -> None:
    world.shell.done("tenants", "create", "audited")

    [row] = world.shell.answer("audit", "list", "--id", "audited")["data"]
    assert row["action"] == "create"
    assert row["actor"].startswith("cli:")
    assert world.shell.answer("audit", "verify")["sound"] is True


def test_no_output_holds_a_secret_but_the_one_that_shows_it(
    world: World, keys: dict[str, str]
) -> None:
    commands = (("keys", "list", "plain"), ("audit", "list"))
    printed = "".join(world.shell.done(*command, "--json") for command in commands)

    assert not [key for key in keys.values() if key[16:] in printed + world.server.output]
    assert PEPPER not in printed


def test_on_postgresql_it_is_the_same(
    upstream: Simulator, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    name = postgres_server.new_database()
    with served(tmp_path, postgres_server.url_of(name), upstream) as world:
        world.shell.done("tenants", "create", "mine", "--model", "chat")
        key = world.shell.answer("keys", "create", "mine", "ci")["key"]
        used(world, "mine", key)

        world.shell.done("keys", "disable", "mine", "ci")
        world.becomes(401, key)
    postgres_server.drop_database(name)


# At a terminal


def shown(text: str) -> str:
    """Without colours and the terminal's line ends."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r", "")


def test_apply_asks_a_person_first(world: World, tmp_path: Path) -> None:
    file = tmp_path / "asked.yaml"
    file.write_text("tenants: {asked: {title: Asked}}\n")

    code, seen = world.shell.at_terminal("apply", str(file), says=[(ASKED, "n")])
    assert code == 1
    assert "+ tenant asked\n" in shown(seen)
    assert "\x1b[32m" in seen
    assert world.shell("tenants", "show", "asked").returncode == 2

    code, seen = world.shell.at_terminal("apply", str(file), says=[(ASKED, "y")])
    assert code == 0
    assert shown(seen).endswith("Applied.\n")
    assert world.shell.answer("tenants", "show", "asked")["title"] == "Asked"


def test_what_changes_while_a_person_is_asked_is_not_overwritten(
    world: World, tmp_path: Path
) -> None:
    world.shell.done("tenants", "create", "raced", "--title", "First")
    file = tmp_path / "raced.yaml"
    file.write_text("tenants: {raced: {title: Mine}}\n")

    def meanwhile() -> None:
        world.shell.done("tenants", "update", "raced", "--title", "Theirs")

    code, seen = world.shell.at_terminal("apply", str(file), says=[(ASKED, "y")], first=meanwhile)
    assert code == 1
    assert "nothing was applied" in shown(seen)
    assert world.shell.answer("tenants", "show", "raced")["title"] == "Theirs"


def test_a_password_is_asked_for_twice_and_never_shown(world: World) -> None:
    code, seen = world.shell.at_terminal(
        "operators",
        "create",
        "ada",
        says=[("Password: ", PASSWORD), ("confirmation: ", PASSWORD)],
    )

    assert code == 0
    assert "Created operator ada." in shown(seen)
    assert PASSWORD not in seen


def test_nothing_is_cut_off_and_nothing_coloured_away_from_a_terminal(world: World) -> None:
    title = "A title that is much longer than any terminal is wide. " * 3
    world.shell.done("tenants", "create", "long", "--title", title.strip())

    text = world.shell.done("tenants", "list")
    assert title.strip() in text
    assert "\x1b" not in text

"""The demo, as somebody meets it who has just cloned the repository."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.access import Key
from tests.support.debian import command
from tests.support.processes import run
from tests.system.world import Gateway, ask, bearer, chat, data, environment, started, until

ENDS = "Ctrl+C ends the demo."


class Demo(Gateway):
    """What it says of itself."""

    @property
    def key(self) -> str:
        [found] = re.findall(r"^  key +(\S+)$", self.output, re.MULTILINE)
        return str(found)

    @property
    def command(self) -> str:
        """The curl line, as one copies it."""
        found = re.search(r"^  curl .*?'$", self.output, re.MULTILINE | re.DOTALL)
        assert found is not None
        return found.group()

    @property
    def replicas(self) -> list[int]:
        return [int(pid) for pid in re.findall(r"\(process (\d+)\)", self.output)]

    def answers(self, **fields: object) -> str:
        """What a request is told, which must have been answered."""
        asked = chat(model="chat-small", max_tokens=3, **fields)
        url = f"{self.url}/v1/chat/completions"
        return ask("POST", url, json=asked, headers=bearer(self.key)).raise_for_status().text


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    with started(Demo, folder, ("demo", "--port", "0"), environment()) as process:
        until(lambda: ENDS in process.output)
        yield process
        if process.process.poll() is None:
            process.process.send_signal(signal.SIGINT)  # its replicas are its own to end
            process.ended()


def _runs(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_it_prints_an_address_a_key_and_its_replicas(demo: Demo) -> None:
    assert f"Lockgate is ready at {demo.url}" in demo.output
    assert Key.parse(demo.key) is not None
    assert len(demo.replicas) == 2
    assert all(map(_runs, demo.replicas))


def test_its_operator_sees_what_was_used(demo: Demo) -> None:
    demo.answers()
    [line] = re.findall(r'curl "(\S+)" -H "Authorization: (.*)"', demo.output)
    url, credential = line

    def used() -> bool:
        shown = ask("GET", url, headers={"authorization": credential}).raise_for_status().json()
        return any(row["requests"] for row in shown["data"])

    until(used)


def test_the_line_that_it_prints_streams_an_answer_when_pasted(demo: Demo) -> None:
    command("curl")
    done = subprocess.run(
        ["bash"], input=demo.command, capture_output=True, text=True, timeout=30, check=True
    )

    events = data(done.stdout)
    assert events[-1] == "[DONE]"
    assert len(events) > 50
    assert all('"model":"chat-small"' in event for event in events[:-1])


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/metrics", "/health/", "/health/live"])
def test_what_a_person_may_look_at_is_open(demo: Demo, path: str) -> None:
    assert ask("GET", f"{demo.url}{path}").status_code == 200


def test_without_the_key_nothing_is_answered(demo: Demo) -> None:
    for path in ("/v1/models", "/v1/models/chat-small"):
        assert ask("GET", f"{demo.url}{path}").status_code == 401
    assert ask("POST", f"{demo.url}/v1/chat/completions", json=chat()).status_code == 401


def test_only_models_that_can_answer_are_listed(demo: Demo) -> None:
    told = ask("GET", f"{demo.url}/v1/models", headers=bearer(demo.key)).json()
    assert [model["id"] for model in told["data"]] == ["chat-small", "embed-small"]


def test_the_other_replica_takes_over_from_one_that_is_stopped(demo: Demo) -> None:
    assert demo.answers()
    os.kill(demo.replicas[0], signal.SIGTERM)
    until(lambda: not _runs(demo.replicas[0]))

    for _ in range(8):
        assert '"finish_reason"' in demo.answers()
    assert data(demo.answers(stream=True))[-1] == "[DONE]"
    assert ask("GET", f"{demo.url}/health/").json()["status"] == "degraded"
    assert ask("GET", f"{demo.url}/health/ready").status_code == 200


def test_ctrl_c_ends_it_and_its_replicas(demo: Demo) -> None:
    demo.process.send_signal(signal.SIGINT)

    assert demo.ended() == 0
    until(lambda: not any(map(_runs, demo.replicas)))
    assert "Traceback" not in demo.output


def test_a_port_that_a_replica_needs_is_told_in_one_line(tmp_path: Path) -> None:
    with started(Gateway, tmp_path, ("simulate", "--port", "9101"), environment()) as other:
        assert other.url.endswith(":9101")
        done = run("demo", "--port", "0")
    assert done.returncode == 1
    assert done.stderr.startswith("lockgate: can't listen on 127.0.0.1:9101")
    assert done.stderr.count("\n") == 1


def test_a_demo_that_is_killed_takes_its_replicas_along(tmp_path: Path) -> None:
    with started(Demo, tmp_path, ("demo", "--port", "0"), environment()) as process:
        until(lambda: ENDS in process.output)
        replicas = process.replicas
        process.process.kill()

        until(lambda: not any(map(_runs, replicas)))
    assert len(replicas) == 2

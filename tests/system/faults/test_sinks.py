"""
Rows 70, 90 and 91: what a gateway tells its operator goes nowhere, or might tell too much.
"""

import asyncio
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import httpx
import pytest

from tests.support.faulty import Peer, response
from tests.support.processes import ROOT
from tests.system import world
from tests.system.faults.upstreams import Stage, Upstream
from tests.system.world import (
    JWT_SECRET,
    KEY,
    OPERATOR,
    PEPPER,
    Gateway,
    Json,
    bearer,
    chat,
    environment,
    gateway,
    post,
    settings,
    until,
)

PIPE = 4096
"""Bytes that fit a pipe which nobody reads: a few of the log lines of so many calls."""
CALLS = 100


# Rows 70 and 90


@dataclass
class Collector:
    """A collector of spans that behaves as it is told to."""

    manner: str = "hangs"
    asked: int = 0

    async def play(self, peer: Peer) -> None:
        """One connection."""
        while await peer.request() is not None:
            self.asked += 1
            if self.manner == "resets":
                peer.reset()
                return
            if self.manner == "hangs":
                await peer.hang()
                return
            if self.manner == "drips":
                await peer.send(*(bytes([each]) for each in response()), pause=1)
                return
            await peer.send(response(status="500 Internal Server Error"))


@dataclass
class Deaf:
    """A gateway whose log lines go into a pipe that nobody reads until `listen`."""

    process: Gateway
    collector: Collector
    pipe: int
    lines: list[Json] = field(default_factory=list)

    def call(self) -> list[str]:
        """So many at once; the ids of those that were answered."""
        return asyncio.run(self._call())

    async def _call(self) -> list[str]:
        limits = httpx.Limits(max_connections=20)
        url = f"{self.process.url}/v1/chat/completions"
        async with httpx.AsyncClient(
            headers=bearer(), verify=False, timeout=30, limits=limits
        ) as client:
            answers = await asyncio.gather(*(client.post(url, json=chat()) for _ in range(CALLS)))
        return [each.headers["x-request-id"] for each in answers if each.status_code == 200]

    def is_full(self) -> bool:
        """Whether the pipe is, but for less than a line."""
        return _waiting(self.pipe) > PIPE / 2

    def spans_lost(self) -> float:
        told = self.process.metrics()
        return sum(
            told[f'lockgate_spans_total{{result="{each}"}}'] for each in ("dropped", "failed")
        )

    def listen(self) -> None:
        """From now on somebody reads, until the process ends."""
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with os.fdopen(os.dup(self.pipe), "rb") as file:
            for line in file:
                self.lines.append(json.loads(line))


def _waiting(pipe: int) -> int:
    told = fcntl.ioctl(pipe, 0x541B, b"\0\0\0\0")  # FIONREAD
    return int.from_bytes(told, sys.byteorder)


@pytest.fixture(scope="module")
def deaf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deaf]:
    folder = tmp_path_factory.mktemp("deaf")
    with ExitStack() as stack:
        stage = stack.enter_context(Stage())
        upstream, collector = Upstream(stage), Collector()
        listener = stage.listen(collector.play)
        file = folder / "gateway.yaml"
        file.write_text(json.dumps(settings({"sim": upstream.url})))
        reader, writer = os.pipe()
        stack.callback(os.close, reader)
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE)
        env = environment(
            LOCKGATE_PORT="0",
            LOCKGATE_ADMIN_TOKEN=OPERATOR,
            LOCKGATE_STATE_DIR=str(folder / "state"),
            OTEL_EXPORTER_OTLP_ENDPOINT=listener.origin,
            OTEL_EXPORTER_OTLP_TIMEOUT="1",
            OTEL_BSP_SCHEDULE_DELAY="50",
            OTEL_BSP_MAX_QUEUE_SIZE="32",
            OTEL_BSP_MAX_EXPORT_BATCH_SIZE="16",
        )
        errors = folder / "errors"
        with errors.open("wb") as told:
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "serve", "--config", str(file)],
                stdout=writer,
                stderr=told,
                cwd=ROOT,
                env=env,
            )
        os.close(writer)
        stack.callback(process.wait, 10)
        stack.callback(process.kill)
        server = Gateway(process, errors)
        server.url = world._url(server)
        yield Deaf(server, collector, reader)


def test_90_a_log_that_nobody_reads_keeps_no_request_waiting(deaf: Deaf) -> None:
    answered = [deaf.call() for _ in range(2)]
    assert [len(each) for each in answered] == [CALLS, CALLS]
    until(lambda: _waiting(deaf.pipe) > 0, within=10)
    assert len(deaf.call()) == CALLS
    assert deaf.lines == []

    deaf.listen()

    wanted = {name for each in answered for name in each}
    until(lambda: wanted <= {line.get("request_id") for line in deaf.lines}, within=10)
    told = [line["request_id"] for line in deaf.lines if line["event"] == "request"]
    assert len(told) == len(set(told))
    assert deaf.process.metrics()["lockgate_log_lines_dropped_total"] == 0


@pytest.mark.parametrize("manner", ["resets", "answers 500", "drips", "hangs"])
def test_70_a_collector_that_takes_nothing_costs_spans_and_keeps_no_request_waiting(
    deaf: Deaf, manner: str
) -> None:
    deaf.collector.manner = manner
    asked, lost = deaf.collector.asked, deaf.spans_lost()

    assert len(deaf.call()) == CALLS

    until(lambda: deaf.collector.asked > asked, within=20)
    until(lambda: deaf.spans_lost() > lost, within=20)


def test_70_90_with_neither_it_ends_when_it_is_told_to(deaf: Deaf) -> None:
    deaf.collector.manner = "hangs"
    assert len(deaf.call()) == CALLS

    deaf.process.terminate()

    assert deaf.process.ended(within=20) == 0


# Row 91

SECRETS = (KEY, KEY.split("_")[2], OPERATOR, PEPPER, JWT_SECRET)
CREDENTIAL = "canary-credential-of-a-plug-in-91ab"
PLUG_IN = """
from pydantic import BaseModel
from providers.vllm import VLLM


class Strict(BaseModel):
    messages: int


class Treacherous(VLLM):
    def encode(self, operation, body, target):
        key = self.settings.api_key.get_secret_value()
        secret = {"authorization": f"Bearer {key}", "of": self.settings}
        match target.model:
            case "message":
                raise RuntimeError(f"could not send {secret} to {self.settings.base_url}?key={key}")
            case "cause":
                try:
                    {}[key]
                except KeyError as error:
                    raise ValueError("no such key") from error
            case "group":
                raise ExceptionGroup(f"all of {key}", [OSError(key), LookupError(secret)])
            case "validation":
                Strict.model_validate(body)
            case "note":
                error = ArithmeticError("told in a note")
                error.add_note(f"while using {key}")
                raise error
            case "cut":
                raise RuntimeError("x" * 1015 + key)
            case "bytes":
                raise RuntimeError(key.encode(), repr(self.settings), vars(self))
"""
CASES = ("message", "cause", "group", "validation", "note", "cut", "bytes")
PROMPT = "canary-of-a-prompt-91"


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with a plug-in whose every fault shows what it should not."""
    folder = tmp_path_factory.mktemp("broken")
    site = folder / "site"
    information = site / "treacherous-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: treacherous\nVersion: 1.0\n"
    )
    entry = "[lockgate.providers]\ntreacherous = treacherous:Treacherous\n"
    (information / "entry_points.txt").write_text(entry)
    (site / "treacherous.py").write_text(PLUG_IN)
    config = settings({"sim": "http://127.0.0.1:9"})
    config["providers"]["sim"] |= {"kind": "treacherous", "api_key": "${CREDENTIAL}"}
    config["models"] = {
        case: {"targets": [{"provider": "sim", "model": case}], "max_output": 64} for case in CASES
    }
    path = f"{ROOT}:{site}"
    with gateway(folder, config, PYTHONPATH=path, CREDENTIAL=CREDENTIAL) as process:
        yield process


def test_91_a_fault_of_our_own_tells_the_client_nothing_and_the_log_no_secret(
    broken: Gateway,
) -> None:
    message = {"role": "user", "content": PROMPT}
    answers = [
        post(broken, {"model": case, "messages": [message], "stream": stream})
        for case in CASES
        for stream in (True, False)
    ]

    assert {each.status_code for each in answers} == {500}
    assert len({each.text for each in answers}) == 1
    for each in answers:
        assert broken.record(each.headers["x-request-id"])["error"] == "internal_error"
    until(broken.is_idle)
    metrics = httpx.get(f"{broken.url}/metrics", headers=bearer(OPERATOR), verify=False).text
    health = httpx.get(f"{broken.url}/health/", headers=bearer(OPERATOR), verify=False).text
    for told in (broken.output, metrics, health, *(f"{e.headers}{e.text}" for e in answers)):
        shown = [each for each in (*SECRETS, CREDENTIAL, PROMPT) if each in told]
        assert shown == []
    traces = broken.output.count("Traceback (most recent call last)")
    assert traces >= len(answers), "the operator learns nothing of it"


def test_91_a_part_of_a_secret_does_not_get_out_where_a_field_is_cut(broken: Gateway) -> None:
    post(broken, {"model": "cut", "messages": [{"role": "user", "content": "Hi"}]})
    until(broken.is_idle)

    for length in range(8, len(CREDENTIAL)):
        assert CREDENTIAL[:length] not in broken.output


def test_91_a_gateway_that_dies_leaves_no_core(broken: Gateway) -> None:
    limits = Path(f"/proc/{broken.pid}/limits").read_text()
    [line] = [each for each in limits.splitlines() if each.startswith("Max core file size")]
    assert line.split()[4:6] == ["0", "0"]

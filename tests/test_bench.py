"""The benchmark itself: that it runs and tells figures. What they are is for `make bench`."""

import re
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic_ns

import pytest

from tests.bench import environments
from tests.bench.bars import ON_REDIS, OURS, Bar, Figures, bars
from tests.bench.environments import NotInstalled, environment, pinned
from tests.bench.gauges import cpu_seconds, resident_mb
from tests.bench.hot_spots import table
from tests.bench.job import Measured
from tests.bench.report import ratio
from tests.bench.upstream import upstream
from tests.support.processes import ROOT

_FIGURE = r" +(\d+\.\d) +\d+\.\d +\d+\.\d +\d+\.\d\d +- +- +\d+$"


def test_the_benchmark_tells_what_a_request_and_a_chunk_cost() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--smoke"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    for contender in ("bare relay", "lockgate"):
        figures = re.findall(rf"^  {contender}{_FIGURE}", done.stdout, re.MULTILINE)
        assert len(figures) == 2, done.stdout
        assert all(float(micros) > 0 for micros in figures)
    assert "ms added at 1 connection" in done.stdout
    assert re.search(r"^(met|missed) +start to ready: .* s, at most 2", done.stdout, re.MULTILINE)
    assert "unknown  CPU per request in × rolter" in done.stdout


class TestUpstream:
    def test_a_stream_has_as_many_events_as_tokens_and_each_tells_when_it_was_sent(self) -> None:
        body = b'{"stream":true,"max_tokens":3,"stream_options":{"include_usage":true}}'

        answer = _asked(body, until=b"0\r\n\r\n", times=2)

        sent = [int(stamp) for stamp in re.findall(rb'"content":"(\d{16})"', answer)]
        assert len(sent) == 6
        assert sent == sorted(sent)
        assert 0 <= monotonic_ns() // 1000 - sent[-1] < 10_000_000
        assert answer.count(b'"usage"') == answer.count(b"data: [DONE]") == 2

    def test_a_request_is_answered_when_its_whole_body_is_there(self) -> None:
        answer = _asked(b'{"model":"m","messages":[]}', until=b'"kv_transfer_params":null}')

        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b'"usage"' in answer


def _asked(body: bytes, *, until: bytes, times: int = 1) -> bytes:
    """The answer to requests that come in two pieces each, one after the other."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
    answer = b""
    with (
        upstream() as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
    ):
        for number in range(times):
            connection.sendall(head + body[:9])
            connection.sendall(body[9:])
            while answer.count(until) <= number:
                answer += connection.recv(65536)
    return answer


class TestGauges:
    def test_a_process_is_counted_with_its_children(self) -> None:
        busy = "import sys; sum(range(2_000_000)); print(flush=True); sys.stdin.read()"
        parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"
        with subprocess.Popen(
            [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            (child,) = map(int, children.read_text().split())
            own = cpu_seconds(process.pid) - cpu_seconds(child)
            assert cpu_seconds(child) > 0.001
            assert 0 < own < cpu_seconds(process.pid)
            assert resident_mb(process.pid) > resident_mb(child) > 1
            process.communicate()


def _measured(*micros: float, median_ms: float = 0.3, p99_ms: float = 1.0) -> list[Measured]:
    return [Measured(1, 1.0, each / 1e6, median_ms, p99_ms) for each in micros]


class TestRatio:
    def test_each_round_is_compared_with_itself(self) -> None:
        rounds = {"a": _measured(100, 300, 220), "b": _measured(100, 200, 200)}

        assert ratio(rounds, "a", "b") == pytest.approx(1.1)

    def test_nothing_is_compared_with_what_was_not_measured(self) -> None:
        assert ratio({"a": _measured(100)}, "a", "rolter") is None


class TestBars:
    @staticmethod
    def _figures(micros: float) -> Figures:
        beside = {"rolter": _measured(100), "Caddy": _measured(120)}
        ours = {OURS: _measured(micros)}
        return Figures(
            requests={**beside, **ours, ON_REDIS: _measured(micros + 40)},
            large={OURS: _measured(micros * 1.5)},
            chunks={**beside, **ours, ON_REDIS: _measured(micros)},
            latency={OURS: _measured(1)},
            start_seconds=1.5,
            resident_mb=120,
        )

    def test_all_are_met_by_a_gateway_that_costs_what_rolter_does(self) -> None:
        judged = list(bars(self._figures(105)))

        assert not any(bar.is_missed for bar in judged)
        assert str(judged[0]) == (
            "met      CPU per request: 1.05 × rolter, at most 1.25, -16%; "
            "goal 1 × rolter missed (1.05); goal 1 × Caddy met (0.88)"
        )

    def test_one_that_costs_twice_as_much_misses_those_beside_rolter(self) -> None:
        missed = [bar.what for bar in bars(self._figures(200)) if bar.is_missed]

        assert missed == [
            "CPU per request",
            "CPU per request on Redis",
            "CPU per chunk",
            "CPU per chunk on Redis",
        ]

    def test_by_how_much_a_bar_is_missed_is_told(self) -> None:
        assert str(Bar("start to ready", 3.0, 2.0, "s")) == (
            "missed   start to ready: 3.00 s, at most 2, +50%"
        )


class TestHotSpots:
    def test_time_is_told_of_each_function_alone_and_with_what_it_calls(self) -> None:
        loop = "main (/a/gateway/app.py:3);Runner.run (/usr/lib/python3.11/asyncio/runners.py:118)"
        stacks = [
            f"{loop};ask (/x/site-packages/lib/a.py:1) 3",
            f"{loop};ask (/x/site-packages/lib/a.py:2);send (/x/site-packages/lib/b.py:9) 1",
            "_bootstrap (threading.py:1002);wait (threading.py:327) 96",
        ]

        told = table(stacks, 100.0).split("\n\n")

        assert told == [
            "100.0 µs of CPU, 4 looks",
            "µs in itself\n    75.0  ask (lib/a.py)\n    25.0  send (lib/b.py)",
            "µs with what it calls\n   100.0  ask (lib/a.py)\n    25.0  send (lib/b.py)",
        ]


class TestEnvironment:
    def test_what_is_installed_is_not_installed_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(environments, "FOLDER", tmp_path / ".bench")
        there = tmp_path / ".bench" / "yardsticks"
        there.mkdir(parents=True)
        wanted = ROOT / "tests" / "bench" / "requirements" / "yardsticks.txt"
        (there / "installed.txt").write_bytes(wanted.read_bytes())

        assert environment("yardsticks") == there / "bin"

    def test_what_is_pinned_is_told_by_name_and_version(self) -> None:
        assert pinned("yardsticks") == "caddyserver 2.11.7, rolter 0.1.0"

    def test_what_can_not_be_installed_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(environments, "FOLDER", tmp_path / ".bench")
        monkeypatch.setenv("PIP_NO_INDEX", "1")

        with pytest.raises(NotInstalled, match="No matching distribution"):
            environment("profile")

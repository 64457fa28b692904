import asyncio
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from gateway.app import PRODUCTION_DRAIN_DELAY, check, create_app, run
from gateway.config import ConfigError
from gateway.server import AddressInUse, bind
from gateway.settings import StartRefused
from tests.support.application import (
    CHAT,
    CHAT_PATH,
    CONFIG,
    KEY,
    NARROW_KEY,
    TOKEN,
    Exchange,
    bearer,
    built,
    client,
    configured,
    exchanged,
    logging_kept,
    running,
    settings,
    started,
)
from tests.support.processes import ROOT
from tests.support.simulator import events, eventually, running_simulator

PEPPER = "a-pepper-of-the-tests-own"
PRODUCTION: dict[str, Any] = {
    "environment": "production",
    "key_pepper": PEPPER,
    "admin_token": TOKEN,
    "jwt_secret": "j" * 32,
}
LOADED = """
import sys
import gateway.app
print(*sorted({name.split(".")[0] for name in sys.modules}))
print(*sorted(name for name in sys.modules if name.startswith("opentelemetry.sdk")))
"""


def open_files() -> set[tuple[str, str]]:
    """What this process has open, by number and kind."""
    found = set()
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the directory itself
            found.add((fd.name, fd.readlink().name))
    return found


def sockets() -> set[tuple[str, str]]:
    return {each for each in open_files() if "socket" in each[1]}


def threads() -> set[str]:
    """Threads but for those of the loop's own pool, which lives as long as the loop."""
    return {each.name for each in threading.enumerate() if not each.name.startswith("asyncio_")}


# Import and construction


def test_importing_the_application_loads_neither_redis_nor_the_tracing_sdk() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, cwd=ROOT
    )
    roots, *sdk = loaded.stdout.splitlines()

    assert "fastapi" in roots.split()
    assert not {"redis", "requests", "grpc", "providers"} & set(roots.split())
    assert sdk == [""]


def test_building_opens_nothing_and_writes_only_the_pepper(tmp_path: Path) -> None:
    before = threads(), open_files()

    gateway = built(tmp_path)

    assert (threads(), open_files()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["pepper"]
    assert gateway.admin is None


def test_building_with_a_pepper_writes_nothing(tmp_path: Path) -> None:
    built(tmp_path / "state", key_pepper=PEPPER)

    assert list(tmp_path.iterdir()) == []


def test_building_with_redis_makes_no_connection(tmp_path: Path) -> None:
    with bind("127.0.0.1", 0) as bound:
        bound.listen()
        bound.setblocking(False)
        built(tmp_path, redis_url=f"redis://127.0.0.1:{bound.getsockname()[1]}/0")
        with pytest.raises(BlockingIOError):
            bound.accept()


def test_the_configuration_is_the_file_that_the_settings_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(CONFIG)
    for name, value in {"SIM": "http://127.0.0.1:9", "KEY": KEY, "NARROW": NARROW_KEY}.items():
        monkeypatch.setenv(name, value)

    gateway = create_app(settings(tmp_path, config=file))
    check(settings(tmp_path, config=file))

    assert gateway.config == configured()


@pytest.mark.parametrize("start", [check, create_app])
def test_a_file_that_can_not_be_used_is_told_by_line(tmp_path: Path, start: Any) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("providers:\n  a: {kind: no-such, base_url: 'http://a'}\nmodels: {}\n")

    with pytest.raises(ConfigError, match=r"gateway\.yaml:2: .*no-such"):
        start(settings(tmp_path, config=file))


def test_an_address_that_is_not_redis_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="LOCKGATE_REDIS_URL") as refused:
        built(tmp_path, redis_url="ftp://user:secret@x")

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("missing", ["key_pepper", "admin_token", "jwt_secret"])
def test_production_does_not_start_without_its_secrets(tmp_path: Path, missing: str) -> None:
    for value in ("", "short"):
        with pytest.raises(ValueError, match=f"LOCKGATE_{missing.upper()} needs at least"):
            settings(tmp_path, **{**PRODUCTION, missing: value})
    assert list(tmp_path.iterdir()) == []


def test_production_waits_for_a_load_balancer_unless_told_otherwise(tmp_path: Path) -> None:
    assert built(tmp_path).patience().delay == 0
    assert built(tmp_path, **PRODUCTION).patience().delay == PRODUCTION_DRAIN_DELAY
    told = CONFIG + "http: {drain_delay: 1s, drain_timeout: 2s}\n"
    patience = built(tmp_path, told, **PRODUCTION).patience()
    assert (patience.delay, patience.drain) == (1, 2)


# The lifespan


async def test_nothing_is_left_open_however_often_it_runs(tmp_path: Path) -> None:
    async with running_simulator(answer_tokens=2) as sim:
        before = asyncio.all_tasks(), threads(), sockets()
        for _ in range(2):
            gateway = await asyncio.to_thread(built, tmp_path, sim=sim.url)
            async with started(gateway), client(gateway) as http:
                assert (await http.post(CHAT_PATH, json=CHAT)).status_code == 200
                streamed = await http.post(CHAT_PATH, json={**CHAT, "stream": True})
                assert streamed.text.endswith("data: [DONE]\n\n")
            # What was open before, by tests before this one, may have been closed meanwhile.
            assert asyncio.all_tasks() <= before[0]
            assert threads() <= before[1]
            await eventually(lambda: sockets() <= before[2], within=10)
            assert gateway.pipeline.live == gateway.pipeline.queues.taken() == 0


async def test_a_store_that_is_not_there_keeps_nobody_from_starting(tmp_path: Path) -> None:
    nowhere = {"redis_url": "redis://127.0.0.1:9/0", "log_level": "error"}
    before = asyncio.all_tasks(), threads()

    async with running(tmp_path, **nowhere) as gateway, client(gateway) as http:
        assert (await http.get("/health/live")).status_code == 200
        assert (await http.get("/health/ready")).status_code == 503

    assert (asyncio.all_tasks(), threads()) == before


async def test_a_request_is_one_line_without_its_prompt_or_its_key(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with (
        running_simulator(answer_tokens=2) as sim,
        running(tmp_path, sim=sim.url, log_level="info") as gateway,
        client(gateway) as http,
    ):
        prompt = {**CHAT, "messages": [{"role": "user", "content": "between us"}]}
        answer = await http.post(CHAT_PATH, json=prompt)
    lines = [line for line in capfd.readouterr().out.splitlines() if '"request"' in line]

    assert len(lines) == 1
    assert answer.headers["x-request-id"] in lines[0]
    assert "between us" not in lines[0]
    assert KEY not in lines[0]


async def test_a_cut_ends_requests_with_one_error_each(tmp_path: Path) -> None:
    async with (
        running_simulator(tokens_per_second=10, answer_tokens=1000) as sim,
        running(tmp_path, sim=sim.url) as gateway,
        client(gateway) as http,
        asyncio.TaskGroup() as tasks,
    ):
        ask, stream = {**CHAT, "max_tokens": 1000}, Exchange()
        whole = tasks.create_task(http.post(CHAT_PATH, json=ask))
        tasks.create_task(exchanged(gateway, orjson.dumps({**ask, "stream": True}), watched=stream))
        await eventually(lambda: sim.state()["running"] == 2, within=10)
        await eventually(lambda: len(stream.sent) > 1, within=10)
        gateway.cut()

    assert whole.result().status_code == 503
    assert whole.result().json()["error"]["code"] == "gateway_draining"
    assert stream.status == 200
    *said, last = events(stream.body.decode())
    assert said
    assert not [each for each in said if each == "[DONE]" or "error" in each]
    assert last["error"]["code"] == "gateway_draining"


async def test_in_production_the_administration_has_its_own_application(tmp_path: Path) -> None:
    gateway = await asyncio.to_thread(built, tmp_path, **PRODUCTION)

    assert gateway.admin is not None
    async with client(gateway.admin) as admin, client(gateway) as data:
        assert (await admin.get("/metrics", headers=bearer(TOKEN))).status_code == 200
        assert (await admin.get("/v1/models")).status_code == 404
        assert (await admin.post(CHAT_PATH, json=CHAT)).status_code == 404
        assert (await data.get("/v1/models")).status_code == 200


# Serving


def test_an_address_that_is_taken_is_told_and_nothing_stays_open(tmp_path: Path) -> None:
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        gateway = built(tmp_path, port=port)
        before = open_files()
        with pytest.raises(AddressInUse, match=str(port)):
            run(settings(tmp_path, port=port), gateway)
        assert open_files() == before


def test_an_administrations_address_that_is_taken_leaves_the_other_free(tmp_path: Path) -> None:
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        chosen: dict[str, Any] = {"port": 0, "admin_listen": listen}
        gateway = built(tmp_path, **chosen)
        before = open_files()
        with pytest.raises(AddressInUse, match=listen):
            run(settings(tmp_path, **chosen), gateway)
        assert open_files() == before


def test_it_serves_until_a_signal_comes(tmp_path: Path) -> None:
    chosen = settings(tmp_path, port=0)
    gateway = built(tmp_path)
    urls: list[str] = []
    statuses: list[int] = []

    def ask(url: str) -> None:
        statuses.append(httpx.get(f"{url}/health/live").status_code)
        os.kill(os.getpid(), 15)

    def ready(url: str) -> None:
        urls.append(url)
        asker.start()

    asker = threading.Thread(target=lambda: ask(urls[0]))
    with logging_kept():
        run(chosen, gateway, ready)
    asker.join()

    assert statuses == [200]
    assert threads() >= {threading.main_thread().name}

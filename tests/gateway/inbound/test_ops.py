import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.app import Gateway
from gateway.inbound.ops import PREFIXES
from tests.support.application import CHAT, CHAT_PATH, CONFIG, TOKEN, bearer, built, client, running
from tests.support.simulator import running_simulator

OPERATOR = bearer(TOKEN)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with (
        running_simulator(answer_tokens=2) as sim,
        running(tmp_path, sim=sim.url) as gateway,
    ):
        yield gateway


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with client(gateway) as http:
        yield http


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_live_and_ready_answer_anyone(http: httpx.AsyncClient, prefix: str) -> None:
    live = await http.get(f"{prefix}/live", headers={"authorization": ""})
    ready = await http.get(f"{prefix}/ready", headers={"authorization": ""})

    assert (live.status_code, live.json()) == (200, {"alive": True})
    assert ready.status_code == 200
    assert ready.json() == {"ready": True, "message": "taking requests"}


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_a_gateway_that_drains_is_alive_and_not_ready(
    gateway: Gateway, http: httpx.AsyncClient, prefix: str
) -> None:
    gateway.drain()

    live, ready = await http.get(f"{prefix}/live"), await http.get(f"{prefix}/ready")
    detail = await http.get(f"{prefix}/", headers=OPERATOR)
    answer = await http.post(CHAT_PATH, json=CHAT)

    assert live.status_code == 200
    assert (ready.status_code, ready.json()) == (503, {"ready": False, "message": "draining"})
    assert detail.json()["status"] == "draining"
    assert answer.status_code == 200  # until it stops listening


async def test_a_gateway_is_not_ready_before_it_has_met_redis(tmp_path: Path) -> None:
    nowhere = {"redis_url": "redis://127.0.0.1:9/0", "log_level": "error"}
    async with running(tmp_path, **nowhere) as gateway, client(gateway) as http:
        ready = await http.get("/health/ready")
        detail = await http.get("/health/", headers=OPERATOR)

    assert (ready.status_code, ready.json()["message"]) == (503, "waiting for redis")
    assert detail.json()["components"]["redis"]["status"] == "down"


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_the_detail_names_every_component(http: httpx.AsyncClient, prefix: str) -> None:
    answer = await http.get(f"{prefix}/", headers=OPERATOR)

    assert answer.status_code == 200
    assert answer.json().keys() == {"status", "version", "uptime", "components"}
    assert answer.json()["components"] == {
        "database": {"status": "up", "detail": ""},
        "target sim/demo-model": {"status": "up", "detail": ""},
    }


async def test_a_failing_target_shows_in_the_detail(tmp_path: Path) -> None:
    text = CONFIG + "health: {consecutive_failures: 1}\n"
    gateway = await asyncio.to_thread(built, tmp_path, text)
    async with client(gateway) as http:
        assert (await http.post(CHAT_PATH, json=CHAT)).status_code == 503
        detail = (await http.get("/health/", headers=OPERATOR)).json()

    assert detail["status"] == "degraded"
    assert detail["components"]["target sim/demo-model"]["status"] == "down"


async def test_metrics_count_what_was_answered(http: httpx.AsyncClient) -> None:
    await http.post(CHAT_PATH, json=CHAT)

    answer = await http.get("/metrics", headers=OPERATOR)

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    counted = [
        line for line in answer.text.splitlines() if line.startswith("lockgate_requests_total{")
    ]
    assert [line.rsplit(" ", 1)[1] for line in counted] == ["1.0"]
    for name in ("upstream_connections", "limiter_events_total", "log_lines_dropped_total"):
        assert f"\nlockgate_{name}" in answer.text


async def test_metrics_come_in_the_format_that_is_asked_for(http: httpx.AsyncClient) -> None:
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}

    answer = await http.get("/metrics", headers={**OPERATOR, **accept})

    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


@pytest.mark.parametrize("path", ["/metrics", "/health/", "/api/v1/health/"])
async def test_operations_may_be_made_public(tmp_path: Path, path: str) -> None:
    gateway = await asyncio.to_thread(built, tmp_path, CONFIG + "ops: {public: true}\n")
    async with client(gateway, key=None) as http:
        assert (await http.get(path)).status_code == 200

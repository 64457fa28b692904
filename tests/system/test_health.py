"""Health in three tiers, and who may see which of them, in development and in production."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import gateway as package
from tests.support.faulty import refusing_port
from tests.support.redis_server import RedisServer
from tests.system.world import (
    KEY,
    OPERATOR,
    Gateway,
    Simulator,
    ask,
    bearer,
    gateway,
    post,
    settings,
    simulator,
    until,
)

PREFIXES = ["/health", "/api/v1/health"]
LIVE = {"alive": True}
READY = {"ready": True, "message": "taking requests"}


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with simulator(tmp_path_factory.mktemp("simulator")) as server:
        yield server


@pytest.fixture(scope="module")
def development(upstream: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gone = f"http://127.0.0.1:{refusing_port()}"
    config = settings({"gone": gone, "sim": upstream.url}, health={"consecutive_failures": 1})
    with gateway(tmp_path_factory.mktemp("development"), config) as process:
        yield process


class Pair:
    """A gateway in production, whose administration has a listener of its own."""

    def __init__(self, process: Gateway, admin: str) -> None:
        self.process, self.data, self.admin = process, process.url, admin


@pytest.fixture(scope="module")
def production(upstream: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        admin = f"127.0.0.1:{free.getsockname()[1]}"
    with gateway(
        tmp_path_factory.mktemp("production"),
        settings({"sim": upstream.url}),
        LOCKGATE_ENVIRONMENT="production",
        LOCKGATE_ADMIN_LISTEN=admin,
    ) as process:
        until(lambda: _answers(f"http://{admin}/health/live"))
        yield Pair(process, f"http://{admin}")


def _answers(url: str) -> bool:
    try:
        return ask("GET", url).status_code == 200
    except httpx.ConnectError:
        return False


def as_operator(url: str) -> httpx.Response:
    return ask("GET", url, headers=bearer(OPERATOR))


@pytest.mark.parametrize("prefix", PREFIXES)
def test_live_and_ready_are_anyones_to_ask(development: Gateway, prefix: str) -> None:
    for tier, body in (("live", LIVE), ("ready", READY)):
        told = ask("GET", f"{development.url}{prefix}/{tier}")
        assert (told.status_code, told.json()) == (200, body)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_detail_names_every_component_to_the_operator_alone(
    development: Gateway, prefix: str
) -> None:
    assert post(development).status_code == 200
    told = as_operator(f"{development.url}{prefix}/").json()

    assert set(told) == {"status", "version", "uptime", "components"}
    assert told["version"] == package.__version__
    assert 0 < told["uptime"] < 600
    assert told["components"].keys() == {
        "database",
        "target gone/demo-model",
        "target sim/demo-model",
    }
    assert told["components"]["target sim/demo-model"] == {"status": "up", "detail": ""}
    assert told["components"]["target gone/demo-model"]["status"] == "down"
    assert told["status"] == "degraded"
    for headers in ({}, bearer(KEY), bearer(OPERATOR[:-1]), {"x-api-key": OPERATOR}):
        for path in (f"{prefix}/", "/metrics"):
            refused = ask("GET", f"{development.url}{path}", headers=headers)
            assert refused.status_code == 401
            assert refused.json()["error"]["code"] == "invalid_api_key"


def test_an_upstream_that_is_down_does_not_make_the_gateway_unready(development: Gateway) -> None:
    post(development)
    assert as_operator(f"{development.url}/health/").json()["status"] == "degraded"
    assert ask("GET", f"{development.url}/health/ready").json() == READY


def test_development_shows_its_documents_with_every_route(development: Gateway) -> None:
    assert ask("GET", f"{development.url}/docs").status_code == 200
    paths = ask("GET", f"{development.url}/openapi.json").json()["paths"]
    assert {
        *("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models"),
        *("/v1/models/{model}", "/health/live", "/health/ready", "/health/", "/metrics"),
    } <= paths.keys()


@pytest.mark.parametrize("prefix", PREFIXES)
def test_in_production_both_listeners_say_live_and_ready(production: Pair, prefix: str) -> None:
    for listener in (production.data, production.admin):
        assert ask("GET", f"{listener}{prefix}/live").json() == LIVE
        assert ask("GET", f"{listener}{prefix}/ready").json() == READY


@pytest.mark.parametrize("path", ["/metrics", "/health/", "/api/v1/health/"])
def test_in_production_operations_are_on_the_administrations_listener_alone(
    production: Pair, path: str
) -> None:
    assert as_operator(f"{production.admin}{path}").status_code == 200
    assert ask("GET", f"{production.admin}{path}").status_code == 401
    assert ask("GET", f"{production.admin}{path}", headers=bearer(KEY)).status_code == 401
    assert as_operator(f"{production.data}{path}").status_code == 404


def test_in_production_models_are_on_the_data_listener_alone(production: Pair) -> None:
    assert post(production.process).status_code == 200
    assert ask("GET", f"{production.data}/v1/models", headers=bearer()).status_code == 200
    for method, path in (("GET", "/v1/models"), ("POST", "/v1/chat/completions")):
        refused = ask(method, f"{production.admin}{path}", headers=bearer())
        assert refused.status_code == 404


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/redoc"])
def test_in_production_there_are_no_documents(production: Pair, path: str) -> None:
    for listener in (production.data, production.admin):
        assert as_operator(f"{listener}{path}").status_code == 404


def test_a_stop_is_told_on_both_listeners(upstream: Simulator, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        admin = f"127.0.0.1:{free.getsockname()[1]}"
    config = settings({"sim": upstream.url}, http={"drain_delay": "1s"})
    with gateway(tmp_path, config, LOCKGATE_ADMIN_LISTEN=admin) as process:
        process.terminate()
        for listener in (process.url, f"http://{admin}"):

            def is_draining(listener: str = listener) -> bool:
                return ask("GET", f"{listener}/health/ready").status_code == 503

            until(is_draining, within=0.9)
            assert ask("GET", f"{listener}/health/live").json() == LIVE
        assert as_operator(f"http://{admin}/health/").json()["status"] == "draining"
        assert process.ended() == 0


def test_until_it_has_reached_its_store_a_gateway_is_not_ready(
    upstream: Simulator, tmp_path: Path
) -> None:
    store = RedisServer()
    config = settings({"sim": upstream.url}, plan={"requests": "100/minute"})
    with gateway(tmp_path, config, LOCKGATE_REDIS_URL=store.url) as process:
        told = ask("GET", f"{process.url}/health/ready")
        assert told.status_code == 503
        assert told.json() == {"ready": False, "message": "waiting for redis"}
        with store:
            until(lambda: ask("GET", f"{process.url}/health/ready").status_code == 200)
            components = as_operator(f"{process.url}/health/").json()["components"]
            assert components["redis"] == {"status": "up", "detail": ""}

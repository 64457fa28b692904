"""The gateway in front of llama.cpp's server, reached as any host of OpenAI's dialect is."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.real.servers import MODEL, RealServer, free_port, llama
from tests.real.suite import RealServerSuite, ask, client, half_read, settings_for
from tests.system.world import Gateway, gateway, post, until

pytestmark = pytest.mark.real

DISCONNECTED = "upstream_disconnected"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    with llama(tmp_path_factory.mktemp("llama")) as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, real: RealServer) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("gateway"), settings_for(real)) as running:
        yield running


class TestLlama(RealServerSuite):
    """All that holds in front of every server."""


def _on(*names: str, **fields: Any) -> dict[str, Any]:
    """A model on those providers, in order."""
    targets = [{"provider": name, "model": MODEL} for name in names]
    return {"targets": targets, "max_output": 64, "expose_target": True, **fields}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def loading(folder: Path, port: int) -> Iterator[RealServer]:
    """A server that takes requests and is still busy with its model, for half a second."""
    with llama(folder, port=port, loaded=False) as starting:
        until(lambda: _listens(port), within=30)
        yield starting


def test_a_server_that_still_loads_is_left_for_one_that_is_ready(
    tmp_path: Path, real: RealServer
) -> None:
    port = free_port()
    config = settings_for(real)
    config["providers"]["late"] = real.provider(base_url=f"http://127.0.0.1:{port}")
    config["models"]["chat"] = _on("late", "real")

    with gateway(tmp_path / "gateway", config) as server, loading(tmp_path, port):
        answer = post(server, ask(max_tokens=2))

        assert answer.status_code == 200
        assert answer.headers["x-lockgate-target"] == f"real/{MODEL}"
        [refused, _] = server.record(answer.headers["x-request-id"])["attempts"]
        assert refused["status"] == 503


def test_a_server_that_still_loads_is_an_error_that_a_client_waits_out(
    tmp_path: Path, real: RealServer
) -> None:
    port = free_port()
    config = settings_for(real)
    config["providers"]["late"] = real.provider(base_url=f"http://127.0.0.1:{port}")
    config["models"]["chat"] = _on("late", retries={"attempts": 1})

    with gateway(tmp_path / "gateway", config) as server, loading(tmp_path, port) as late:
        refused = post(server, ask(stream=True))

        assert refused.status_code in (502, 503)
        assert refused.json()["error"]["type"] == "server_error"
        assert "Loading model" not in refused.text
        late.wait_until_healthy(60)
        assert post(server, ask(max_tokens=2)).status_code == 200


def test_a_server_that_dies_while_it_answers_ends_the_stream_with_an_error(
    tmp_path: Path,
) -> None:
    port = free_port()
    with llama(tmp_path, port=port) as doomed:
        config = settings_for(doomed)
        with gateway(tmp_path / "gateway", config) as server:
            with half_read(server) as rest:
                doomed.process.kill()
                *_, last = filter(None, rest)

            assert json.loads(last.removeprefix("data: "))["error"]["code"] == DISCONNECTED
            until(server.is_idle)
            with llama(tmp_path, port=port):  # again: pooled connections are dead
                assert post(server, ask(max_tokens=2)).status_code == 200


def test_embeddings_are_the_servers_own(tmp_path: Path, real: RealServer) -> None:
    with llama(tmp_path, "--embeddings", "--pooling", "mean") as embedder:
        config = settings_for(embedder)
        with gateway(tmp_path / "gateway", config) as server, client(server) as sdk:
            texts = ["a lock on a canal", "a ship"]
            packed = sdk.embeddings.create(model="chat", input=texts)
            plain = sdk.embeddings.create(model="chat", input=texts, encoding_format="float")
        own = embedder.ask("/v1/embeddings", {"model": MODEL, "input": texts})

    for answer in (packed, plain):
        assert answer.model == "chat"
        assert [item.embedding for item in answer.data] == [
            pytest.approx(item["embedding"], abs=1e-4) for item in own["data"]
        ]
        assert answer.usage.prompt_tokens == own["usage"]["prompt_tokens"]

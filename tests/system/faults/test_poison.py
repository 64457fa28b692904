"""Row 33: a prompt that kills every backend it meets."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle

import pytest

from tests.support.faulty import Received
from tests.support.redis_server import RedisServer
from tests.system.faults.aftermath import Aftermath
from tests.system.faults.bench import AT_LENGTH, Bench, bench, body, model
from tests.system.faults.upstreams import Reply, Stage, Upstream, cut, sanely
from tests.system.world import Json

MARKER = "divide by zero"
BACKENDS = [f"backend-{number}" for number in range(8)]
MOST = 2
"""Backends that one request may kill."""
REPLICAS = 4 if AT_LENGTH else 2


@pytest.fixture(scope="module")
def backends() -> Iterator[Upstream]:
    """All of them; which one it is follows from the credential that it is shown."""
    with Stage() as stage:
        yield Upstream(stage)


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory, backends: Upstream) -> Iterator[list[Bench]]:
    """Gateways that share a Redis."""
    urls = dict.fromkeys(BACKENDS, backends.url)
    models = {"any": model(*BACKENDS, strategy="weighted")}
    mktemp = tmp_path_factory.mktemp
    with RedisServer() as redis, ExitStack() as stack:
        config: Json = {"models": models, "limits": {"deadline": "5s"}, "ledger": {"move": "50ms"}}
        opened = (
            bench(mktemp("replica"), config, names="a", urls=urls, LOCKGATE_REDIS_URL=redis.url)
            for _ in range(REPLICAS)
        )
        benches = [stack.enter_context(each) for each in opened]
        for each in benches:  # whose connections to Redis are made on first use
            assert each.ask("any").is_whole
        yield benches


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("how", ["reset", "closed"])
def test_33_a_poisonous_prompt_kills_two_backends_at_most(
    replicas: list[Bench], backends: Upstream, how: str, *, stream: bool
) -> None:
    backends.fresh()
    for each in replicas:
        each.fresh()
    aftermath = Aftermath(*replicas)
    end = cut(rst=how == "reset")

    def kill(received: Received) -> Reply:
        return end if MARKER in json.loads(received.body)["user"] else sanely(received)

    backends.reply = kill
    poison = body("any", user=f"{MARKER} {how} {stream}", stream=stream)
    turns = cycle(replicas)

    told = [next(turns).ask_all([poison])[0] for _ in range(100 if AT_LENGTH else 12)]
    others = [next(turns).ask("any", stream=stream) for _ in range(4)]

    assert len(killed(backends)) <= MOST
    assert told[-1].status == 422
    assert told[-1].code == "request_quarantined"
    assert told[-1].headers["x-should-retry"] == "false"
    refused = [each.status == 422 for each in told]
    assert refused == sorted(refused)
    assert sum(refused) >= len(told) - MOST
    assert all(each.is_whole for each in others)
    aftermath.check()


def killed(backends: Upstream) -> set[str]:
    """The credentials with which poison was sent."""
    return {
        each.headers["authorization"] for each in backends.server.requests if MARKER in _user(each)
    }


def _user(received: Received) -> str:
    content: Json = json.loads(received.body)
    return str(content["user"])

"""
Rows 69, 77 and 89: callers who make up names, who shout, and who come again and again.
"""

import asyncio
import gc
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import httpx
import pytest

from gateway.access import Key
from tests.support.application import CHAT, CHAT_PATH, running
from tests.support.application import client as application_client
from tests.support.faulty import Peer
from tests.support.simulator import running_simulator
from tests.system.faults.answers import whole
from tests.system.faults.bench import PATIENCE, TENANT_KEY, Bench, body
from tests.system.faults.upstreams import Stage, Upstream
from tests.system.world import Gateway, Json, bearer, gateway, key, settings, until, vllm

JUNK, FIRST = 400, 100
"""Made-up names of each kind; after the first an address is refused for its wrong keys."""
ROOM = 24 * 1024
"""KiB that a process may grow by while it hears of them, most of it log lines in flight."""


# What is sent as it is


def request(
    method: str, path: str, content: bytes = b"", *, secret: str = TENANT_KEY, **headers: bytes
) -> bytes:
    """A request's bytes. A header is named with underscores."""
    lines = [f"{method} {path} HTTP/1.1\r\nhost: gateway\r\n".encode()]
    lines.append(f"authorization: Bearer {secret}\r\n".encode())
    for name, value in headers.items():
        lines.append(name.replace("_", "-").encode() + b": " + value + b"\r\n")
    lines.append(b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(content))
    return b"".join(lines) + content


def chat(**fields: object) -> bytes:
    """The body of a chat, as bytes."""
    return json.dumps(body("ab") | fields).encode()


async def answered(url: str, requests: Sequence[bytes]) -> int:
    """Send all of them, ten connections at a time; how many were answered."""
    free = asyncio.Semaphore(10)
    address = httpx.URL(url)

    async def send(some: Sequence[bytes]) -> int:
        async with free, asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            told = b""
            for each in some:
                writer.write(each)
                told += (head := await reader.readuntil(b"\r\n\r\n"))
                named = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
                if named.get(b"connection") == b"close":
                    break
                await reader.readexactly(int(named.get(b"content-length", 0)))
            writer.close()
        return told.count(b"HTTP/1.1 ")

    batches = [requests[at : at + 20] for at in range(0, len(requests), 20)]
    return sum(await asyncio.gather(*map(send, batches)))


def resident(process: Gateway) -> int:
    """KiB of memory."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    [line] = [each for each in status.splitlines() if each.startswith("VmRSS")]
    return int(line.split()[1])


# Row 69


def junk(numbers: Sequence[int]) -> list[bytes]:
    """A request with a made-up name in each place where one may stand."""
    path = "/v1/chat/completions"
    made: list[bytes] = []
    for number in numbers:
        name = f"junk-{number}"
        made += [
            request("POST", path, chat(model=name)),
            request("POST", path, chat(temperature=9, user=name)),
            request("POST", path, b"{}", secret=Key.generate(Random(number)).reveal()),
            request("POST", path, b"{}", secret=name),
            request("GET", f"/v1/models/{name}"),
            request("GET", f"/{name}?{name}={name}", x_client_request_id=name.encode()),
            request("PROPFIND", f"{path}/{name}"),
            request("POST", path, chat(model=name), x_lockgate_tags=f"{name}={name}".encode()),
        ]
    return made


def test_69_made_up_names_make_no_series_and_take_no_memory(world: Bench) -> None:
    process = world.gateway
    asyncio.run(answered(process.url, junk(range(FIRST))))
    until(process.is_idle, within=PATIENCE)
    before, began = set(process.metrics()), resident(process)

    sent = junk(range(FIRST, JUNK))
    count = asyncio.run(answered(process.url, sent))

    assert count == len(sent)
    assert set(process.metrics()) == before
    assert len(before) < 2000
    assert resident(process) - began < ROOM


def test_69_made_up_users_of_those_who_may_ask_make_no_series_either(world: Bench) -> None:
    world.ask_both("ab")
    until(world.gateway.is_idle, within=PATIENCE)
    before = set(world.gateway.metrics())

    told = world.ask_all([body("ab", user=f"made-up-{number}") for number in range(200)])

    assert all(each.is_whole for each in told)
    until(world.gateway.is_idle, within=PATIENCE)
    assert set(world.gateway.metrics()) == before


# Row 77


SERVED = 300


async def test_77_a_request_leaves_no_object_behind(tmp_path: Path) -> None:
    """The short form: in this process, where objects can be counted."""
    async with (
        running_simulator(answer_tokens=2) as sim,
        running(tmp_path, sim=sim.url, log_level="error") as app,
        application_client(app) as http,
    ):

        async def serve() -> Counter[str]:
            for number in range(SERVED):
                content = {**CHAT, "stream": number % 2 == 0, "user": f"u{number}"}
                assert (await http.post(CHAT_PATH, json=content)).status_code == 200
            await asyncio.sleep(1)  # rows are written, and forgotten
            gc.collect()
            kinds = map(type, gc.get_objects())
            return Counter(f"{each.__module__}.{each.__qualname__}" for each in kinds)

        before = await serve()
        rose = await serve() - before
    assert [name for name, count in rose.items() if count > SERVED * 3 / 4] == []


# Row 89

QUIET, EACH, NOISE = 5, 3, 40
"""Tenants that ask for little, their requests, and those of the one that does not."""


@dataclass
class Crowd:
    """A gateway before an upstream that answers one at a time, and nobody before `gate`."""

    process: Gateway
    stage: Stage
    upstream: Upstream
    gate: asyncio.Event

    async def open(self) -> None:
        """From now on it answers."""
        self.gate.set()

    def waiting(self) -> float:
        return self.process.metrics()['lockgate_provider_waiting{provider="sim"}']

    async def ask(self, client: httpx.AsyncClient, tenant: int) -> int:
        content = {**body("chat"), "user": str(tenant)}
        url = f"{self.process.url}/v1/chat/completions"
        answer = await client.post(url, json=content, headers=bearer(key(900 + tenant)))
        return answer.status_code


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    with Stage() as stage:
        upstream, gate = Upstream(stage), asyncio.Event()

        async def play(peer: Peer) -> None:
            await gate.wait()
            await peer.send(whole())

        upstream.says(play)
        config: Json = settings({"sim": upstream.url})
        config["providers"]["sim"] = vllm(
            upstream.url, max_concurrency=1, queue={"size": 500, "wait": "60s"}
        )
        config["tenants"] = {
            f"t{number}": {"models": ["*"], "keys": [{"name": "k", "key": key(900 + number)}]}
            for number in range(QUIET + 1)
        }
        with gateway(tmp_path, config) as process:
            yield Crowd(process, stage, upstream, gate)


async def test_89_a_noisy_tenant_takes_one_turn_of_its_own_before_everybody_elses(
    crowd: Crowd,
) -> None:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(verify=False, timeout=60, limits=limits) as client:
        loud = [asyncio.ensure_future(crowd.ask(client, 0)) for _ in range(NOISE)]
        await asyncio.to_thread(until, lambda: crowd.waiting() == NOISE - 1, within=PATIENCE)
        quiet = [
            asyncio.ensure_future(crowd.ask(client, tenant))
            for tenant in range(1, QUIET + 1)
            for _ in range(EACH)
        ]
        all_wait = NOISE - 1 + QUIET * EACH
        await asyncio.to_thread(until, lambda: crowd.waiting() == all_wait, within=PATIENCE)
        crowd.stage.run(crowd.open())
        told = await asyncio.gather(*loud, *quiet)

    assert set(told) == {200}
    order = [int(each["user"]) for each in crowd.upstream.bodies]
    assert len(order) == NOISE + QUIET * EACH
    for tenant in range(1, QUIET + 1):
        places = [place for place, each in enumerate(order, 1) if each == tenant]
        assert all(place <= 1 + (QUIET + 1) * n for n, place in enumerate(places, 1)), order

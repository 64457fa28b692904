"""
A gateway on Redis before three simulated servers, many callers, and weather.

`run` brings so many requests through it and hands over everything that anybody has counted.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import httpx

from tests.chaos.callers import TENANTS, Heard, Whim, ask, whims
from tests.chaos.weather import Weather
from tests.support.redis_server import RedisServer
from tests.system.world import (
    OPERATOR,
    Gateway,
    Json,
    Simulator,
    bearer,
    gateway,
    key,
    simulator,
    until,
    vllm,
)
from tests.system.world import ask as call

KEYS = {name: key(number) for number, name in enumerate(TENANTS, 900)}
AT_ONCE = 48
"""Requests on their way at once."""
SAMPLES = 10
"""How often the gateway's memory is looked at."""
SETTLED = 60.0
"""Seconds until everything is over, on a busy machine."""

Row = dict[str, Any]


@dataclass
class Scene:
    """What runs."""

    gateway: Gateway
    upstreams: list[Simulator]
    redis: RedisServer
    tight: int
    """Requests that the tenant `tight` may make."""

    def ask(self, path: str, secret: str = OPERATOR, **query: Any) -> Any:
        """What the gateway says of itself."""
        answer = call("GET", f"{self.gateway.url}{path}", params=query, headers=bearer(secret))
        return answer.raise_for_status().json()

    def rows(self) -> list[Row]:
        """All of the ledger."""
        rows: list[Row] = []
        query: Json = {"limit": 1000}
        while True:
            page = self.ask("/admin/v1/ledger", **query)
            rows += page["data"]
            if "next" not in page:
                return rows
            query["after"] = page["next"]

    def descriptors(self) -> int:
        """Open files of the gateway but for connections to upstreams and the database: pooled."""
        pooled = self.gateway.metrics()['lockgate_upstream_connections{state="open"}']
        names = []
        for each in Path(f"/proc/{self.gateway.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                names.append(str(each.readlink()))
        return sum("lockgate.db" not in name for name in names) - int(pooled)

    def memory(self) -> int:
        """Bytes that the gateway keeps in memory."""
        pages = int(Path(f"/proc/{self.gateway.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Report:
    """What was seen. `memory` holds bytes, after equal shares of the requests."""

    heard: list[Heard]
    records: dict[str, Json]
    rows: list[Row]
    left: dict[str, dict[str, int]]
    """By tenant and measure, what is gone of its limits."""
    weather: Counter[str]
    seconds: float
    tight: int
    memory: list[int] = field(default_factory=list)
    descriptors: tuple[int, int] = (0, 0)
    calm: tuple[Json, Json] = field(default_factory=lambda: ({}, {}))
    """In the calm afterwards: what the ledger and what the simulators have counted."""


@contextmanager
def scene(folder: Path, *, tight: int) -> Iterator[Scene]:
    """All of it, started and stopped."""
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        upstreams = [
            stack.enter_context(simulator(folder / name, "--answer-tokens", "24", "--seed", "1"))
            for name in "abc"
        ]
        config = _config(folder, {n: s.url for n, s in zip("abc", upstreams, strict=True)}, tight)
        process = stack.enter_context(
            gateway(folder / "gateway", config, LOCKGATE_REDIS_URL=redis.url)
        )
        yield Scene(process, upstreams, redis, tight)


def _config(folder: Path, urls: dict[str, str], tight: int) -> Json:
    folder.mkdir(exist_ok=True)
    targets = {f"{name}/demo-model": {"input": 1, "output": 2} for name in urls}
    (folder / "prices.yaml").write_text(json.dumps({"targets": targets}))
    plenty = {"tokens": "1000000000/month", "budget": "1000000 USD/month", "concurrency": AT_ONCE}
    tenants = {
        name: {"plan": name, "models": ["*"], "keys": [{"name": "ci", "key": secret}]}
        for name, secret in KEYS.items()
    }
    return {
        "providers": {name: vllm(url) for name, url in urls.items()},
        "models": {
            "chat": {
                "strategy": "weighted",
                "targets": [{"provider": name, "model": "demo-model"} for name in urls],
                "max_output": 64,
                "timeouts": {"first_content": "1s", "stall": "1s", "total": "6s"},
            }
        },
        "plans": {
            "storm": {**plenty, "requests": "100000000/month"},
            "tight": {**plenty, "requests": f"{tight}/month"},
        },
        "tenants": tenants,
        "pricing": {"file": str(folder / "prices.yaml")},
        "limits": {"on_store_error": "refuse"},
        "ledger": {"flush": "50ms"},
        "health": {"cool_down": "200ms", "max_cool_down": "1s", "credential_cool_down": "200ms"},
    }


def run(scene: Scene, requests: int, seed: int, say: Callable[[str], None]) -> Report:
    """So many requests in that weather, and then a few in calm."""
    chance = Random(seed)
    before = scene.descriptors()
    heard, weather, memory, seconds = asyncio.run(_storm(scene, requests, chance, say))
    until(scene.gateway.is_idle, within=SETTLED)
    records = _records(scene, {each.id for each in heard if each.id})
    report = Report(
        heard,
        records,
        _rows(scene, records),
        {name: _gone(scene, secret) for name, secret in KEYS.items()},
        weather,
        seconds,
        scene.tight,
        memory,
    )
    report.calm = _calm(scene)
    with suppress(TimeoutError):
        until(lambda: scene.descriptors() <= before, within=SETTLED)
    report.descriptors = before, scene.descriptors()
    return report


async def _storm(
    scene: Scene, requests: int, chance: Random, say: Callable[[str], None]
) -> tuple[list[Heard], Counter[str], list[int], float]:
    heard: list[Heard] = []
    memory = []
    asked = islice(whims(chance), requests)
    started = time.monotonic()
    async with Weather(Random(chance.random()), scene.upstreams, scene.redis) as weather:
        for part in range(SAMPLES):
            share = list(islice(asked, requests // SAMPLES))
            heard += await _all(scene, share)
            memory.append(scene.memory())
            say(f"{(part + 1) / SAMPLES:4.0%}  {len(heard):>8,} requests, {_of(heard)}")
        return heard, weather.seen, memory, time.monotonic() - started


async def _all(scene: Scene, asked: Sequence[Whim]) -> list[Heard]:
    url = f"{scene.gateway.url}/v1/chat/completions"
    left = iter(asked)
    heard: list[Heard] = []

    async def caller(client: httpx.AsyncClient) -> None:
        for whim in left:
            heard.append(await ask(client, url, KEYS[whim.tenant], whim))  # noqa: PERF401 - shared

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=AT_ONCE)
    async with (
        httpx.AsyncClient(verify=False, timeout=60, limits=limits) as client,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(AT_ONCE):
            group.create_task(caller(client))
    return heard


def _of(heard: Sequence[Heard]) -> str:
    counts = Counter(each.ending for each in heard)
    return ", ".join(f"{counts[name]:,} {name}" for name in sorted(counts))


def _records(scene: Scene, wanted: set[str]) -> dict[str, Json]:
    """The log's line of each request, as soon as all of them are there."""
    until(
        lambda: wanted <= {each["request_id"] for each in scene.gateway.records()}, within=SETTLED
    )
    lines = scene.gateway.records()
    records = {each["request_id"]: each for each in lines}
    assert len(records) == len(lines), "a request was told twice"
    return records


def _rows(scene: Scene, records: dict[str, Json]) -> list[Row]:
    """The ledger's rows, as soon as those of all requests that were sent are there."""
    sent = {name for name, each in records.items() if each["attempts"]}
    until(lambda: sent <= {each["request_id"] for each in scene.rows()}, within=SETTLED)
    return scene.rows()


def _gone(scene: Scene, secret: str) -> dict[str, int]:
    limits = scene.ask("/v1/limits", secret)["data"]
    return {each["measure"]: each["limit"] - each["remaining"] for each in limits}


def _calm(scene: Scene) -> tuple[Json, Json]:
    """A few requests with nothing in their way: what both sides count of them."""
    before = _produced(scene)
    known = {row["request_id"] for row in scene.rows()}
    url = f"{scene.gateway.url}/v1/chat/completions"
    until(lambda: _is_well(scene, url), within=SETTLED)
    message = [{"role": "user", "content": "Is it over?"}]
    for number in range(20):
        body = {"model": "chat", "messages": message, "stream": number % 2 == 0}
        call("POST", url, json=body, headers=bearer(KEYS["storm"])).raise_for_status()
    asked = _produced(scene)["requests"] - before["requests"]
    until(lambda: len(scene.rows()) >= len(known) + asked, within=SETTLED)
    rows = [row for row in scene.rows() if row["request_id"] not in known]
    after = _produced(scene)
    counted = {name: after[name] - before[name] for name in after}
    kept = {
        "requests": sum(len(row["attempts"]) for row in rows),
        "prompt_tokens": sum(row["prompt_tokens"] for row in rows),
        "completion_tokens": sum(row["completion_tokens"] for row in rows),
    }
    return kept, counted


def _is_well(scene: Scene, url: str) -> bool:
    """Whether every upstream takes requests again, as far as the gateway knows."""
    told = call("POST", url, json=_HELLO, headers=bearer(KEYS["storm"]))
    states = scene.gateway.metrics()
    up = [v for name, v in states.items() if name.startswith("lockgate_target_up")]
    return told.status_code == 200 and all(up)


_HELLO: Json = {"model": "chat", "messages": [{"role": "user", "content": "Hello?"}]}


def _produced(scene: Scene) -> dict[str, int]:
    states = [each.state() for each in scene.upstreams]
    names = ("requests", "prompt_tokens", "completion_tokens")
    return {name: sum(state[name] for state in states) for name in names}

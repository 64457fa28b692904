"""What happens to the upstreams and to Redis meanwhile: drawn by chance, the same for one seed."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Self

import httpx
import redis

from tests.support.redis_server import RedisServer
from tests.system.world import Json, Simulator

RULES: dict[str, Json] = {
    "well": {},
    "unavailable": {"kind": "status", "status": 503, "probability": 0.5},
    "failing": {"kind": "status", "status": 500, "probability": 0.3},
    "limited": {"kind": "status", "status": 429, "retry_after": 0.2, "probability": 0.5},
    "no credential": {"kind": "status", "status": 401, "probability": 0.2},
    "captive": {"kind": "html", "probability": 0.3},
    "moved": {"kind": "redirect", "probability": 0.3},
    "refusing": {"kind": "refuse", "probability": 0.5},
    "slow": {"kind": "delay", "seconds": 0.5, "after": 2, "probability": 0.3},
    "stalling at once": {"kind": "stall", "silent": True, "probability": 0.1},
    "stalling": {"kind": "stall", "after": 3, "probability": 0.1},
    "cutting": {"kind": "cut", "after": 4, "mid_event": True, "probability": 0.5},
    "resetting": {"kind": "reset", "after": 2, "probability": 0.5},
    "babbling": {"kind": "garbage", "after": 3, "probability": 0.4},
    "erring": {"kind": "error_event", "after": 2, "probability": 0.4},
    "unfinished": {"kind": "no_done", "after": 3, "probability": 0.5},
    "aborting": {"kind": "abort", "after": 3, "probability": 0.5},
}
LONGEST_PAUSE = 1.2
"""Seconds for which a process is stopped at most."""


class Weather:
    """`async with`: it changes until the block is left, and then all is well. `seen` counts."""

    def __init__(self, chance: Random, upstreams: Sequence[Simulator], store: RedisServer) -> None:
        self.seen: Counter[str] = Counter()
        self._chance = chance
        self._upstreams = upstreams
        self._redis = store
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._change())
        return self

    async def __aexit__(self, *raised: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        async with _client() as client:
            for each in self._upstreams:
                await _put(client, each, {})

    async def _change(self) -> None:
        async with _client() as client:
            while True:
                await asyncio.sleep(self._chance.uniform(0.1, 0.6))
                upstream = self._chance.choice(self._upstreams)
                match self._chance.random():
                    case draw if draw < 0.08:
                        self.seen["upstream stopped"] += 1
                        await self._pause(
                            partial(_stop, upstream.pid), partial(_go_on, upstream.pid)
                        )
                    case draw if draw < 0.12:
                        self.seen["Redis stopped"] += 1
                        await self._pause(self._redis.freeze, self._redis.thaw)
                    case draw if draw < 0.16:
                        self.seen["scripts flushed"] += 1
                        await asyncio.to_thread(_flush, self._redis.url)
                    case _:
                        name = self._chance.choice(tuple(RULES))
                        self.seen[name] += 1
                        await _put(client, upstream, RULES[name])

    async def _pause(self, stop: Callable[[], None], go_on: Callable[[], None]) -> None:
        stop()
        try:
            await asyncio.sleep(self._chance.uniform(0.1, LONGEST_PAUSE))
        finally:
            go_on()


def _stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


def _go_on(pid: int) -> None:
    os.kill(pid, signal.SIGCONT)


def _flush(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.script_flush()


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=False, timeout=30)


async def _put(client: httpx.AsyncClient, upstream: Simulator, rule: Json) -> None:
    rules = [rule] if rule else []
    (await client.put(f"{upstream.url}/simulator/faults", json=rules)).raise_for_status()

"""
Two workers beside one, with limits and the ledger's stream on Redis: what a request costs, and
whether what was counted is right in the end.

Two have twice the connections: with as many as one has, fewer of each worker's requests would share
a trip to Redis, which is the price of having little to do.
"""

import argparse
import re
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from statistics import median

import orjson
import uvloop

from gateway.access import Key
from tests.bench import report, rotation
from tests.bench.contenders import (
    PUBLIC_MODEL,
    Contender,
    NotStarted,
    configured_gateway,
    upstream,
)
from tests.bench.gauges import cpu_seconds
from tests.bench.upstream import MODEL
from tests.support.redis_server import RedisServer

RATIO = 1.15
"""What a request may cost with two workers, as a multiple of what it costs with one."""
ROUNDS = 5
TOKENS = 70
"""Of each request, as the upstream says."""
SETTLED = 30.0
"""
Seconds until what was answered is counted everywhere: where Redis was too busy to answer in time,
workers admit by themselves, and put that back when it has answered again.
"""

_CONFIG = """\
ops: {{public: true}}
providers:
  upstream: {{kind: vllm, base_url: "http://127.0.0.1:{upstream}", max_concurrency: 10000}}
models:
  {public}: {{targets: [{{provider: upstream, model: "{model}"}}], max_output: 4096}}
plans:
  default: {{requests: 100000000/day, tokens: 10000000000/day, concurrency: 10000}}
tenants:
  bench: {{plan: default, models: ["*"], keys: [{{name: bench, key: "{key}"}}]}}
"""
_LEFT = re.compile(r"x-ratelimit-remaining-(requests|tokens): (\d+)")


@dataclass(frozen=True)
class Counted:
    """Requests and tokens, by whoever counts them."""

    requests: int
    tokens: int

    def __sub__(self, other: "Counted") -> "Counted":
        return Counted(self.requests - other.requests, self.tokens - other.tokens)

    def __str__(self) -> str:
        return f"{self.requests} requests, {self.tokens} tokens"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where two workers cost more than they may, or count wrongly."""
    options = _options(arguments)
    print(f"{report.machine()}\n")
    try:
        with _both() as (one, two):
            metrics, limits = _by_metrics(two), _by_limits(two)
            one_each, two_each = _in_turn(one, two, options.requests)
            sent = ROUNDS * options.requests + 1  # and the one that told what is left
            by_metrics = _by_metrics_once(two, metrics.requests + sent) - metrics
            by_limits = _by_limits_once(two, limits.requests + sent) - limits
    except (NotStarted, ConnectionError, TimeoutError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    expected = Counted(sent, sent * TOKENS)
    ratio = median(mine / other for mine, other in zip(two_each, one_each, strict=True))
    print(
        f"{'µs of CPU per request':<30}{'median':>8}{'×':>7}\n"
        f"  {'one worker':<28}{median(one_each):>8.1f}{1:>7.2f}\n"
        f"  {'two workers':<28}{median(two_each):>8.1f}{ratio:>7.2f}\n\n"
        f"sent          {expected}\nby limits     {by_limits}\nby metrics    {by_metrics}"
    )
    if by_limits != expected or by_metrics != expected:
        print("what was counted is wrong")
        return 1
    if ratio > RATIO and not options.smoke:
        print(f"over the bar: with two workers a request costs {ratio:.2f} × as much")
        return 1
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.workers", description=__doc__)
    parser.add_argument("--requests", type=int, default=4000, help="of each in each round")
    parser.add_argument("--smoke", action="store_true", help="no figure is too high")
    return parser.parse_args(arguments)


@contextmanager
def _both() -> Iterator[tuple[Contender, Contender]]:
    """A gateway with one worker and another with two, each with a Redis of its own."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lockgate-bench-")))
        port = stack.enter_context(upstream())

        def started(name: str, workers: int) -> Contender:
            own = directory / name
            own.mkdir()
            key = Key.generate().reveal()
            text = _CONFIG.format(upstream=port, public=PUBLIC_MODEL, model=MODEL, key=key)
            redis = stack.enter_context(RedisServer())
            env = {"LOCKGATE_REDIS_URL": redis.url, "LOCKGATE_WORKERS": str(workers)}
            return stack.enter_context(configured_gateway(name, text, key, own, env))

        yield started("one", 1), started("two", 2)


def _in_turn(one: Contender, two: Contender, count: int) -> tuple[list[float], list[float]]:
    """µs of CPU of a request with each, in each round."""
    micros: dict[int, list[float]] = {one.pid: [], two.pid: []}
    for _ in range(ROUNDS):
        for workers, each in ((1, one), (2, two)):
            began = cpu_seconds(each.pid)
            _send(each, count, connections=workers * rotation.CONNECTIONS)
            micros[each.pid].append((cpu_seconds(each.pid) - began) * 1e6 / count)
    return micros[one.pid], micros[two.pid]


def _send(contender: Contender, count: int, *, connections: int) -> None:
    body = _chat()
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{contender.port}\r\n"
        f"authorization: Bearer {contender.key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body
    requests = repeat(request, count)
    uvloop.run(rotation.send(contender.port, requests, count=count, connections=connections))


def _chat() -> bytes:
    chat = {
        "model": PUBLIC_MODEL,
        "messages": [{"role": "user", "content": "In one sentence: what does a lock gate do?"}],
        "max_tokens": 64,
    }
    return orjson.dumps(chat)


def _by_limits(contender: Contender) -> Counted:
    """What all requests have taken, by the headers of one more: the negative of what is left."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{contender.port}/v1/chat/completions",
        data=_chat(),
        headers={
            "authorization": f"Bearer {contender.key}",
            "content-type": "application/json",
        },
    )
    with urllib.request.urlopen(request) as answer:
        left = dict(_LEFT.findall(str(answer.headers)))
    return Counted(-int(left["requests"]), -int(left["tokens"]))


def _by_limits_once(contender: Contender, requests: int) -> Counted:
    """What so many requests have taken once all of it is counted, or after a while."""
    deadline = time.monotonic() + SETTLED
    asked = 0
    while (taken := _by_limits(contender) - Counted(asked, asked * TOKENS)).requests < requests:
        if time.monotonic() > deadline:
            break
        asked += 1
        time.sleep(1)
    return taken


def _by_metrics_once(contender: Contender, requests: int) -> Counted:
    """What metrics have counted once so many requests have ended, or after a while."""
    deadline = time.monotonic() + SETTLED
    while (counted := _by_metrics(contender)).requests < requests and time.monotonic() < deadline:
        time.sleep(0.1)
    return counted


def _by_metrics(contender: Contender) -> Counted:
    with urllib.request.urlopen(f"http://127.0.0.1:{contender.port}/metrics") as answer:
        text = answer.read().decode()

    def total(name: str) -> int:
        return round(sum(map(float, re.findall(rf"^{name}{{.*}} (\S+)$", text, re.MULTILINE))))

    return Counted(total("lockgate_requests_total"), total("lockgate_tokens_total"))


if __name__ == "__main__":
    sys.exit(main())

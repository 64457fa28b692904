"""
A gateway that has much of something: tenants, models or targets; and load that goes through all.

Tenants are in its database, as they would be; one in its file proves that it works.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path

import orjson
import uvloop
from sqlalchemy import create_engine, insert

from gateway.access import Key, Pepper
from gateway.store.tables import keys, tenants
from tests.bench import rotation
from tests.bench.contenders import PUBLIC_MODEL, Contender, configured_gateway
from tests.bench.gauges import cpu_seconds
from tests.bench.upstream import MODEL

_PEPPER = "a pepper of the benchmark"
_RATES = {"requests": "100000000/minute", "tokens": "1000000000000/minute", "concurrency": 10000}


@dataclass(frozen=True)
class Extent:
    """How much there is of everything."""

    name: str
    tenants: int = 1
    models: int = 1
    targets: int = 1
    strategy: str = "ordered"


@dataclass(frozen=True)
class Grown:
    """A running gateway of some extent. `requests` never end, and go round all of it."""

    contender: Contender
    requests: Iterator[bytes]

    def micros(self, count: int) -> float:
        """µs of CPU of each of the next so many requests."""
        began = cpu_seconds(self.contender.pid)
        uvloop.run(rotation.send(self.contender.port, islice(self.requests, count), count=count))
        return (cpu_seconds(self.contender.pid) - began) * 1e6 / count


@contextmanager
def grown(extent: Extent, upstream_port: int, directory: Path) -> Iterator[Grown]:
    """
    Start it.

    Raises:
        NotStarted: it did not come up, or a feature is off.
    """
    own = directory / extent.name
    own.mkdir()
    key = Key.generate().reveal()
    text = orjson.dumps(_configuration(extent, upstream_port, key)).decode()
    env = {"LOCKGATE_KEY_PEPPER": _PEPPER}
    with configured_gateway(extent.name, text, key, own, env) as contender:
        of_tenants = [Key.generate() for _ in range(extent.tenants)]
        _fill(own / "state" / "lockgate.db", of_tenants)
        pairs = zip(cycle(of_tenants), cycle(_models(extent)), strict=False)
        count = max(extent.tenants, extent.models)
        round_all = [_request(each.reveal(), model) for each, model in islice(pairs, count)]
        yield Grown(contender, cycle(round_all))


def _models(extent: Extent) -> list[str]:
    return [PUBLIC_MODEL, *(f"{PUBLIC_MODEL}-{n}" for n in range(1, extent.models))]


def _configuration(extent: Extent, upstream_port: int, key: str) -> dict[str, object]:
    provider = {
        "kind": "vllm",
        "base_url": f"http://127.0.0.1:{upstream_port}",
        "max_concurrency": 10000,
    }
    model = {
        "targets": [{"provider": f"replica-{n}", "model": MODEL} for n in range(extent.targets)],
        "strategy": extent.strategy,
        "max_output": 4096,
    }
    file_key = {"name": "bench", "key": key}
    return {
        "providers": {f"replica-{n}": provider for n in range(extent.targets)},
        "models": dict.fromkeys(_models(extent), model),
        "plans": {"default": _RATES},
        "tenants": {"bench": {"models": ["*"], "keys": [file_key]}},
    }


def _fill(database: Path, of_tenants: Sequence[Key]) -> None:
    """A tenant with one key for each of these."""
    now = datetime.now(UTC)
    pepper = Pepper(_PEPPER.encode())
    kept = {"version": 1, "created": now, "updated": now}
    engine = create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        connection.execute(
            insert(tenants),
            [
                {"id": f"tenant-{n}", "plan": "default", "models": ["*"], **kept}
                for n in range(len(of_tenants))
            ],
        )
        connection.execute(
            insert(keys),
            [
                {
                    "public_id": key.public_id,
                    "tenant": f"tenant-{n}",
                    "name": "bench",
                    "digest": key.digest(pepper),
                    "pepper": pepper.name,
                    "scopes": ["inference"],
                    "networks": [],
                    **kept,
                }
                for n, key in enumerate(of_tenants)
            ],
        )
    engine.dispose()


def _request(key: str, model: str) -> bytes:
    chat = {
        "model": model,
        "messages": [{"role": "user", "content": "In one sentence: what does a lock gate do?"}],
        "max_tokens": 64,
    }
    body = orjson.dumps(chat)
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body

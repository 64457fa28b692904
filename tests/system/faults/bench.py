"""
A gateway before upstreams that lie, and its callers.

One gateway serves many tests, each of which leaves it as it was; `aftermath.py` says whether.
"""

import asyncio
import json
import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

import httpx

from gateway.access import Key
from tests.support.faulty import refusing_port
from tests.support.toxic import Line, Toxic
from tests.system.faults.upstreams import Stage, Upstream
from tests.system.world import (
    FORGIVING,
    OPERATOR,
    Gateway,
    Json,
    bearer,
    gateway,
    until,
    vllm,
)

TENANT_KEY = Key.generate(Random(4711)).reveal()
PROMPT = "canary-prompt-8c1f: what did the fox say?"
PLACES = 64
"""Requests that an upstream may have in flight."""
PATIENCE = 20.0
"""Seconds for what is not promised any time, on a machine that is busy."""
PATIENT = 1.0
"""Seconds that a gateway waits for upstreams which say nothing."""
PLAN: Json = {
    "requests": "1000000/month",
    "tokens": "1000000000/month",
    "budget": "1000000 USD/month",
    "concurrency": 3 * PLACES,
}
SOON = 0.0001
FORGETTING: Json = FORGIVING | {
    "max_retry_after": SOON,
    "credential_cool_down": SOON,
    "quota_cool_down": SOON,
}
"""Health after which the next request finds all targets up again."""
PRICE: Json = {"input": 1, "output": 2}
"""USD per million tokens."""

AT_LENGTH = "AT_LENGTH" in os.environ
"""Whether tests shall run at the size that FAILURES.md gives them, which takes minutes."""

NONE: Mapping[str, Any] = MappingProxyType({})

_numbers = count()


def credential(name: str) -> str:
    """What the gateway shows to the upstream of that name."""
    return f"canary-credential-of-{name}-5d20"


@dataclass(frozen=True)
class Told:
    """What a client was told."""

    status: int
    headers: httpx.Headers
    text: str

    @property
    def id(self) -> str:
        """The request's."""
        return str(self.headers["x-request-id"])

    @property
    def attempts(self) -> int:
        return int(self.headers["x-lockgate-attempts"])

    @property
    def events(self) -> list[Any]:
        """The events of a stream; the end marker is None."""
        return [None if each == "[DONE]" else json.loads(each) for each in _data(self.text)]

    @property
    def error(self) -> Json | None:
        """The error: the body's, or the last event's."""
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            last = self.events[-1]
        else:
            last = json.loads(self.text)
        error: Json | None = (last or {}).get("error")
        return error

    @property
    def code(self) -> str | None:
        """The error's code, None for none."""
        return None if self.error is None else self.error["code"]

    @property
    def said(self) -> str:
        """The text of all deltas, or of a whole answer."""
        if not self.headers["content-type"].startswith("text/event-stream"):
            return str(json.loads(self.text)["choices"][0]["message"]["content"])
        choices = [each for event in self.events if event for each in event.get("choices", ())]
        return "".join(each["delta"].get("content") or "" for each in choices)

    @property
    def is_whole(self) -> bool:
        """Whether it succeeded, to its very end."""
        if self.status != 200 or self.error is not None:
            return False
        streamed = self.headers["content-type"].startswith("text/event-stream")
        return not streamed or self.events[-1] is None


def _data(stream: str) -> Iterator[str]:
    """The data of each event that has any, as a browser reads it."""
    lines = stream.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for block in lines.split("\n\n"):
        fields = [line.partition(":") for line in block.split("\n")]
        if told := [value.removeprefix(" ") for name, _, value in fields if name == "data"]:
            yield "\n".join(told)


@dataclass
class Bench:
    """The gateway, its upstreams by name, a line to the first of them that is as bad as a test
    wants it, and what clients were told since the last test."""

    gateway: Gateway
    stage: Stage
    upstreams: dict[str, Upstream]
    line: Line
    heard: list[Told] = field(default_factory=list)
    _lines: dict[str, Json] = field(default_factory=dict)
    _read: int = 0

    @property
    def a(self) -> Upstream:
        return self.upstreams["a"]

    @property
    def b(self) -> Upstream:
        return self.upstreams["b"]

    @property
    def c(self) -> Upstream:
        return self.upstreams["c"]

    def ask(self, model: str, **fields: Any) -> Told:
        """One chat."""
        [told] = self.ask_all([body(model, **fields)])
        return told

    def ask_both(self, model: str, **fields: Any) -> list[Told]:
        """One streamed chat and a whole one."""
        return self.ask_all([body(model, **fields, stream=stream) for stream in (True, False)])

    def ask_cases(
        self, model: str, cases: Sequence[str], *, at_once: int = 32, **fields: Any
    ) -> dict[str, Told]:
        """A chat for each case, many at once."""
        bodies = [body(model, user=case, **fields) for case in cases]
        return dict(zip(cases, self.ask_all(bodies, at_once=at_once), strict=True))

    def ask_all(
        self, bodies: Sequence[Json], *, at_once: int = 32, pause: float = 0.0
    ) -> list[Told]:
        """All of these, each caller with a pause of up to so many seconds; what each was told."""
        told = asyncio.run(_ask_all(self.gateway.url, bodies, at_once, pause))
        self.heard += told
        return told

    def lines(self) -> dict[str, Json]:
        """The log lines of all requests so far, by their ids, in their order; each is read once."""
        with self.gateway.printed.open("rb") as file:
            file.seek(self._read)
            written = file.read().rpartition(b"\n")[0]
        self._read += len(written) + bool(written)
        for line in written.splitlines():
            if line.startswith(b"{") and (told := json.loads(line))["event"] == "request":
                assert told["request_id"] not in self._lines, "a request was told twice"
                self._lines[told["request_id"]] = told
        return self._lines

    def record(self, told: Told) -> Json:
        """The log line of that request, as soon as it is there."""
        until(lambda: told.id in self.lines(), within=PATIENCE)
        return self._lines[told.id]

    def rows(self, told: Sequence[Told]) -> list[Json]:
        """The ledger's rows of those requests, in their order; of the last thousand that it has."""

        def found() -> dict[str, Json]:
            page = self.get("/admin/v1/ledger", limit=1000)["data"]
            return {each["request_id"]: each for each in page}

        wanted = [each.id for each in told]
        until(lambda: found().keys() >= set(wanted), within=PATIENCE)
        rows = found()
        return [rows[each] for each in wanted]

    def alerts(self, provider: str) -> list[str]:
        """What its operator was told of a provider, as soon as there is anything."""

        def told() -> list[str]:
            alerts = self.gateway.records("target_alert")
            return [each["reason"] for each in alerts if each["provider"] == provider]

        until(lambda: bool(told()), within=PATIENCE)
        return told()

    def fresh(self) -> None:
        """All upstreams are well, and nobody has been told anything."""
        for each in self.upstreams.values():
            each.fresh()
        self.line.toxic = Toxic()
        self.heard.clear()

    def get(self, path: str, *, secret: str = OPERATOR, **query: Any) -> Any:
        """What an own or an administrative route says."""
        url = f"{self.gateway.url}{path}"
        with httpx.Client(verify=False, timeout=30) as client:
            answer = client.get(url, params=query, headers=bearer(secret))
        return answer.raise_for_status().json()


def body(model: str, **fields: Any) -> Json:
    """A chat that resembles no other."""
    message = {"role": "user", "content": PROMPT}
    return {"model": model, "messages": [message], "user": f"u{next(_numbers)}", **fields}


def _client() -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncClient(headers=bearer(TENANT_KEY), verify=False, timeout=60, limits=limits)


async def _ask_all(url: str, bodies: Sequence[Json], at_once: int, pause: float) -> list[Told]:
    free = asyncio.Semaphore(at_once)
    chance = Random(len(bodies))

    async def ask(content: Json) -> Told:
        async with free:
            await asyncio.sleep(pause * chance.random())
            answer = await client.post(f"{url}/v1/chat/completions", json=content)
        return Told(answer.status_code, answer.headers, answer.text)

    async with _client() as client:
        return list(await asyncio.gather(*map(ask, bodies)))


# The gateway


@contextmanager
def bench(
    folder: Path,
    config: Json | None = None,
    *,
    names: str = "abc",
    aliases: Mapping[str, str] = NONE,
    urls: Mapping[str, str] = NONE,
    contexts: Mapping[str, ssl.SSLContext] = NONE,
    timeouts: Mapping[str, Json] = NONE,
    health: Json = FORGETTING,
    **variables: str,
) -> Iterator[Bench]:
    """
    A gateway before an upstream of each name. A model of an upstream's name leads to it alone,
    `far` to the first by way of the line, `gone` to nobody. `contexts` are more upstreams, which
    speak TLS, `urls` more providers before anything, and `aliases` more before what another leads
    to. `timeouts` are of providers, `config` changes sections, `variables` are LOCKGATE_ ones.
    """
    with ExitStack() as stack:
        stage = stack.enter_context(Stage())
        upstreams = {name: Upstream(stage) for name in names}
        upstreams |= {name: Upstream(stage, context=each) for name, each in contexts.items()}
        line = stage.shape(upstreams[names[0]].server.port)
        addresses = {name: each.url for name, each in upstreams.items()}
        addresses |= {"far": line.url, "gone": nowhere(), **urls}
        addresses |= {alias: addresses[name] for alias, name in aliases.items()}
        settings = configuration(folder, addresses) | {"health": health}
        for name, each in timeouts.items():
            settings["providers"][name]["timeouts"] = each
        for section, more in (config or {}).items():
            settings[section] = {**settings.get(section, {}), **more}
        _put_prices(settings)
        process = stack.enter_context(gateway(folder, settings, **variables))
        yield Bench(process, stage, upstreams, line)


def nowhere() -> str:
    """An address where nobody listens."""
    return f"http://127.0.0.1:{refusing_port()}"


def configuration(folder: Path, urls: dict[str, str]) -> Json:
    """What all of them are configured as."""
    providers = {
        name: vllm(url, api_key=credential(name), max_concurrency=PLACES)
        for name, url in urls.items()
    }
    return {
        "providers": providers,
        "models": {name: model(name) for name in providers},
        "plans": {"default": PLAN},
        "tenants": {"acme": {"models": ["*"], "keys": [{"name": "ci", "key": TENANT_KEY}]}},
        "pricing": {"file": str(folder / "prices.yaml")},
        "ledger": {"flush": "50ms"},
    }


def model(*names: str, attempts: int = 3, **fields: Any) -> Json:
    """A model that leads to those upstreams, in order; to one alone it asks once."""
    targets = [{"provider": name, "model": "demo-model"} for name in names]
    retries = {"attempts": 1 if len(names) == 1 else attempts}
    return {"targets": targets, "max_output": 512, "retries": retries, **fields}


def _put_prices(settings: Json) -> None:
    """All targets have the same."""
    targets = [target for each in settings["models"].values() for target in each["targets"]]
    priced = {f"{each['provider']}/{each['model']}": PRICE for each in targets}
    Path(settings["pricing"]["file"]).write_text(json.dumps({"targets": priced}))

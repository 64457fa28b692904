"""
A gateway that is full of canaries, and everything that may happen to it, one thing after the other.

Each secret that it holds, and each thing that is said to it or through it, is found again by its
text wherever it may have got to.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx

from tests.support.faulty import chunk, response
from tests.support.processes import ROOT
from tests.support.redis_server import RedisServer
from tests.system.faults.answers import HEAD, SAID, as_json, part, refusal, stream, whole
from tests.system.faults.bench import FORGETTING
from tests.system.faults.upstreams import Stage
from tests.system.security.scene import Recorder, Sent, always, sanely
from tests.system.test_observability import Collector, collecting
from tests.system.world import (
    Gateway,
    Json,
    bearer,
    chat,
    gateway,
    key,
    vllm,
)

TENANT_KEY, SMALL_KEY, UNKNOWN_KEY = key(301), key(302), key(303)
CANARIES = {
    "tenant key": TENANT_KEY[16:],
    "a key with a limit": SMALL_KEY[16:],
    "an unknown key": UNKNOWN_KEY[16:],
    "upstream key": "sk-canary-upstream-4f1c",
    "second upstream key": "canary.odd/upstream+key=5d2e",
    "pepper": "canary-pepper-9a7b-long-enough",
    "older pepper": "canary-older-pepper-1c3d-long-enough",
    "jwt secret": "canary-jwt-secret-that-is-long-enough-for-anyone-77aa",
    "operator token": "canary-operator-token-2b9e",
    "metrics token": "canary-metrics-token-8e1f",
    "redis password": "canary-redis-6c4d",
    "operator's password": "canary-password-of-an-operator-3d5a",
    "wrong password": "canary-wrong-password-0f2b",
    "wrong token": "canary-wrong-token-5a6c",
    "idempotency key": "canary-idempotency-key-7d8e",
    "prompt": "canary-prompt-b1c2",
    "system prompt": "canary-system-prompt-d3e4",
    "tool": "canary_tool_f5a6",
    "user": "canary-user-c7d8",
    "embedding": "canary-embedding-e9f0",
    "image": "Y2FuYXJ5LWltYWdlLWE1YjY",
    "answer": "canary-answer-a1b2",
    "cookie": "canary-cookie-c3d4",
    "basic": "Y2FuYXJ5OmJhc2ljLWU1ZjY",
    "unknown header": "canary-header-a7b8",
    "query": "canary-query-c9d0",
    "broken JSON": "canary-broken-e1f2",
    "name of a field": "canary-field-a3b4",
    "unknown model": "canary-model-c5d6",
    "redirect": "canary-redirect-e7f8",
}
PRIVATE = bearer(
    TENANT_KEY,
    cookie=f"session={CANARIES['cookie']}",
    **{"x-other": CANARIES["unknown header"], "user-agent": CANARIES["unknown header"]},
)
CRASHER = """
from providers.vllm import VLLM


class Crasher(VLLM):
    def encode(self, operation, body, target):
        key = self.settings.api_key.get_secret_value()
        raise RuntimeError(f"crashed with {key} in {self.settings!r} on {target}")
"""
"""A stranger's provider, which tells all it knows when it breaks down."""


@dataclass
class Tour:
    """The gateway, and all that callers were told but for what was theirs."""

    gateway: Gateway
    upstream: Recorder
    collector: Collector
    redis: RedisServer
    folder: Path
    told: list[str] = field(default_factory=list)
    codes: set[str] = field(default_factory=set)
    shown: dict[str, str] = field(default_factory=dict)
    """Secrets that were made on the way, and shown once."""

    def ask(
        self,
        body: Json | bytes | None = None,
        path: str = "/v1/chat/completions",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Any:
        """One request of the data plane."""
        content = (
            body if isinstance(body, bytes) else json.dumps(prompt() if body is None else body)
        )
        return self._send("POST", path, content, {**PRIVATE, **headers})

    def administer(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        """One request of administration."""
        content = b"" if body is None else json.dumps(body)
        headers = bearer(
            token or CANARIES["operator token"], **{"content-type": "application/json"}
        )
        return self._send(method, f"/admin/v1{path}", content, headers)

    def _send(self, method: str, path: str, content: bytes | str, headers: dict[str, str]) -> Any:
        url = f"{self.gateway.url}{path}"
        with httpx.Client(verify=False, timeout=30, trust_env=False) as client:
            answer = client.request(method, url, content=content, headers=headers)
        self.told.append(str(answer.headers))
        if answer.status_code >= 400:
            self.told.append(answer.text)
            self.codes.add(str(answer.json()["error"]["code"]))
        elif '"error"' in (last := answer.text.rpartition("data: ")[2]):
            self.told.append(last)
            self.codes.add(json.loads(last)["error"]["code"])
        return answer


def prompt(**fields: Any) -> Json:
    """A request that is private from its first field to its last."""
    said = [
        {"role": "system", "content": CANARIES["system prompt"]},
        {"role": "user", "content": CANARIES["prompt"]},
    ]
    tool = {"type": "function", "function": {"name": CANARIES["tool"]}}
    return chat(**{"messages": said, "user": CANARIES["user"], "tools": [tool], **fields})


def configuration(origin: str) -> Json:
    """Everything that is secret comes from the environment."""
    own = {"api_key": "${UPSTREAM_KEY}"}
    return {
        "providers": {
            "a": vllm(origin, **own),
            "b": vllm(origin, api_key="${SECOND_KEY}"),
            "crash": {"kind": "crasher", "base_url": origin, **own},
        },
        "models": {
            name: {"targets": [{"provider": each, "model": "demo-model"} for each in providers]}
            for name, providers in {"chat": "ab", "one": "a", "crash": ["crash"]}.items()
        },
        "plans": {"default": {"requests": "100000/hour"}, "small": {"requests": "1/day"}},
        "tenants": {
            "acme": {"models": ["*"], "keys": [{"name": "ci", "key": "${TENANT_KEY}"}]},
            "tiny": {
                "plan": "small",
                "models": ["*"],
                "keys": [{"name": "ci", "key": "${SMALL_KEY}"}],
            },
        },
        "http": {"max_body": 20_000},
        "health": FORGETTING,
        "ledger": {"flush": "20ms"},
    }


def variables(folder: Path, redis: str, collector: str) -> dict[str, str]:
    """Where the secrets are."""
    site = folder / "site"
    info = site / "crasher-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "crasher.py").write_text(CRASHER)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: crasher\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lockgate.providers]\ncrasher = crasher:Crasher\n")
    return {
        "PYTHONPATH": f"{ROOT}:{site}",
        "UPSTREAM_KEY": CANARIES["upstream key"],
        "SECOND_KEY": CANARIES["second upstream key"],
        "TENANT_KEY": TENANT_KEY,
        "SMALL_KEY": SMALL_KEY,
        "LOCKGATE_KEY_PEPPER": CANARIES["pepper"],
        "LOCKGATE_KEY_PEPPER_PREVIOUS": CANARIES["older pepper"],
        "LOCKGATE_JWT_SECRET": CANARIES["jwt secret"],
        "LOCKGATE_ADMIN_TOKEN": CANARIES["operator token"],
        "LOCKGATE_METRICS_TOKEN": CANARIES["metrics token"],
        "LOCKGATE_REDIS_URL": redis,
        "LOCKGATE_LOG_LEVEL": "debug",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }


@contextmanager
def touring(folder: Path) -> Iterator[Tour]:
    """Everything has happened to it."""
    password = CANARIES["redis password"]
    recorder = Recorder()
    with ExitStack() as stack:
        stage = stack.enter_context(Stage())
        collector = stack.enter_context(collecting())
        redis = stack.enter_context(RedisServer("--requirepass", password))
        recorder.server = stage.listen(recorder.play)
        url = redis.url.replace("unix://", f"unix://:{password}@")
        env = variables(folder, url, collector.url)
        config = configuration(recorder.server.origin)
        process = stack.enter_context(gateway(folder / "run", config, **env))
        tour = Tour(process, recorder, collector, redis, folder)
        succeed(tour)
        be_refused(tour)
        break_down(tour)
        administer(tour)
        yield tour


def succeed(tour: Tour) -> None:
    """All goes well."""
    tour.upstream.reply = lambda sent: (
        stream(part({"content": CANARIES["answer"]}), part({}, "stop"), b"data: [DONE]\n\n")
        if b'"stream":true' in sent.body
        else whole(CANARIES["answer"])
    )
    image = {
        "type": "image_url",
        "image_url": {"url": f"data:image/png;base64,{CANARIES['image']}"},
    }
    for fields in (
        {},
        {"stream": True},
        {"messages": [{"role": "user", "content": [image]}]},
        {"metadata": {CANARIES["name of a field"]: CANARIES["user"]}},
        {CANARIES["name of a field"]: CANARIES["prompt"]},
    ):
        assert tour.ask(prompt(**fields)).status_code == 200
    completion = {"model": "chat", "prompt": CANARIES["prompt"]}
    tour.ask(completion, path="/v1/completions")
    tour.ask(path=f"/v1/chat/completions?token={CANARIES['query']}")
    tour.upstream.reply = always(whole("an answer that is kept for whoever asks again"))
    for _ in range(2):  # its answer is kept, and that is what it is for
        told = tour.ask(headers={"idempotency-key": CANARIES["idempotency key"]})
        assert told.status_code == 200
    tour.upstream.reply = sanely
    tour.ask({"model": "chat", "input": CANARIES["embedding"]}, path="/v1/embeddings")


def be_refused(tour: Tour) -> None:
    """By the gateway itself."""
    for headers in (
        bearer(UNKNOWN_KEY),
        bearer(f"lg_{CANARIES['wrong token']}"),
        bearer(CANARIES["upstream key"]),
        {"authorization": f"Basic {CANARIES['basic']}"},
        {"x-api-key": UNKNOWN_KEY},
        {"idempotency-key": CANARIES["idempotency key"] + " again"},
        {"idempotency-key": CANARIES["idempotency key"]},
        {"x-lockgate-tags": CANARIES["unknown header"]},
        {"content-encoding": CANARIES["unknown header"]},
        {"x-lockgate-hop": CANARIES["unknown header"]},
    ):
        tour.ask(prompt(temperature=1), headers=headers)
    for body in (
        prompt(model=CANARIES["unknown model"]),
        prompt(temperature=CANARIES["prompt"]),
        prompt(stop={CANARIES["prompt"]: CANARIES["prompt"]}),
        {"model": "chat", "messages": [{"role": CANARIES["prompt"], "content": 1}]},
        b'{"model": "chat", "messages": "' + CANARIES["broken JSON"].encode(),
        CANARIES["broken JSON"].encode() * 1500,
    ):
        tour.ask(body)
    for _ in range(2):
        tour.ask(headers=bearer(SMALL_KEY))
    for path in ("/v1/models/", "/health/", "/"):
        tour._send("GET", f"{path}{CANARIES['unknown model']}?k={CANARIES['query']}", b"", PRIVATE)


def echo(status: int, sent: Sent) -> bytes:
    """An upstream that repeats what it was sent, the credential foremost."""
    said = dict(sent.headers)
    return refusal(
        status, message=f"no {said['authorization']}, {said}", type=said["authorization"]
    )


def break_down(tour: Tour) -> None:
    """By the upstream, or because of it."""
    for status in (401, 402, 403, 404, 408, 422, 429, 500, 502, 503, 504, 529):
        tour.upstream.reply = partial(echo, status)
        for body in (prompt(), prompt(model="one", stream=True)):
            tour.ask(body)
    answer = CANARIES["answer"]
    to = ("location", f"http://127.0.0.1:9/{CANARIES['redirect']}")
    begun = HEAD + chunk(SAID[0]) + chunk(part({"content": answer}))
    for reply in (
        refusal(307, to),
        response(f"<html>{answer}".encode(), headers=[("content-type", "text/html")]),
        response(answer.encode()),
        as_json({"error": {"message": CANARIES["upstream key"]}}),
        as_json({"choices": [{"message": {"content": answer}, "finish_reason": "abort"}]}),
        begun + chunk(b"data: " + answer.encode() + b"\n\n"),
        begun
        + chunk(b'data: {"error": {"message": "%b"}}\n\n' % CANARIES["upstream key"].encode()),
        begun + chunk(part({}, "abort")),
        begun + b"no chunk " + answer.encode(),
        stream(part({"content": answer})),
        b"no HTTP " + answer.encode(),
    ):
        tour.upstream.reply = always(reply)
        for is_stream in (False, True):
            tour.ask(prompt(stream=is_stream))
    for is_stream in (False, True):
        crashed = tour.ask(prompt(model="crash", stream=is_stream))
        assert (crashed.status_code, crashed.json()["error"]["code"]) == (500, "internal_error")


def administer(tour: Tour) -> None:
    """Operators come, sign in and make things, and somebody tries to."""
    anna: Json = {"name": "anna", "password": CANARIES["operator's password"], "role": "owner"}
    tour.administer("POST", "/operators", anna)
    signed = tour.administer("POST", "/sessions", {"name": "anna", "password": anna["password"]})
    tour.shown["a session"] = signed.json()["token"]
    tour.administer("POST", "/sessions", {"name": "anna", "password": CANARIES["wrong password"]})
    tour.administer("GET", "/tenants", token=CANARIES["wrong token"])
    tour.administer("POST", "/tenants", {"id": "beta", "plan": "default", "models": ["*"]})
    made = tour.administer("POST", "/tenants/beta/keys", {"name": "k"}, tour.shown["a session"])
    tour.shown["a new key"] = made.json()["key"][16:]
    tour.ask(headers=bearer(made.json()["key"]))
    tour.administer("POST", "/tenants/beta/keys", {"name": {"x": CANARIES["wrong token"]}})
    file = tour.folder / "run" / "gateway.yaml"
    good = file.read_text()
    file.write_text(good.replace('"api_key": "${SECOND_KEY}"', '"api_key": ["${SECOND_KEY}"]'))
    tour.administer("POST", "/config/reload")
    file.write_text(good)
    tour.administer("POST", "/config/reload")

"""
A gateway in a hostile neighbourhood: an upstream that keeps every byte it is sent and says what a
test likes, and a decoy that nobody has any business with.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.faulty import Peer, Server
from tests.system.faults.answers import stream, whole
from tests.system.faults.bench import FORGETTING
from tests.system.faults.upstreams import Stage
from tests.system.world import KEY, Gateway, Json, gateway, until, vllm

CREDENTIAL = "sk-canary-of-the-upstream-0123456789"
PATHS = {
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/hf-inference/models/org/embedder/pipeline/feature-extraction",
}
"""All that the upstream may ever be asked for."""
SENT = {
    *("host", "content-type", "content-length", "authorization", "accept-encoding"),
    *("x-lockgate-hop", "x-request-id", "traceparent", "tracestate"),
}
"""All headers that it may ever be sent."""
TRICKS = {
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *"\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202d\u202e\u2066\u2067\u2069\ufeff",
}
"""Characters that a terminal or a reader of logs acts upon."""
REQUEST_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}-[0-9]+")
MAX_FIELD = 1024
"""Bytes of a field of a log line."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as it came: its head to the byte."""

    head: bytes
    body: bytes

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n")[0].decode("latin-1")

    @property
    def headers(self) -> list[tuple[str, str]]:
        """As they were written, names in lower case."""
        lines = self.head[:-4].decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(": ") for line in lines)
        return [(name.lower(), value) for name, _, value in pairs]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Recorder:
    """The upstream. `reply` decides what it says."""

    server: Server = field(default_factory=Server)
    sent: list[Sent] = field(default_factory=list)
    reply: Callable[[Sent], bytes] = field(default_factory=lambda: sanely)

    async def play(self, peer: Peer) -> None:
        """One connection."""
        while True:
            head = await peer.head()
            length = dict(Sent(head, b"").headers).get("content-length", "0")
            self.sent.append(Sent(head, await peer.reader.readexactly(int(length))))
            await peer.send(self.reply(self.sent[-1]))


def always(told: bytes) -> Callable[[Sent], bytes]:
    """This in answer to everything."""
    return lambda _: told


def sanely(sent: Sent) -> bytes:
    """As an upstream answers that is well."""
    if sent.line.split()[1] == "/v1/embeddings":
        item = {"object": "embedding", "index": 0, "embedding": [0.5]}
        return whole(choices=None, data=[item], object="list")
    if "feature-extraction" in sent.line:
        return _bare([[0.5]])
    return stream() if sent.json.get("stream") else whole()


def _bare(payload: Any) -> bytes:
    body = json.dumps(payload).encode()
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        % len(body)
    ) + body


@dataclass
class Scene:
    """The gateway and its neighbours."""

    gateway: Gateway
    upstream: Recorder
    decoy: Server
    _read: int = 0

    def fresh(self) -> None:
        """Nobody has been asked anything, and the upstream is well."""
        self.upstream.sent.clear()
        self.upstream.reply = sanely
        self._read = self.gateway.printed.stat().st_size

    def check(self) -> None:
        """What holds after each test, whatever was tried in it."""
        assert self.decoy.accepted == 0, "somebody went where a client sent him"
        host = self.upstream.server.origin.removeprefix("http://")
        for sent in self.upstream.sent:
            method, path, version = sent.line.split(" ")
            assert (method, version) == ("POST", "HTTP/1.1")
            assert path in PATHS
            names = [name for name, _ in sent.headers]
            assert len(names) == len(set(names))
            assert set(names) <= SENT
            assert ("host", host) in sent.headers
            for each in sent.headers:
                assert not {*each[1]} & TRICKS
                assert each[0] != "authorization" or each[1] == f"Bearer {CREDENTIAL}"
                assert each[0] != "x-request-id" or REQUEST_ID.fullmatch(each[1])
        until(self.gateway.is_idle)
        self.lines()

    def lines(self) -> list[Json]:
        """What the log says since the last test: each line is one object, of small fields."""
        with self.gateway.printed.open("rb") as file:
            file.seek(self._read)
            printed = file.read().decode()
        whole = printed.rpartition("\n")[0]
        assert not {*whole} & (TRICKS - {"\n"}), "a line break, or what plays tricks on a terminal"
        lines = [json.loads(line) for line in whole.split("\n") if line]
        for line in lines:
            assert isinstance(line, dict)
            assert all(len(text.encode()) <= MAX_FIELD for text in texts(line))
        return lines


def texts(value: Any) -> Iterator[str]:
    """Every text inside."""
    match value:
        case str():
            yield value
        case dict():
            for name, inner in value.items():
                yield name
                yield from texts(inner)
        case list():
            for inner in value:
                yield from texts(inner)
        case _:
            pass


@contextmanager
def scene(folder: Path, **variables: str) -> Iterator[Scene]:
    """All of them. The environment, and a file in the home directory, lead to the decoy."""
    with ExitStack() as stack:
        stage = stack.enter_context(Stage())
        recorder = Recorder()
        recorder.server = stage.listen(recorder.play)
        decoy = stage.listen(_shut)
        running = stack.enter_context(
            gateway(
                folder,
                configuration(recorder.server.origin),
                **ambient(folder, decoy.origin),
                **variables,
            )
        )
        yield Scene(running, recorder, decoy)


async def _shut(peer: Peer) -> None:
    """Nobody should have come."""


def ambient(folder: Path, origin: str) -> Mapping[str, str]:
    """What libraries look at, unless they are told not to."""
    netrc = folder / ".netrc"
    folder.mkdir(exist_ok=True)
    netrc.write_text("default login decoy password decoy\n")
    netrc.chmod(0o600)
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    proxies = {name: origin for each in names for name in (each, each.lower())}
    own = ("OPENAI_BASE_URL", "OPENAI_API_BASE", "HF_ENDPOINT", "HF_INFERENCE_ENDPOINT")
    # Spans go out by a library that does look, to a name that it is told not to look for.
    return {
        **proxies,
        **dict.fromkeys(own, origin),
        "NO_PROXY": "localhost",
        "no_proxy": "localhost",
        "NETRC": str(netrc),
        "HOME": str(folder),
    }


def configuration(origin: str) -> Json:
    """One upstream under three kinds."""
    own: Json = {"base_url": origin, "api_key": CREDENTIAL}
    models = {
        "chat": [{"provider": "vllm", "model": "demo-model"}],
        "keyless": [{"provider": "bare", "model": "demo-model"}],
        "dropping": [{"provider": "openai", "model": "demo-model"}],
        "embedder": [{"provider": "hf", "model": "org/embedder"}],
    }
    return {
        "providers": {
            "vllm": vllm(url=origin, api_key=CREDENTIAL),
            "bare": vllm(origin),
            "openai": {"kind": "openai", "drop_params": True, **own},
            "hf": {"kind": "huggingface", "route": "hf-inference", **own},
        },
        "models": {name: {"targets": targets} for name, targets in models.items()},
        "plans": {"default": {}},
        "tenants": {"acme": {"models": ["*"], "keys": [{"name": "ci", "key": KEY}]}},
        "health": FORGETTING,
    }

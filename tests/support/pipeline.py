"""
A pipeline whose upstreams are scripts, for tests of what becomes of a request.

`pipeline_of(answers, ...)` takes the answers of one target each, `a`, `b` and so on: one `Says`
for all requests, or a list whose last holds on. `Bench.ask` makes a whole exchange of it, and
`Bench.check_nothing_is_left` is what must hold after every request.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from string import ascii_lowercase
from typing import Any, Self, SupportsBytes

import httpx
import orjson

from gateway.access import Access, Caller, ConfiguredKeys, Key, Peppers, TenantSettings
from gateway.contract.provider import AnyProvider, Operation
from gateway.health import Health, HealthSettings
from gateway.limits import (
    Amounts,
    Ask,
    Books,
    Limit,
    MemoryLimiter,
    Plans,
    PlanSettings,
    Reservation,
)
from gateway.pipeline import Answer, Pipeline, Request, Snapshot, Streamed, Tariff, Tools, Whole
from gateway.pricing import Prices
from gateway.quarantine import MemoryBook, Quarantine, QuarantineSettings
from gateway.routing import ModelSettings, Routes
from gateway.telemetry.context import PassedOn
from gateway.telemetry.record import Record
from gateway.upstream import Upstream, UpstreamSettings
from gateway.wiring.targets import targets_of
from providers.vllm import VLLM

KEY = Key.generate(Random(7))
PEPPER = b"a pepper of the tests"
HEADERS = {b"authorization": [b"Bearer " + KEY.reveal().encode()]}
MESSAGES = [{"role": "user", "content": "Say hello."}]
SSE = "text/event-stream; charset=utf-8"
NEVER_OPEN = HealthSettings(
    consecutive_failures=1_000_000, failure_rate=1.0, window=1000, retries_per_second=1000
)
PLENTY = {"requests": "1000/minute", "tokens": "1000000/minute", "concurrency": 100}


class Gate:
    """A place where a script stops: `reached` says that it has, and `open` lets it go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._opened = asyncio.Event()

    def open(self) -> None:
        self._opened.set()

    async def passed(self) -> None:
        self.reached.set()
        await self._opened.wait()


Step = bytes | float | Exception | Gate
"""Bytes to send, seconds to wait, an error to fail with, a gate to wait at."""


async def _play(step: Step) -> bytes | None:
    match step:
        case bytes():
            return step
        case Exception():
            raise step
        case Gate():
            await step.passed()
        case _:
            await asyncio.sleep(step)
    return None


@dataclass(frozen=True)
class Says:
    """What an upstream answers: `before` its headers, and then its body, in steps."""

    steps: tuple[Step, ...] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": SSE})
    before: tuple[Step, ...] = ()


def event(payload: Any) -> bytes:
    return b"data: " + orjson.dumps(payload) + b"\n\n"


def chunk(*, index: int = 0, reason: str | None = None, **delta: Any) -> bytes:
    """An event with one choice."""
    return event({"choices": [{"index": index, "delta": delta, "finish_reason": reason}]})


def text(said: str) -> bytes:
    return chunk(content=said)


def usage(prompt: int, completion: int) -> bytes:
    """The event without a choice that ends a stream whose usage was asked for."""
    return event(
        {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}}
    )


ROLE = chunk(role="assistant", content="")
FINISH = chunk(reason="stop")
DONE = b"data: [DONE]\n\n"
STREAM = (ROLE, text("Hel"), text("lo"), FINISH, usage(7, 2), DONE)
"""A good stream, in the chunks in which it arrives."""


def streams(*steps: Step, before: tuple[Step, ...] = ()) -> Says:
    return Says(steps, before=before)


def says_whole(payload: Any, *, before: tuple[Step, ...] = (), status: int = 200) -> Says:
    """A JSON body."""
    content = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    return Says((content,), status, {"content-type": "application/json"}, before)


def completion(
    said: str = "Hello", *, reason: str | None = "stop", tokens: tuple[int, int] | None = (7, 2)
) -> dict[str, Any]:
    """A whole answer."""
    message = {"role": "assistant", "content": said}
    answer: dict[str, Any] = {
        "choices": [{"index": 0, "message": message, "finish_reason": reason}]
    }
    if tokens is not None:
        answer["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return answer


def refuses(status: int, **headers: str) -> Says:
    """An error with that status; `retry_after="7"` becomes a header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = orjson.dumps({"error": {"message": f"refused with {status}", "code": "theirs"}})
    return Says((body,), status, {"content-type": "application/json", **named})


def breaks(error: Exception) -> Says:
    """No answer at all."""
    return Says(before=(error,))


UNREACHABLE = breaks(httpx.ConnectError("refused"))
HANGS_UP = breaks(httpx.ReadError("reset"))
GOOD = streams(*STREAM)
GOOD_WHOLE = says_whole(completion())


NO_PRICES = Tariff(Prices({}))


class Body(httpx.AsyncByteStream):
    """The body of one answer, which knows how far it was read and whether it was closed."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = deque(steps)
        self.closed = False
        self.exhausted = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while self._steps:
            said = await _play(self._steps.popleft())
            if said is not None:
                return said
        self.exhausted = True
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed = True


class Upstreams:
    """Every upstream there is: `asked` names them in the order in which they were."""

    def __init__(self, answers: Mapping[str, Sequence[Says]]) -> None:
        self._answers = {name: deque(each) for name, each in answers.items()}
        self.asked: list[str] = []
        self.requests: list[httpx.Request] = []
        self.bodies: list[Body] = []

    async def answer(self, request: httpx.Request) -> httpx.Response:
        name = request.url.host.removesuffix(".test")
        self.asked.append(name)
        self.requests.append(request)
        left = self._answers[name]
        says = left.popleft() if len(left) > 1 else left[0]
        for step in says.before:
            await _play(step)
        self.bodies.append(Body(says.steps))
        return httpx.Response(says.status, headers=says.headers, stream=self.bodies[-1])


class Limiter(MemoryLimiter):
    """Remembers what was reserved and settled, and may be made to wait."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        """What the ledger was given."""
        self.notes: list[bytes] = []
        super().__init__(books=Books(outbox=lambda entry: self.entries.append(bytes(entry))))
        self.held: dict[str, Reservation] = {}
        self.settled: list[tuple[int, int]] = []
        """What was reserved and what was charged, in tokens."""
        self.spent: list[tuple[int, int]] = []
        """The same in nano-dollars."""
        self.reserving: Gate | None = None
        self.cancelling: Gate | None = None
        self.settling: Gate | None = None

    @property
    def keeps_notes(self) -> bool:
        return True

    async def reserve(
        self,
        request_id: str,
        tenant: str,
        limits: tuple[Limit, ...],
        ask: Ask,
        *,
        note: bytes = b"",
    ) -> Reservation:
        if self.reserving is not None:
            await self.reserving.passed()
        reservation = await super().reserve(request_id, tenant, limits, ask, note=note)
        self.held[request_id] = reservation
        self.notes.append(note)
        return reservation

    async def cancel(self, reservation: Reservation) -> None:
        del self.held[reservation.request_id]
        await super().cancel(reservation)
        if self.cancelling is not None:
            await self.cancelling.passed()

    async def settle(
        self, reservation: Reservation, used: Amounts, *, entry: SupportsBytes | None = None
    ) -> None:
        del self.held[reservation.request_id]
        self.settled.append((reservation.amounts.tokens, used.tokens))
        self.spent.append((reservation.amounts.cost, used.cost))
        await super().settle(reservation, used, entry=entry)
        if self.settling is not None:
            await self.settling.passed()


class Heard:
    """An observer."""

    def __init__(self) -> None:
        self.began_: list[str] = []
        self.records: list[Record] = []

    def began(self, operation: str) -> None:
        self.began_.append(operation)

    def finished(self, record: Record) -> None:
        self.records.append(record)


@dataclass
class Bench:
    """A pipeline and everything around it that a test may look at."""

    pipeline: Pipeline
    upstreams: Upstreams
    limiter: Limiter
    health: Health
    heard: Heard
    caller: Caller
    key: str
    """The caller's."""
    relayed: list[bytes] = field(default_factory=list)
    """What a client would have got, in pieces."""

    @property
    def record(self) -> Record:
        """The record of the only request so far."""
        (record,) = self.heard.records
        return record

    def limits(self, model: str = "chat") -> tuple[Limit, ...]:
        """Those of the caller."""
        return self.pipeline.snapshot.plans.limits_of(self.caller.levels, model)

    def request(self, operation: Operation = "chat") -> Request:
        return Request(self.pipeline, operation, HEADERS, "")

    async def ask(
        self, request: Request | None = None, *, stream: bool = True, **fields: Any
    ) -> Answer:
        """
        One exchange from its headers to its last byte.

        Raises whatever ends it otherwise; `relayed` holds what had come before.
        """
        body = {"model": "chat", "messages": MESSAGES, "stream": stream, **fields}
        async with request or self.request() as own:
            answer = await own.answer(await own.identify(HEADERS), body, stream=stream)
            await self.relay(answer)
        return answer

    async def relay(self, answer: Answer) -> None:
        """Pass an answer on to its end."""
        match answer:
            case Whole():
                self.relayed.append(answer.content)
            case Streamed():
                batch = answer.held
                while batch:
                    self.relayed += [raw for raw, _ in batch]
                    batch = await answer.rest.next()

    def check_nothing_is_left(self) -> None:
        """What must hold when no request is on its way, whatever became of them."""
        assert self.pipeline.live == 0
        assert self.pipeline.queues.taken() == 0
        assert self.pipeline.queues.waiting() == 0
        assert self.limiter.held == {}
        assert self.limiter._open == {}
        assert all(body.closed for body in self.upstreams.bodies)
        assert len(self.heard.records) == len(self.heard.began_)
        for record in self.heard.records:
            assert record.ended >= record.started
            assert all(attempt.ended >= attempt.started > 0 for attempt in record.attempts)
            assert (record.outcome == "ok") == (record.error is None)


def pipeline_of(
    *answers: Says | Sequence[Says],
    plan: Mapping[str, Any] = PLENTY,
    health: HealthSettings = NEVER_OPEN,
    providers: Mapping[str, Mapping[str, Any]] | None = None,
    tariff: Tariff = NO_PRICES,
    seed: int = 1,
    quarantine: bool = True,
    others: Mapping[str, Mapping[str, Any]] | None = None,
    operations: Mapping[str, frozenset[Operation]] | None = None,
    **model: Any,
) -> Bench:
    """
    Made inside a running loop, whose clock it uses. `providers` holds settings for single
    providers by name, `model` those of the model `chat`, whose targets are `a/m`, `b/m` and so on,
    but for those that are `others`': models by name, with the names of their `providers`.
    `operations` says which ones single providers speak, where that is not what their kind does.
    """
    clock = asyncio.get_running_loop().time
    named = dict(zip(ascii_lowercase, answers, strict=False))
    upstreams = Upstreams(
        {name: [each] if isinstance(each, Says) else each for name, each in named.items()}
    )
    built = {name: _provider(name, (providers or {}).get(name, {})) for name in named}
    for name, spoken in (operations or {}).items():
        vars(built[name])["operations"] = spoken
    theirs = {name: list(given["providers"]) for name, given in (others or {}).items()}
    taken = {name for each in theirs.values() for name in each}
    theirs["chat"] = [name for name in named if name not in taken]
    routes = Routes(
        {
            name: _model(theirs[name], model if name == "chat" else (others or {})[name])
            for name in theirs
        },
        built,
    )
    access = _access()
    tools = Tools(
        limiter=(limiter := Limiter()),
        health=(known := Health(health, targets_of(routes), clock=clock, chance=Random(seed))),
        upstream=Upstream(httpx.MockTransport(upstreams.answer), UpstreamSettings()),
        quarantine=Quarantine(
            QuarantineSettings(enabled=quarantine),
            MemoryBook(QuarantineSettings().window, clock=clock),
            PEPPER,
        ),
        contexts=PassedOn(),
        observers=(heard := Heard(),),
        chance=Random(seed),
        clock=clock,
        ledger_is_full=lambda: False,
    )
    plans = Plans({"default": PlanSettings.model_validate(plan)})
    pipeline = Pipeline(Snapshot(routes, access, plans, tariff), tools)
    caller = Caller("acme", KEY.public_id, "ci", "default", None, frozenset({"*"}))
    return Bench(pipeline, upstreams, limiter, known, heard, caller, KEY.reveal())


def _model(providers: Sequence[str], given: Mapping[str, Any]) -> ModelSettings:
    targets = [{"provider": name, "model": "m"} for name in providers]
    settings = {key: value for key, value in given.items() if key != "providers"}
    return ModelSettings.model_validate({"targets": targets, "max_output": 100, **settings})


def _provider(name: str, settings: Mapping[str, Any]) -> AnyProvider:
    given = {"kind": "vllm", "base_url": f"http://{name}.test", **settings}
    return VLLM(name, VLLM.Settings.model_validate(given))


def _access() -> Access:
    tenant = {"models": ["*"], "keys": [{"name": "ci", "key": KEY.reveal()}]}
    keys = ConfiguredKeys({"acme": TenantSettings.model_validate(tenant)}, PEPPER)
    return Access(keys, Peppers(PEPPER))

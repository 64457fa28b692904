"""
A made-up vLLM server as a plain ASGI application.

It needs `LinkedProtocol` below it. Every request outside `/simulator/*` is counted and kept for
inspection before anything else happens to it.
"""

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypedDict, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from .answer import Model
from .chat import chat_reply
from .completions import completion_reply
from .control import PREFIX, Control
from .dialect import ChatBody, CompletionBody, DetokenizeBody, EmbeddingBody, TokenizeBody
from .dice import fractions
from .embeddings import Embedder, embedding_reply
from .engine import Engine
from .errors import Refused, error_body, refused_by
from .exchange import Exchange, Receive, Send
from .faults import Fault, Faults
from .link import HungUp
from .metrics import Metrics
from .script import PAGE
from .settings import SimulatorSettings
from .state import SEEN_BODY, Seen, State
from .text import detokenize, split, token_id

VERSION = "0.0.0+lockgate.simulator"

_PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"
_HTML = b"text/html; charset=utf-8"

Body = TypeVar("Body", bound=BaseModel)
Handler = Callable[[Exchange, bytes, Fault | None], Awaitable[None]]


class Marks(TypedDict):
    """What every answer is told by, whatever it is an answer to."""

    name: str
    reply_id: str
    created: int


class Simulator:
    """
    One simulated server.

    `clock` is monotonic seconds, `today` seconds since 1970, `new_id` a fresh id for an answer,
    `connections` the number of open sockets.
    """

    def __init__(
        self,
        settings: SimulatorSettings,
        *,
        clock: Callable[[], float],
        today: Callable[[], float],
        new_id: Callable[[], str],
        connections: Callable[[], int],
    ) -> None:
        self.state = State(settings.models)
        self.faults = Faults(settings.faults, fractions(settings.seed))
        self._settings = settings
        self._today = today
        self._new_id = new_id
        self._began = int(today())
        self._engine = Engine(settings, self.state, chances=fractions(settings.seed), clock=clock)
        self._control = Control(self.state, self.faults, connections)
        self._metrics = Metrics(self.state, capacity=settings.max_running)
        self._model = Model(
            seed=settings.seed,
            answer_tokens=settings.answer_tokens,
            max_model_len=settings.max_model_len,
        )
        self._embedder = Embedder(
            seed=settings.seed,
            dimensions=settings.embedding_dimensions,
            max_model_len=settings.max_model_len,
        )
        key = settings.api_key
        self._bearer = None if key is None else b"Bearer " + key.get_secret_value().encode()
        self._routes: dict[str, dict[str, Handler]] = {
            "/v1/chat/completions": {"POST": self._chat},
            "/v1/completions": {"POST": self._complete},
            "/v1/embeddings": {"POST": self._embed},
            "/v1/models": {"GET": self._list},
            "/tokenize": {"POST": self._tokenize},
            "/detokenize": {"POST": self._detokenize},
            "/health": {"GET": self._well},
            "/ping": {"GET": self._well, "POST": self._well},
            "/version": {"GET": self._version},
            "/load": {"GET": self._load},
            "/metrics": {"GET": self._scrape},
        }

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """ASGI's door."""
        exchange = Exchange(scope, receive, send)
        try:
            if exchange.path.startswith(PREFIX):
                await self._control.handle(exchange)
            else:
                await self._counted(exchange)
        except HungUp:
            return

    async def _counted(self, exchange: Exchange) -> None:
        self.state.requests += 1
        try:
            await self._meet(exchange)
        except Refused as refused:
            body = error_body(refused.status, refused.message, param=refused.param)
            await exchange.whole(refused.status, body)
        finally:
            if exchange.status:
                self.state.by_status[exchange.status] += 1

    async def _meet(self, exchange: Exchange) -> None:
        body = await exchange.body()
        self._remember(exchange, body)
        fault = self.faults.draw(exchange.method, exchange.path)
        if fault is not None:
            self.state.faults[fault.kind] += 1
            if await _answered_instead(exchange, fault):
                return
        methods = self._routes.get(exchange.path)
        if not self._may_enter(exchange):
            await exchange.whole(401, b'{"error":"Unauthorized"}')
        elif methods is None:
            await exchange.whole(404, b'{"detail":"Not Found"}')
        elif exchange.method not in methods:
            await exchange.whole(405, b'{"detail":"Method Not Allowed"}')
        else:
            await methods[exchange.method](exchange, body, fault)

    def _remember(self, exchange: Exchange, body: bytes) -> None:
        self.state.seen.append(
            Seen(
                method=exchange.method,
                path=exchange.path,
                query=exchange.query,
                client=exchange.client,
                headers=exchange.headers,
                body=body[:SEEN_BODY],
                size=len(body),
            )
        )

    def _may_enter(self, exchange: Exchange) -> bool:
        if self._bearer is None or not exchange.path.startswith("/v1/"):
            return True
        shown = dict(exchange.headers).get(b"authorization", b"")
        return hmac.compare_digest(shown, self._bearer)

    async def _chat(self, exchange: Exchange, raw: bytes, fault: Fault | None) -> None:
        body = _read(ChatBody, raw)
        reply = chat_reply(body, model=self._model, **self._marks(body.model))
        await self._engine.answer(exchange, reply, fault)

    async def _complete(self, exchange: Exchange, raw: bytes, fault: Fault | None) -> None:
        body = _read(CompletionBody, raw)
        reply = completion_reply(body, model=self._model, **self._marks(body.model))
        await self._engine.answer(exchange, reply, fault)

    async def _embed(self, exchange: Exchange, raw: bytes, fault: Fault | None) -> None:
        body = _read(EmbeddingBody, raw)
        reply = embedding_reply(body, embedder=self._embedder, **self._marks(body.model))
        await self._engine.answer(exchange, reply, fault)

    def _marks(self, model: str | None) -> Marks:
        return {
            "name": self._served(model),
            "reply_id": self._new_id(),
            "created": int(self._today()),
        }

    async def _list(self, exchange: Exchange, _: bytes, __: Fault | None) -> None:
        models: list[dict[str, object]] = [
            {
                "id": name,
                "object": "model",
                "created": self._began,
                "owned_by": "vllm",
                "root": name,
                "parent": None,
                "max_model_len": self._settings.max_model_len,
                "permission": [],
            }
            for name in self._settings.models
        ]
        await exchange.whole(200, orjson.dumps({"object": "list", "data": models}))

    async def _tokenize(self, exchange: Exchange, raw: bytes, _: Fault | None) -> None:
        body = _read(TokenizeBody, raw)
        self._served(body.model)
        pieces = split(body.text())
        answer = {
            "count": len(pieces),
            "max_model_len": self._settings.max_model_len,
            "tokens": [token_id(piece) for piece in pieces],
            "token_strs": pieces if body.return_token_strs else None,
        }
        await exchange.whole(200, orjson.dumps(answer))

    async def _detokenize(self, exchange: Exchange, raw: bytes, _: Fault | None) -> None:
        body = _read(DetokenizeBody, raw)
        self._served(body.model)
        try:
            text = detokenize(body.tokens)
        except ValueError as error:
            raise Refused(400, str(error), param="tokens") from error
        await exchange.whole(200, orjson.dumps({"prompt": text}))

    async def _well(self, exchange: Exchange, _: bytes, __: Fault | None) -> None:
        await exchange.whole(200, b"")

    async def _version(self, exchange: Exchange, _: bytes, __: Fault | None) -> None:
        await exchange.whole(200, orjson.dumps({"version": VERSION}))

    async def _load(self, exchange: Exchange, _: bytes, __: Fault | None) -> None:
        load = sum(counts.running + counts.waiting for counts in self.state.models.values())
        await exchange.whole(200, orjson.dumps({"server_load": load}))

    async def _scrape(self, exchange: Exchange, _: bytes, __: Fault | None) -> None:
        await exchange.whole(200, self._metrics.text(), content_type=_PROMETHEUS)

    def _served(self, name: str | None) -> str:
        if name is None:
            return self._settings.models[0]
        if name not in self.state.models:
            served = ", ".join(self._settings.models)
            raise Refused(
                404,
                f"The model `{name}` does not exist. Valid aliases: {served}.",
                param="model",
            )
        return name


async def _answered_instead(exchange: Exchange, fault: Fault) -> bool:
    """Whether the fault stands in place of an answer; then it has been sent."""
    match fault.kind:
        case "status":
            await _status(exchange, fault)
        case "html":
            await exchange.whole(200, PAGE, content_type=_HTML)
        case "redirect":
            await exchange.whole(307, b"", headers=[(b"location", fault.location.encode())])
        case "refuse":
            await exchange.link.close()
        case _:
            return False
    return True


async def _status(exchange: Exchange, fault: Fault) -> None:
    wait = fault.retry_after
    if isinstance(wait, float):
        wait = f"{wait:g}"
    headers = [] if wait is None else [(b"retry-after", wait.encode())]
    body = fault.body
    if body is None:
        told = error_body(fault.status, "The simulator was told to answer this.")
    else:
        told = body.encode()
    await exchange.whole(
        fault.status, told, content_type=fault.content_type.encode(), headers=headers
    )


def _read(kind: type[Body], raw: bytes) -> Body:
    try:
        return kind.model_validate(orjson.loads(raw))
    except ValidationError as invalid:
        raise refused_by(invalid) from invalid
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"There was an error parsing the body: {error}") from error

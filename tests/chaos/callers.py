"""
Callers who ask for anything, leave at any moment, and write down how each request ended for them.

Every request ends in exactly one way; what fits none of them is `broken`, which no gateway may be.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

import httpx

from tests.system.world import Json, bearer

Ending = Literal["whole", "cut", "refused", "left", "broken"]
"""
`whole`: an answer to its end. `cut`: a stream that ended with one error event. `refused`: an error
in place of an answer. `left`: the caller hung up.
"""

TENANTS = {"storm": 0.93, "tight": 0.07}
"""Who asks, and how often: `tight` has fewer requests than it asks for."""


@dataclass(frozen=True)
class Heard:
    """How one request ended for its caller. `id` is empty where no answer had begun."""

    tenant: str
    ending: Ending
    id: str = ""
    status: int = 0
    code: str | None = None
    told: str = ""
    """What was broken."""


@dataclass(frozen=True)
class Whim:
    """What one caller will do."""

    tenant: str
    body: Json | bytes
    leaves_after: float | None
    """Seconds until it hangs up, if it does."""
    pause: float
    """Seconds between two reads of a stream."""


def whims(chance: Random) -> Iterator[Whim]:
    """What callers do, without end, the same for the same seed."""
    names, weights = zip(*TENANTS.items(), strict=True)
    while True:
        [tenant] = chance.choices(names, weights)
        leaves = chance.random() < 0.12
        yield Whim(
            tenant,
            _body(chance),
            leaves_after=chance.random() ** 3 * 1.5 if leaves else None,
            pause=0.05 if chance.random() < 0.02 else 0.0,
        )


def _body(chance: Random) -> Json | bytes:
    kind = chance.random()
    if kind < 0.01:
        return b'{"model": "chat", "messages": ['
    if kind < 0.02:
        return {"model": "nobody", "messages": []}
    content = "What did the fox say? " * chance.choice((1, 1, 1, 4, 200))
    fields = {"max_tokens": chance.choice((1, 5, 20, 40))} if chance.random() < 0.7 else {}
    return {
        "model": "chat",
        "messages": [{"role": "user", "content": content}],
        "stream": chance.random() < 0.7,
        "user": f"u{chance.randrange(1_000_000)}",
        **fields,
    }


async def ask(client: httpx.AsyncClient, url: str, key: str, whim: Whim) -> Heard:
    """One request, to whatever end."""
    asking = _Asking(whim)
    try:
        async with asyncio.timeout(whim.leaves_after):
            return await asking.end(client, url, key)
    except TimeoutError:
        return Heard(whim.tenant, "left", asking.id, asking.status)
    except httpx.HTTPError as error:
        return asking.heard("broken", told=f"{type(error).__name__}: {error}")


class _Asking:
    """One request on its way."""

    def __init__(self, whim: Whim) -> None:
        self._whim = whim
        self.id = ""
        self.status = 0

    def heard(self, ending: Ending, *, code: str | None = None, told: str = "") -> Heard:
        return Heard(self._whim.tenant, ending, self.id, self.status, code, told)

    async def end(self, client: httpx.AsyncClient, url: str, key: str) -> Heard:
        body = self._whim.body
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with client.stream("POST", url, content=content, headers=bearer(key)) as answer:
            self.status, self.id = answer.status_code, answer.headers.get("x-request-id", "")
            if answer.headers["content-type"].startswith("text/event-stream"):
                return self._judge_stream(await self._read(answer))
            return self._judge_whole(await answer.aread())

    async def _read(self, answer: httpx.Response) -> bytes:
        pieces = []
        async for piece in answer.aiter_raw():
            pieces.append(piece)
            if self._whim.pause:
                await asyncio.sleep(self._whim.pause)
        return b"".join(pieces)

    def _judge_whole(self, content: bytes) -> Heard:
        told = json.loads(content)
        if self.status == 200:
            is_whole = all(each["finish_reason"] for each in told["choices"])
            return self.heard("whole" if is_whole else "broken", told=repr(content[:200]))
        error = told["error"]
        return self.heard("refused", code=error["code"])

    def _judge_stream(self, content: bytes) -> Heard:
        events = [each.removeprefix(b"data: ") for each in content.split(b"\n\n")]
        if events.pop() or not events:
            return self.heard("broken", told=f"half an event: {content[-200:]!r}")
        *before, last = events
        said = [json.loads(each) for each in before if each != b"[DONE]"]
        if len(said) != len(before) or any("error" in each for each in said):
            return self.heard("broken", told=f"an end before the end: {content[-400:]!r}")
        if last == b"[DONE]":
            finished = [c["finish_reason"] for each in said for c in each["choices"]]
            is_whole = bool(finished) and finished[-1] is not None
            return self.heard("whole" if is_whole else "broken", told=repr(content[-200:]))
        ended = json.loads(last)
        if "error" not in ended:
            return self.heard("broken", told=f"neither an end nor an error: {content[-200:]!r}")
        return self.heard("cut", code=ended["error"]["code"])

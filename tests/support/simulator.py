"""
A simulated upstream in the test's own loop, over real sockets.

`async with running_simulator(tokens_per_second=100) as sim:` and then `sim.url`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from pydantic import JsonValue

from gateway.simulator import Listening, SimulatorSettings, listening
from gateway.simulator.faults import FaultList


class RunningSimulator:
    """What a test may ask of a simulator without going over the wire."""

    def __init__(self, server: Listening) -> None:
        self.url = server.url
        self._simulator = server.simulator

    def faults(self, *rules: dict[str, Any]) -> None:
        """These rules from now on; none clears them."""
        self._simulator.faults.rules = FaultList.validate_python(rules)

    def state(self) -> dict[str, Any]:
        """What `GET /simulator/state` tells."""
        return dict(self._simulator.state.shown())

    def requests(self) -> list[dict[str, JsonValue]]:
        """What `GET /simulator/requests` tells, the oldest first."""
        return [seen.shown() for seen in self._simulator.state.seen]


def events(stream: str) -> list[Any]:
    """The data of a stream's events: JSON, or text where it is none (`[DONE]`)."""
    blocks = [block for block in stream.split("\n\n") if block]
    return [_data(block.removeprefix("data: ")) for block in blocks]


def said(stream: str, *, index: int = 0) -> str:
    """What a streamed chat says in one of its choices."""
    choices = [
        choice for event in events(stream) if event != "[DONE]" for choice in event["choices"]
    ]
    return "".join(
        choice["delta"].get("content") or "" for choice in choices if choice["index"] == index
    )


async def eventually(true: Callable[[], bool], *, within: float = 1.0) -> None:
    """Return as soon as `true()`; `TimeoutError` after so many seconds."""
    async with asyncio.timeout(within):
        while not true():  # noqa: ASYNC110 - what it waits for is a count and sets no event
            await asyncio.sleep(0.002)


def _data(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


@asynccontextmanager
async def running_simulator(**settings: Any) -> AsyncIterator[RunningSimulator]:
    """A simulator on a free port; `settings` are those of `SimulatorSettings`."""
    chosen = SimulatorSettings.model_validate({"port": 0, **settings})
    async with listening(chosen) as server:
        yield RunningSimulator(server)

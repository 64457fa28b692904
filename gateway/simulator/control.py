"""
`/simulator/*`: what a test or a person asks a running simulator, and how faults are changed.

Never counted, never faulted, and without a key: a simulator holds nothing worth one.
"""

from collections.abc import Callable

import orjson
from pydantic import JsonValue, ValidationError

from .errors import error_body
from .exchange import Exchange
from .faults import FaultList, Faults
from .state import State

PREFIX = "/simulator/"


class Control:
    """`connections` tells how many sockets are open, the asker's included."""

    def __init__(self, state: State, faults: Faults, connections: Callable[[], int]) -> None:
        self._state = state
        self._faults = faults
        self._connections = connections

        self._actions: dict[tuple[str, str], Callable[[bytes], JsonValue]] = {
            ("GET", "state"): self._counts,
            ("GET", "requests"): self._requests,
            ("DELETE", "requests"): self._forget,
            ("GET", "faults"): self._rules,
            ("PUT", "faults"): self._replace,
            ("DELETE", "faults"): self._clear,
        }

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request under `PREFIX`."""
        body = await exchange.body()
        action = self._actions.get((exchange.method, exchange.path.removeprefix(PREFIX)))
        if action is None:
            await exchange.whole(404, b'{"detail":"Not Found"}')
            return
        try:
            answer = action(body)
        except ValidationError as invalid:
            told = invalid.json(include_url=False, include_input=False)
            await exchange.whole(400, error_body(400, told))
            return
        await exchange.whole(200, orjson.dumps(answer))

    def _counts(self, _: bytes) -> JsonValue:
        return self._state.shown() | {"connections": self._connections()}

    def _requests(self, _: bytes) -> JsonValue:
        return [seen.shown() for seen in self._state.seen]

    def _forget(self, _: bytes) -> JsonValue:
        self._state.seen.clear()
        return []

    def _rules(self, _: bytes) -> JsonValue:
        return [rule.model_dump(mode="json", exclude_unset=True) for rule in self._faults.rules]

    def _replace(self, body: bytes) -> JsonValue:
        self._faults.rules = FaultList.validate_json(body)
        return self._rules(body)

    def _clear(self, _: bytes) -> JsonValue:
        self._faults.rules = ()
        return []

"""Schemathesis reads the document of administration and holds the routes to it."""

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from typing import Self

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import positive_data_acceptance

from gateway.admin.throttle import Throttle
from gateway.store.database import Database
from tests.support.administration import BOOTSTRAP, office_of
from tests.support.world import KEYS, World

IDS = {
    "tenant": "acme",
    "project": "p-acme",
    "key": KEYS["acme"].public_id,
    "plan": "of-acme",
    "operator": "anna",
}
HEADERS = {"Authorization": f"Bearer {BOOTSTRAP}"}
NOT_OURS = [positive_data_acceptance]
"""A schema can't say which plans exist, nor that a change has to name its version."""
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "8"))
"""For each operation, valid ones and as many invalid ones."""


class Served:
    """Administration on a socket of its own, in a thread with a loop of its own."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen()  # so that whoever comes before the server is waits for it
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.ready = threading.Event()
        self._server: uvicorn.Server | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self.ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    async def _serve(self) -> None:
        async with Database(self._database_url) as database:
            office = office_of(database)
            await World(office).make()
            office.sessions._throttle = Throttle("10000/second", "10000/second")
            config = uvicorn.Config(office.api, log_config=None, lifespan="off")
            self._server = uvicorn.Server(config)
            self.ready.set()
            await self._server.serve(sockets=[self._socket])


def _make_known(case: schemathesis.Case) -> None:
    """Let it be about what there is, which made-up ids hardly ever name; nothing is deleted."""
    case.path_parameters = {name: IDS[name] for name in case.path_parameters or ()}
    case.headers["If-Match"] = "*" if case.method == "PATCH" else '"999"'


@pytest.fixture
def served(database_url: str) -> Iterator[Served]:
    with Served(database_url) as served:
        yield served


@pytest.mark.no_cover
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_administration_is_as_its_document_says(
    served: Served, mode: schemathesis.GenerationMode
) -> None:
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    found: list[str] = []
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            derandomize="FUZZ_EXAMPLES" not in os.environ,
            database=None,
        )
        @given(case=operation.as_strategy(generation_mode=mode), is_known=st.booleans())
        def holds(case: schemathesis.Case, is_known: bool) -> None:
            if is_known and mode is schemathesis.GenerationMode.POSITIVE:
                _make_known(case)
            case.call_and_validate(headers=HEADERS, excluded_checks=NOT_OURS)

        try:
            holds()
        except FailureGroup as error:
            found.append(str(error))
    assert not found, "\n\n".join(found)

"""
A request is gone when it is over: nothing of it waits for the collector, which runs rarely and
would keep the bodies of thousands until then.
"""

import gc
import weakref
from collections.abc import Iterator
from contextlib import suppress

import pytest

from gateway.contract.errors import GatewayError, ProviderError
from tests.support.pipeline import (
    GOOD,
    GOOD_WHOLE,
    HANGS_UP,
    Bench,
    Says,
    pipeline_of,
    refuses,
    streams,
    text,
)

ENDS: dict[str, tuple[tuple[Says, ...], bool]] = {
    "a whole answer": ((GOOD_WHOLE,), False),
    "a stream": ((GOOD,), True),
    "a failover": ((refuses(503), GOOD), True),
    "a stream that breaks off": ((streams(text("x")),), True),
    "a refusal": ((refuses(400),), False),
    "two breakdowns": ((HANGS_UP, HANGS_UP), True),
}


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("end", ENDS)
async def test_nothing_of_a_request_is_left_to_the_collector(end: str) -> None:
    says, stream = ENDS[end]
    bench = pipeline_of(*says, retries={"attempts": 2})

    gone = await _asked(bench, stream=stream)

    assert gone() is None


async def _asked(bench: Bench, *, stream: bool) -> "weakref.ref[object]":
    request = bench.request()
    with suppress(GatewayError, ProviderError):
        await bench.ask(request, stream=stream)
    return weakref.ref(request)

import asyncio
from pathlib import Path

import orjson
import pytest

from gateway.contract.errors import LoopDetected
from gateway.contract.head import head_of
from gateway.inbound.hops import hops_of
from tests.support.application import CHAT, bearer, built, exchanged, raw


@pytest.mark.parametrize("hops", [0, 1, 2])
def test_a_few_gateways_may_stand_before_this_one(hops: int) -> None:
    assert hops_of(head_of([(b"host", b"a"), (b"x-lockgate-hop", b"%d" % hops)])) == hops


def test_a_request_that_does_not_say_comes_from_a_client() -> None:
    assert hops_of(head_of([(b"host", b"a"), (b"x-other", b"9")])) == 0


@pytest.mark.parametrize(
    "values",
    [[b"3"], [b"99999999999999999999"], [b"-1"], [b"01"], [b"1 "], [b""], [b"x"], [b"1", b"1"]],
)
def test_more_or_anything_else_is_a_loop(values: list[bytes]) -> None:
    with pytest.raises(LoopDetected):
        hops_of(head_of([(b"x-lockgate-hop", value) for value in values]))


async def test_a_loop_is_ended_before_anybody_is_asked_who_they_are(tmp_path: Path) -> None:
    headers = raw(bearer() | {"x-lockgate-hop": "3"})
    app = await asyncio.to_thread(built, tmp_path)
    exchange = await exchanged(app, orjson.dumps(CHAT), headers=headers)

    assert (exchange.status, exchange.read) == (508, 0)
    assert orjson.loads(exchange.body)["error"]["code"] == "loop_detected"
    assert exchange.headers["x-should-retry"] == "false"

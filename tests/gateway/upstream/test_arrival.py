"""An answer on its own; as it is on a connection, `test_connection` says."""

import asyncio

import httpx
import pytest

from gateway.upstream.arrival import Arrival


class FakeLine:
    """What an answer sees of its connection."""

    def __init__(self) -> None:
        self.freed = 0
        self.reads_on = 0
        self.new_future = asyncio.get_running_loop().create_future

    def free(self, line: "FakeLine") -> None:
        assert line is self
        self.freed += 1

    def read_on(self) -> None:
        self.reads_on += 1


async def test_what_has_come_is_taken_at_once_and_the_end_frees_the_connection_once():
    line, pieces = FakeLine(), [b"a", b"b"]
    answer = Arrival(line, pieces)
    assert answer.take() == b"ab"
    assert answer.take() is None
    pieces.append(b"c")
    answer.complete = True
    assert answer.take() == b"c"
    assert not line.freed
    assert answer.take() == answer.take() == b""
    assert answer.over
    await answer.aclose()
    assert line.freed == 1


async def test_one_that_is_over_takes_nothing_of_the_next():
    line, pieces = FakeLine(), []
    answer = Arrival(line, pieces)
    answer.release()
    pieces.append(b"of the next")
    assert answer.take() == b""
    assert pieces == [b"of the next"]


async def test_a_failure_is_told_after_what_came_before_it():
    answer = Arrival(FakeLine(), [b"a"])
    answer.error = httpx.ReadError("gone")
    assert answer.take() == b"a"
    with pytest.raises(httpx.ReadError):
        answer.take()


async def test_a_socket_that_was_left_alone_is_read_again_when_what_waits_is_taken():
    line, pieces = FakeLine(), [b"a"]
    answer = Arrival(line, pieces)
    answer.held_up = True
    assert answer.take() == b"a"
    pieces.append(b"b")
    assert answer.take() == b"b"
    assert line.reads_on == 1


async def test_whoever_waits_is_woken_once_and_may_have_left():
    answer = Arrival(FakeLine(), [])
    answer.wake()
    waiter = answer.rest()
    assert answer.is_patient
    answer.wake()
    answer.wake()
    assert waiter.done()
    left = answer.news()
    assert not answer.is_patient
    left.cancel()
    answer.wake()


async def test_a_byte_of_it_has_come_when_there_is_any_of_its_head_or_body():
    answer = Arrival(FakeLine(), [])
    assert not answer.answered
    answer.barren = 1
    assert answer.answered
    answer.status, answer.barren = 200, 0
    assert answer.answered

"""A sink whose reader may have stopped: real pipes."""

import os
import select
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from gateway.telemetry import sink as sink_module
from gateway.telemetry.sink import FLUSH, LogSink


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    for fd in (read, write):
        with suppress(OSError):
            os.close(fd)


def drained(fd: int) -> bytes:
    chunks = []
    while chunk := os.read(fd, 65536):
        chunks.append(chunk)
    return b"".join(chunks)


def test_lines_arrive_whole_and_in_order(pipe: tuple[int, int]) -> None:
    read, write = pipe
    expected = [b"%d %s\n" % (n, b"x" * (n % 300)) for n in range(3000)]
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(drained(read)))
    reader.start()
    with LogSink(write) as sink:
        for line in expected:
            sink.write(line)
    os.close(write)
    reader.join()
    assert got[0].splitlines(keepends=True) == expected
    assert sink.dropped == 0


def test_a_stopped_reader_costs_lines_and_no_time(pipe: tuple[int, int]) -> None:
    read, write = pipe
    sink = LogSink(write, capacity=100_000)
    sink.open()
    thread = sink._thread
    line = b"x" * 999 + b"\n"
    started = time.monotonic()
    for _ in range(5000):
        sink.write(line)
    assert time.monotonic() - started < 2
    # At most what the pipe and the queue hold is still to come.
    assert sink.dropped >= 5000 - 100 - 100
    assert sink._waiting <= 100_000
    closing = time.monotonic()
    sink.close(timeout=0.2)
    assert time.monotonic() - closing < 2
    sink.write(line)  # and afterwards as well
    os.close(read)
    assert thread is not None
    thread.join()


def test_every_line_is_either_written_or_counted(pipe: tuple[int, int]) -> None:
    read, write = pipe
    sink = LogSink(write, capacity=200_000)
    sink.open()
    for number in range(5000):
        sink.write(b"%08d %s\n" % (number, b"x" * 90))
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(drained(read)))
    reader.start()
    sink.close()
    os.close(write)
    reader.join()
    lines = got[0].splitlines()
    assert len(lines) + sink.dropped == 5000
    assert all(len(line) == 99 for line in lines)


def test_a_reader_that_went_away_is_no_error(pipe: tuple[int, int]) -> None:
    read, write = pipe
    os.close(read)
    with LogSink(write) as sink:
        sink.write(b"one\n")
    assert sink.dropped == 1
    sink.write(b"two\n")
    assert sink.dropped == 2


def test_a_pipe_that_was_made_non_blocking_loses_nothing(pipe: tuple[int, int]) -> None:
    read, write = pipe
    os.set_blocking(write, False)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(drained(read)))
    with LogSink(write) as sink:
        for _ in range(500):
            sink.write(b"x" * 999 + b"\n")
        time.sleep(0.05)
        reader.start()
    os.close(write)
    reader.join()
    assert len(got[0]) == 500_000


def test_before_opening_and_after_closing_lines_are_written_at_once(pipe: tuple[int, int]) -> None:
    read, write = pipe
    sink = LogSink(write)
    sink.write(b"before\n")
    assert os.read(read, 100) == b"before\n"
    with sink:
        pass
    sink.write(b"after\n")
    assert os.read(read, 100) == b"after\n"


def test_opening_twice_starts_one_thread(pipe: tuple[int, int]) -> None:
    before = threading.active_count()
    with LogSink(pipe[1]) as sink:
        sink.open()
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_closing_at_any_moment_waits_for_no_more_than_what_is_left(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_module, "GATHER", 0.0005)
    began = time.monotonic()
    for number in range(400):
        with LogSink(pipe[1]) as sink:
            sink.write(b"x\n")
            time.sleep(number % 20 / 10_000)
        assert os.read(pipe[0], 100) == b"x\n"

    assert time.monotonic() - began < FLUSH


def test_what_shares_a_pipe_writes_whole_lines_in_pieces_that_no_pipe_tears(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = pipe
    written: list[bytes] = []
    real = os.write

    def watched(fd: int, data: bytes) -> int:
        if fd == write:
            written.append(bytes(data))
        return real(fd, data)

    monkeypatch.setattr(os, "write", watched)
    lines = [b"%d %s\n" % (n, b"x" * (n * 7 % 900)) for n in range(500)]
    huge = b"y" * (select.PIPE_BUF + 1) + b"\n"
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(drained(read)))
    reader.start()
    with LogSink(write, shared=True) as sink:
        for line in [*lines, huge, *lines]:
            sink.write(line)
    os.close(write)
    reader.join()

    assert got[0] == b"".join([*lines, huge, *lines])
    assert all(each.endswith(b"\n") for each in written)
    assert [each for each in written if len(each) > select.PIPE_BUF and huge not in each] == []

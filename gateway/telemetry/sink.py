"""
Where log lines leave the process.

Lines wait in a bounded queue for a thread that writes them, so a pipe whose reader has stopped
costs lines, which are counted, and never the event loop's time. Lines that come together are
written together: a busy gateway wakes the thread ten times a second, an idle one never. Each
time the two threads hand the interpreter to and fro, which costs more than the writing.
"""

import os
import select
import threading
from types import TracebackType
from typing import Self

CAPACITY = 4 * 1024 * 1024
"""Bytes that may wait."""
GATHER = 0.1
"""Seconds that lines are gathered before they are written."""
FLUSH = 2.0
"""Seconds that closing waits for what is left to be written."""


class LogSink:
    """
    Writes lines to a file descriptor, which stays open when the sink closes.

    Before it is opened, and after it has closed, a line is written at once if there is room. Where
    it is `shared` with other processes, so much is written at once as no pipe tears apart.
    """

    def __init__(self, fd: int = 1, *, capacity: int = CAPACITY, shared: bool = False) -> None:
        self._fd = fd
        self._shared = shared
        self._capacity = capacity
        self._lock = threading.Lock()
        self._lines: list[bytes] = []
        self._waiting = 0
        self._dropped = 0
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """Lines that were lost since the start."""
        return self._dropped

    def write(self, line: bytes) -> None:
        """Take a whole line with its end. Never raises and never waits for the reader."""
        if self._thread is None:
            if not self._write_all(line, patience=0):
                self._lose(1)
            return
        with self._lock:  # held for microseconds by either side
            if self._waiting + len(line) > self._capacity:
                self._dropped += 1
                return
            self._waiting += len(line)
            self._lines.append(line)
            is_first = len(self._lines) == 1
        if is_first:
            self._wanted.set()

    def open(self) -> None:
        """Start the thread, if it does not run."""
        if self._thread is None:
            self._closing.clear()
            # A daemon: a reader that never reads must not keep the process from ending.
            self._thread = threading.Thread(target=self._run, name="log-sink", daemon=True)
            self._thread.start()

    def close(self, timeout: float = FLUSH) -> None:
        """Write what waits, for `timeout` seconds at most. Blocks so long; the rest is dropped."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._closing.set()
            self._wanted.set()
            thread.join(timeout)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            # Cleared before anything is looked at, so that nothing said from here on is missed.
            self._wanted.clear()
            is_last = self._closing.wait(GATHER)
            with self._lock:
                lines, self._lines = self._lines, []
            size = sum(map(len, lines))
            if not self._write_all(b"".join(lines)):
                self._lose(len(lines))
            with self._lock:
                self._waiting -= size
            if is_last and not self._lines:
                return

    def _write_all(self, data: bytes, patience: float | None = None) -> bool:
        """Whether all of it was written; `patience` in milliseconds, None to wait for ever."""
        view = memoryview(data)
        room = select.poll()
        room.register(self._fd, select.POLLOUT)
        try:
            while view:
                if not room.poll(patience):
                    return False
                view = view[os.write(self._fd, view[: self._portion(data, view, patience)]) :]
        except OSError:  # the reader is gone
            return False
        return True

    def _portion(self, data: bytes, rest: memoryview, patience: float | None) -> int:
        """How much of the rest to write at once."""
        if patience is not None:  # so much fits when there is room at all: it does not wait
            return select.PIPE_BUF
        if not self._shared:
            return len(rest)
        begin = len(data) - len(rest)  # whole lines, as many as a pipe takes in one piece
        end = data.rfind(b"\n", begin, begin + select.PIPE_BUF) + 1
        return end - begin if end > begin else len(rest)

    def _lose(self, lines: int) -> None:
        with self._lock:
            self._dropped += lines

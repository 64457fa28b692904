"""
A file that keeps entries until they are in the database, for a process that may be killed.

An entry is one line: its CRC-32 and its JSON. What a call appended is on the disk when the call
returns: it writes all of its lines at once and has them synced once. A line that was torn by a
crash is passed over and told. Entries are numbered from 1 in the order in which they came; once
all numbers up to some one are in the database, the lines up to there may go: the file is emptied
when nothing in it is wanted, and split in two when it grows while something always is.

Everything here blocks: it is called in a thread. `PATH` takes new lines, `PATH.old` has earlier
ones, `PATH.lock` is held by the one process that uses them.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from zlib import crc32

import structlog

from ..settings import StartRefused

SPLIT = 4 * 1024 * 1024
"""Bytes from which on the file is split."""

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC

_log = structlog.get_logger()


class Journal:
    """One journal, used from any thread. Nothing is touched before `open`."""

    def __init__(self, path: Path, *, split: int = SPLIT) -> None:
        self._path = path
        self._old = path.with_name(f"{path.name}.old")
        self._new = path.with_name(f"{path.name}.new")
        self._split = split
        self._guard = Lock()
        self._lock = self._file = -1
        self._size = 0
        self._last = self._old_last = 0
        self._has_old = False

    def open(self) -> list[bytes]:
        """
        Take the file, and what an earlier process left in it: entries 1 to as many as there are.

        Raises:
            StartRefused: it is not to be had, or another process has it.
        """
        with self._guard:
            try:
                entries = self._take()
            except OSError as error:
                self._close()
                held = isinstance(error, BlockingIOError)
                why = "another process keeps its journal there" if held else error.strerror
                raise StartRefused(f"ledger.journal: {self._path}: {why}") from None
        self._last = self._old_last = len(entries)
        self._has_old = True
        return entries

    def append(self, entries: Sequence[bytes], last: int) -> None:
        """
        Keep entries, of which the last one has this number.

        Raises:
            OSError: they are not kept. May be repeated.
        """
        lines = _lines(entries)
        with self._guard:
            # At this place, so that what a failure left behind is written over.
            written = 0
            while written < len(lines):
                written += os.pwrite(self._file, lines[written:], self._size + written)
            os.fsync(self._file)
            self._size += written
            self._last = last

    def forget(self, last: int) -> None:
        """
        The entries up to this number are in the database.

        Raises:
            OSError: some of their lines are still there. May be repeated.
        """
        with self._guard:
            if self._has_old and last >= self._old_last:
                self._old.unlink(missing_ok=True)
                self._has_old = False
            if last >= self._last and self._size:
                os.ftruncate(self._file, 0)
                self._size = 0
            elif self._size >= self._split and not self._has_old:
                self._set_aside()

    def close(self) -> None:
        """Let go of the file and of what is in it."""
        with self._guard:
            self._close()

    def _take(self) -> list[bytes]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self._path.with_name(f"{self._path.name}.lock"), _FLAGS, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._file = os.open(self._path, _FLAGS, 0o600)
        left = [_read(self._old), _read(self._path)]
        entries = [entry for file in left for entry in _entries(file, self._path)]
        if left[1]:
            self._join(entries)
        return entries

    def _join(self, entries: list[bytes]) -> None:
        """Make one file of both. A crash amidst leaves some entries twice, which is harmless."""
        with os.fdopen(os.open(self._new, _FLAGS | os.O_TRUNC, 0o600), "wb") as file:
            file.write(_lines(entries))
            file.flush()
            os.fsync(file.fileno())
        self._new.replace(self._old)
        _sync(self._path.parent)
        os.ftruncate(self._file, 0)

    def _set_aside(self) -> None:
        empty = os.open(self._new, _FLAGS | os.O_TRUNC, 0o600)
        os.close(self._file)
        self._file, self._size = empty, 0
        self._old_last, self._has_old = self._last, True
        self._path.replace(self._old)
        self._new.replace(self._path)
        _sync(self._path.parent)

    def _close(self) -> None:
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _lines(entries: Sequence[bytes]) -> bytes:
    return b"".join([b"%08x %b\n" % (crc32(entry), entry) for entry in entries])


def _entries(file: bytes, path: Path) -> Iterator[bytes]:
    for number, line in enumerate(file.split(b"\n"), 1):
        entry = line[9:]
        if line[:9] == b"%08x " % crc32(entry) and entry:
            yield entry
        elif line:
            # Its process was killed while it wrote; nobody was told that this was kept.
            _log.error("ledger_journal_torn", path=str(path), line=number, bytes=len(line))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

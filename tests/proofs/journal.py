"""
What Redis itself wrote down: the append-only file, transaction by transaction, in the order in
which the server did them. It holds what a killed client can no longer tell.
"""

from collections.abc import Iterator
from pathlib import Path

import hiredis

CHUNK = 1 << 20
"""Bytes read at a time."""

Command = list[bytes]
Transaction = list[Command]


def transactions(directory: Path) -> Iterator[Transaction]:
    """Every script that changed anything, as the commands by which it did."""
    begun: Transaction | None = None
    for command in commands(directory):
        match command[0].upper():
            case b"MULTI":
                begun = []
            case b"EXEC":
                yield begun or []
                begun = None
            case _ if begun is None:
                yield [command]
            case _:
                begun.append(command)


def commands(directory: Path) -> Iterator[Command]:
    """Every command of the file's parts, in order."""
    parts = sorted(directory.glob("appendonlydir/*.incr.aof"), key=_number)
    for part in parts:
        reader = hiredis.Reader()
        with part.open("rb") as file:
            while chunk := file.read(CHUNK):
                reader.feed(chunk)
                while (command := reader.gets()) is not False:
                    yield command


def _number(part: Path) -> int:
    return int(part.name.split(".")[-3])

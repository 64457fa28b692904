"""What was appended is there after any end, and nothing is there for longer than it must."""

import resource
from contextlib import suppress
from errno import EFBIG
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.ledger.journal import Journal
from gateway.settings import StartRefused

lines = st.binary(min_size=1).filter(lambda line: b"\n" not in line)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger"


def reopened(path: Path) -> list[bytes]:
    """What a next process finds."""
    journal = Journal(path)
    try:
        return journal.open()
    finally:
        journal.close()


def numbered(first: int, last: int) -> list[bytes]:
    return [b'{"n":%d}' % n for n in range(first, last + 1)]


def test_what_was_appended_is_found_in_order(path: Path) -> None:
    journal = Journal(path)
    assert journal.open() == []
    journal.append(numbered(1, 2), last=2)
    journal.append(numbered(3, 3), last=3)
    journal.close()

    assert reopened(path) == numbered(1, 3)
    assert reopened(path) == numbered(1, 3)


def test_what_is_in_the_database_is_forgotten(path: Path) -> None:
    journal = Journal(path)
    journal.open()
    journal.append(numbered(1, 5), last=5)
    journal.forget(4)
    assert path.stat().st_size > 0
    journal.forget(5)
    assert path.stat().st_size == 0
    journal.append(numbered(6, 6), last=6)
    journal.close()

    assert reopened(path) == numbered(6, 6)


def test_what_an_earlier_process_left_is_numbered_from_one(path: Path) -> None:
    first = Journal(path)
    first.open()
    first.append(numbered(1, 3), last=3)
    first.close()

    second = Journal(path)
    assert second.open() == numbered(1, 3)
    second.append(numbered(4, 4), last=4)
    second.forget(3)
    second.close()
    assert reopened(path) == numbered(4, 4)


def test_the_file_does_not_grow_while_something_is_always_wanted(path: Path) -> None:
    journal = Journal(path, split=500)
    journal.open()
    for n in range(1, 500):
        journal.append(numbered(n, n), last=n)
        journal.forget(n - 5)
    sizes = [each.stat().st_size for each in path.parent.iterdir()]
    journal.close()

    assert sum(sizes) < 1500
    left = reopened(path)
    assert left == numbered(500 - len(left), 499)
    assert len(left) >= 5


def test_a_crash_between_splitting_and_the_next_line_loses_nothing(path: Path) -> None:
    journal = Journal(path, split=1)
    journal.open()
    journal.forget(0)
    journal.append(numbered(1, 3), last=3)
    journal.forget(2)
    journal.append(numbered(4, 5), last=5)
    assert path.with_name("ledger.old").exists()
    # Without closing: the next process is another one as far as the files are concerned.
    journal.close()

    assert reopened(path) == numbered(1, 5)


@given(entries=st.lists(lines, min_size=1), data=st.data())
@settings(max_examples=50)
def test_a_torn_line_is_dropped_and_told(
    entries: list[bytes], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("journal") / "ledger"
    journal = Journal(path)
    journal.open()
    journal.append(entries, last=len(entries))
    journal.close()
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:cut])

    complete = whole[:cut].count(b"\n")
    last = whole[:cut].rpartition(b"\n")[2]
    # A line is whole with its last byte, even if the end of the line is missing.
    complete += bool(last) and whole[cut : cut + 1] == b"\n"
    with capture_logs() as logs:
        assert reopened(path) == entries[:complete]
    torn = bool(last) and whole[cut : cut + 1] != b"\n"
    assert [log["event"] for log in logs] == ["ledger_journal_torn"] * torn


def test_a_line_that_was_changed_is_dropped_and_the_others_are_kept(path: Path) -> None:
    journal = Journal(path)
    journal.open()
    journal.append(numbered(1, 3), last=3)
    journal.close()
    path.write_bytes(path.read_bytes().replace(b'"n":2', b'"n":9'))

    assert reopened(path) == [*numbered(1, 1), *numbered(3, 3)]


def test_a_file_that_can_not_grow_keeps_what_it_has_and_goes_on_afterwards(path: Path) -> None:
    journal = Journal(path)
    journal.open()
    journal.append(numbered(1, 10), last=10)
    size = path.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large") as raised:
            journal.append(numbered(11, 20), last=20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.errno == EFBIG

    journal.append(numbered(11, 21), last=21)
    journal.close()
    assert reopened(path) == numbered(1, 21)


def test_one_journal_is_for_one_process(path: Path) -> None:
    first = Journal(path)
    first.open()

    with pytest.raises(StartRefused, match="another process keeps its journal there"):
        Journal(path).open()
    first.close()
    assert reopened(path) == []


def test_a_place_where_no_file_can_be_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StartRefused) as raised:
        Journal(tmp_path / "file" / "ledger").open()
    assert "\n" not in str(raised.value)
    assert "ledger.journal" in str(raised.value)


def test_the_journal_is_for_its_owner_alone(path: Path) -> None:
    journal = Journal(path, split=1)
    journal.open()
    journal.append(numbered(1, 1), last=1)
    journal.forget(0)
    journal.append(numbered(2, 2), last=2)
    journal.close()
    with suppress(FileNotFoundError):
        reopened(path)

    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file

"""What leaves as a file is what the ledger holds, and safe to open in a spreadsheet."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import orjson
import pytest

from gateway.ledger import export
from gateway.ledger.export import (
    rows_as_csv,
    rows_as_json_lines,
    usage_as_csv,
    usage_as_json_lines,
)
from gateway.store.database import Database
from gateway.store.ledger import Chosen, insert
from gateway.store.ledger_rows import Row
from gateway.store.usage import UsageQuery
from tests.support.ledger_rows import AT, request_id, row


async def keep(database: Database, *rows: Row) -> None:
    async with database.writing() as connection:
        await insert(connection, rows)


async def whole(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


def table(file: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.decode(), newline="")))


def objects(file: bytes) -> list[dict[str, Any]]:
    assert file.endswith(b"\n") or not file
    return [orjson.loads(line) for line in file.splitlines()]


async def test_every_row_is_exported_whole(database: Database) -> None:
    await keep(database, row(tags={"team": "x"}, cost=12_345_678_901, project="web"))

    [line] = table(await whole(rows_as_csv(database, Chosen())))
    assert line["at"] == AT.isoformat()
    assert (line["project"], line["tags"], line["stream"]) == ("web", '{"team":"x"}', "true")
    assert (line["cost_nano_usd"], line["cost_usd"]) == ("12345678901", "12.345678901")
    assert (line["attempts"], line["error"], line["provisional"]) == ("2", "", "false")
    [object_] = objects(await whole(rows_as_json_lines(database, Chosen())))
    assert set(object_) == set(line)
    assert (object_["cost_usd"], object_["tags"]) == ("12.345678901", {"team": "x"})
    assert [each["cost_nano_usd"] for each in object_["attempts"]] == [0, 900]


async def test_pages_are_joined_without_a_seam(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PAGE", 10)
    made = [row(request_id=request_id(n), at=AT + timedelta(seconds=n // 4)) for n in range(35)]
    await keep(database, *made)

    expected = [each.request_id for each in reversed(made)]
    lines = table(await whole(rows_as_csv(database, Chosen())))
    assert [line["request_id"] for line in lines] == expected
    pieces = [piece async for piece in rows_as_json_lines(database, Chosen())]
    assert [len(objects(piece)) for piece in pieces] == [10, 10, 10, 5]
    assert [each["request_id"] for piece in pieces for each in objects(piece)] == expected


async def test_only_what_was_chosen_is_exported(database: Database) -> None:
    await keep(database, row(request_id="a"), row(request_id="b", tenant="other"))

    [line] = table(await whole(rows_as_csv(database, Chosen(tenant="other"))))
    assert line["request_id"] == "b"


async def test_nothing_is_a_file_with_names_or_an_empty_one(database: Database) -> None:
    head = await whole(rows_as_csv(database, Chosen()))
    assert head.startswith(b"request_id,at,tenant,")
    assert head.count(b"\r\n") == 1
    assert await whole(rows_as_json_lines(database, Chosen())) == b""


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
async def test_no_value_is_a_formula(formula: str, database: Database) -> None:
    await keep(database, row(error=formula, model=formula, tags={"t": formula}))

    [line] = table(await whole(rows_as_csv(database, Chosen())))
    assert (line["error"], line["model"]) == (f"'{formula}", f"'{formula}")
    assert line["tags"].startswith("{")
    [summed] = table(await whole(usage_as_csv(database, UsageQuery(("tag:t",)))))
    assert summed["tag:t"] == f"'{formula}"
    [object_] = objects(await whole(rows_as_json_lines(database, Chosen())))
    assert object_["error"] == formula


async def test_quotes_commas_and_ends_of_lines_survive(database: Database) -> None:
    strange = 'a "b", c\r\nd\ne'
    await keep(database, row(error=strange))

    file = await whole(rows_as_csv(database, Chosen()))
    [line] = table(file)
    assert line["error"] == strange
    assert b'"a ""b"", c\r\nd\ne"' in file


async def test_sums_are_exported_by_their_groups(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PAGE", 3)
    await keep(
        database, *(row(request_id=request_id(n), at=AT - timedelta(days=n)) for n in range(7))
    )

    query = UsageQuery(("day", "tag:team"), limit=1)
    lines = table(await whole(usage_as_csv(database, query)))
    days = [(AT - timedelta(days=n)).date().isoformat() for n in reversed(range(7))]
    assert [line["day"] for line in lines] == days
    assert lines[0]["tag:team"] == ""
    assert (lines[0]["cost_usd"], lines[0]["measured"]) == ("0.000001000", "1")
    made = objects(await whole(usage_as_json_lines(database, query)))
    assert [each["day"] for each in made] == days
    assert (made[0]["tag:team"], made[0]["cost_nano_usd"]) == (None, 1_000)

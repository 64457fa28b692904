"""A row fits its table, whatever it was made of."""

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import BigInteger, String, Table

from gateway.store import ledger_rows, tables
from gateway.store.ledger_rows import AttemptRow, Row
from tests.support.ledger_rows import AT, row


def _texts(table: Table) -> dict[str, int]:
    return {c.name: c.type.length for c in table.c if isinstance(c.type, String)}


@pytest.mark.parametrize(
    ("kind", "table"), [(Row, tables.ledger), (AttemptRow, tables.attempts)], ids=["row", "attempt"]
)
def test_every_text_fits_its_column_to_the_character(kind: type, table: Table) -> None:
    schema = TypeAdapter(kind).json_schema()
    bounds = {}
    for name, field in schema["properties"].items():
        for option in field.get("anyOf", [field]):
            if "maxLength" in option:
                bounds[name] = option["maxLength"]

    columns = _texts(table)
    columns.pop("request_id" if kind is AttemptRow else "", None)
    assert bounds == columns


def test_a_row_names_every_column_of_its_table() -> None:
    names = set(TypeAdapter(Row).json_schema()["properties"])

    assert names | {"day"} == {column.name for column in tables.ledger.c}


def test_a_thousand_days_of_the_largest_counts_can_be_added_up() -> None:
    assert isinstance(tables.ledger.c.prompt_tokens.type, BigInteger)
    assert ledger_rows.MAX_TOKENS * 1_000_000 < 2**63
    assert ledger_rows.MAX_COST * 1_000 < 2**63


@pytest.mark.parametrize(
    "wrong",
    [
        {"tenant": "a" * 41},
        {"model": "a\x00b"},
        {"tags": {"a\x00": "b"}},
        {"prompt_tokens": -1},
        {"prompt_tokens": 2**60},
        {"cost": 2**53},
        {"at": datetime(2026, 3, 1)},  # noqa: DTZ001 - that is the fault
        {"request_id": ""},
    ],
    ids=str,
)
def test_what_a_database_would_refuse_is_no_row(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        row(**wrong)


def test_a_day_begins_at_midnight_in_utc() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=5, minutes=45)))

    assert elsewhere.date() == date(2026, 3, 2)
    assert row(at=elsewhere).day == date(2026, 3, 1)

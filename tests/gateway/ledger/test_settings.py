"""What the configuration says of the ledger."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.ledger.settings import LedgerSettings, days


@pytest.mark.parametrize(
    ("written", "number"),
    [("400 days", 400), ("400d", 400), ("32 days", 32), (90, 90), (" 365 d ", 365)],
)
def test_retention_is_a_number_of_days(written: object, number: int) -> None:
    assert LedgerSettings.model_validate({"retention": written}).retention == number


@pytest.mark.parametrize(
    "wrong", ["31 days", 31, 0, -1, "400 hours", "", "days", "4e2 days", True, 3.5, 40_000, None]
)
def test_the_ledger_outlives_the_longest_period_of_a_budget(wrong: object) -> None:
    with pytest.raises(ValueError, match="32"):
        days(wrong)
    with pytest.raises(ValidationError):
        LedgerSettings.model_validate({"retention": wrong})


def test_what_is_not_said_is_kept_for_more_than_a_year_and_in_no_file() -> None:
    settings = LedgerSettings()

    assert settings.retention == 400
    assert settings.journal is None


def test_durations_and_paths_are_written_as_elsewhere() -> None:
    settings = LedgerSettings.model_validate({"flush": "250ms", "journal": "state/ledger"})

    assert (settings.flush, settings.journal) == (0.25, Path("state/ledger"))

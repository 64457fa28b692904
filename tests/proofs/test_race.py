"""The race in short: every limit is held while everything is killed that can be."""

from tests.proofs.race import SHORT, run


def test_no_limit_is_ever_passed_while_racers_scripts_and_the_store_are_killed() -> None:
    outcome = run(SHORT, seed=1)

    assert outcome.attempts >= SHORT.attempts
    assert outcome.faults == []
    for sheet in outcome.referee.sheets.values():
        assert sheet.over == 0, sheet
        assert sheet.admissions, "it was never in the race"

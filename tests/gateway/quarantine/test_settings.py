"""What the file may say of the quarantine."""

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.quarantine import QuarantineSettings


def test_two_backends_in_ten_minutes_is_what_holds_by_default() -> None:
    settings = QuarantineSettings()

    assert (settings.enabled, settings.backends, settings.window) == (True, 2, 600.0)


@pytest.mark.parametrize("wrong", [{"backends": 0}, {"window": 0}, {"window": "soon"}, {"on": 1}])
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        QuarantineSettings.model_validate(wrong)

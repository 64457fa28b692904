import pytest
from pydantic import ValidationError

from gateway.health import HealthSettings


def test_the_ramp_can_be_switched_off_where_other_durations_can_not_be_nothing() -> None:
    assert HealthSettings.model_validate({"ramp": 0}).ramp == 0
    assert HealthSettings.model_validate({"ramp": "500ms"}).ramp == 0.5
    with pytest.raises(ValidationError):
        HealthSettings.model_validate({"cool_down": 0})


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_ejected", 1.1), ("max_ejected", -0.1), ("retry_share", 2), ("retries_per_second", -1)],
)
def test_shares_and_rates_have_bounds(field: str, value: float) -> None:
    with pytest.raises(ValidationError, match=field):
        HealthSettings.model_validate({field: value})

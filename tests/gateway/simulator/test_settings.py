import pytest
from pydantic import ValidationError

from gateway.simulator import SimulatorSettings


def test_the_defaults_are_a_server_without_limits_and_without_faults() -> None:
    settings = SimulatorSettings()

    assert settings.models == ("demo-model",)
    assert settings.tokens_per_second == 0
    assert settings.faults == ()


def test_every_option_says_what_it_is() -> None:
    undescribed = [
        name for name, field in SimulatorSettings.model_fields.items() if not field.description
    ]

    assert undescribed == []


def test_a_key_is_not_shown() -> None:
    assert "hidden" not in repr(SimulatorSettings.model_validate({"api_key": "hidden"}))


@pytest.mark.parametrize(
    "wrong", [{"port": 70000}, {"models": []}, {"jitter": 2}, {"speed": 1}, {"max_running": 0}]
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SimulatorSettings.model_validate(wrong)

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from gateway.inbound.settings import CorsSettings, HttpSettings, OpsSettings


def test_the_defaults_open_nothing() -> None:
    assert HttpSettings().cors.origins == ()
    assert OpsSettings().public is False
    assert OpsSettings().docs is None


def test_durations_are_written_as_people_write_them() -> None:
    http = HttpSettings.model_validate(
        {"body_timeout": "500ms", "drain_delay": 3, "drain_timeout": "2m"}
    )

    assert (http.body_timeout, http.drain_delay, http.drain_timeout) == (0.5, 3.0, 120.0)


def test_a_drain_delay_that_is_not_given_is_for_the_environment_to_say() -> None:
    assert HttpSettings().drain_delay is None


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (HttpSettings, {"max_body": 0}),
        (HttpSettings, {"max_body": -1}),
        (HttpSettings, {"body_timeout": "soon"}),
        (HttpSettings, {"drain_timeout": -1}),
        (HttpSettings, {"max_bodies": 1}),
        (HttpSettings, {"cors": {"origin": "*"}}),
        (CorsSettings, {"max_age": -1}),
        (OpsSettings, {"public": "perhaps"}),
        (OpsSettings, {"metrics": True}),
    ],
)
def test_what_makes_no_sense_is_refused(model: type[BaseModel], values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model.model_validate(values)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        HttpSettings().max_body = 1


@pytest.mark.parametrize("model", [CorsSettings, HttpSettings, OpsSettings])
def test_every_setting_says_what_it_is(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert field.description or name == "cors"

import pytest
from pydantic import TypeAdapter, ValidationError

from gateway.config.model import ModelName, Name
from gateway.pricing import FREE, Prices
from tests.support.configuration import SECRET, configured


@pytest.mark.parametrize("name", ["chat", "org/name", "org/name:latest", "日本", "a b", "x" * 200])
def test_a_public_model_name_is_printable_text(name: str) -> None:
    assert TypeAdapter(ModelName).validate_python(name) == name


@pytest.mark.parametrize("name", ["", "*", " a", "a\n", "a\x00", "x" * 201, "\u202e"])
def test_any_other_model_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(ModelName).validate_python(name)


@pytest.mark.parametrize("name", ["", "a/b", "a b", "a\n", "x" * 65])
def test_providers_and_plans_have_plain_names(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Name).validate_python(name)


def test_a_configuration_cannot_be_changed_and_shows_no_credential() -> None:
    config = configured()

    with pytest.raises(ValidationError):
        config.models = {}
    assert SECRET not in f"{config!r}{config}{config.model_dump_json()}"


def test_prices_are_part_of_a_snapshot_and_of_no_file() -> None:
    config = configured()
    priced = config.with_prices(Prices({"a/one": FREE}))

    assert priced.prices.of("a/one") is FREE
    assert config.prices.of("a/one") is None
    assert priced != config
    assert priced.model_dump() == config.model_dump()

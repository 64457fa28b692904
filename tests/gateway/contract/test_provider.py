"""What every provider has before its author writes a line."""

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.contract.errors import InvalidRequest, ProviderError, ProviderFailed
from gateway.contract.provider import (
    Body,
    Operation,
    Provider,
    ProviderSettings,
    Reader,
    Target,
    UpstreamRequest,
    Usage,
)


def settings(**fields: Any) -> ProviderSettings:
    return ProviderSettings.model_validate({"kind": "k", "base_url": "http://h", **fields})


class Silent(Provider[ProviderSettings]):
    """Says nothing; what is tested here is what every provider inherits."""

    Settings = ProviderSettings

    def encode(self, operation: Operation, body: Body, target: Target) -> UpstreamRequest:
        raise InvalidRequest("never")

    def reader(self, operation: Operation, body: Body, *, stream: bool) -> Reader:
        raise AssertionError("never read")

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        return ProviderFailed("always")


class Needy(Silent):
    """Needs a credential."""

    needs_credential = True


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://127.0.0.1:9101", "http://127.0.0.1:9101"),
        ("http://127.0.0.1:9101/", "http://127.0.0.1:9101"),
        ("http://127.0.0.1:9101/v1", "http://127.0.0.1:9101"),
        ("https://host/openai/v1/", "https://host/openai"),
    ],
)
def test_an_address_is_taken_with_and_without_the_version(given: str, kept: str) -> None:
    assert settings(base_url=given).base_url == kept


@pytest.mark.parametrize(
    "fields",
    [
        {"base_url": "host:1"},
        {"base_url": "file:///etc"},
        {"base_url": "http://"},
        {"base_url": "http://[::1"},
        {"basurl": "x"},
        {"network": "ours"},
    ],
)
def test_an_address_of_another_scheme_and_an_unknown_setting_are_refused(
    fields: dict[str, Any],
) -> None:
    with pytest.raises(ValidationError):
        settings(**fields)


def test_a_credential_shows_neither_in_settings_nor_in_their_faults() -> None:
    assert "s3cret" not in repr(settings(api_key="s3cret"))
    with pytest.raises(ValidationError) as raised:
        settings(api_key=["s3cret"])
    assert "s3cret" not in str(raised.value)


def test_a_provider_without_a_credential_that_it_needs_is_inactive() -> None:
    assert not Needy("n", settings()).is_active
    assert Needy("n", settings(api_key="k")).is_active
    assert Silent("n", settings()).is_active


def test_24_a_kind_is_public_unless_it_or_its_settings_say_otherwise() -> None:
    class Near(Silent):
        network = "private"

    there = settings(base_url="https://llm.example.com")
    here = settings(base_url="http://127.0.0.1:8000")

    assert [Silent("n", each).is_public for each in (there, here)] == [True, False]
    assert not Near("n", there).is_public
    assert not Silent("n", there.model_copy(update={"network": "private"})).is_public
    assert Near("n", here.model_copy(update={"network": "public"})).is_public


def test_a_kind_has_no_price_list_unless_it_says_so() -> None:
    assert Silent("n", settings()).price_list("m") is None


def test_an_author_has_three_methods_to_write() -> None:
    assert Provider.__abstractmethods__ == {"encode", "reader", "error"}


def test_a_target_is_spoken_of_by_provider_and_model() -> None:
    assert Target("vllm-a", "org/m").name == "vllm-a/org/m"


def test_a_total_is_what_was_read_and_written() -> None:
    assert Usage(3, 4, cached=2, reasoning=1).total == 7


def test_a_requests_repr_does_not_show_its_body() -> None:
    assert "prompt" not in repr(UpstreamRequest("http://h", (), b"prompt"))

from importlib.machinery import ModuleSpec

import pytest
from pydantic import ValidationError

from gateway.upstream import UpstreamSettings, settings


@pytest.mark.parametrize(("transport", "package"), [("aiohttp", "aiohttp"), ("httpx", "httpcore2")])
def test_a_transport_whose_package_is_missing_is_refused_with_the_name_of_its_extra(
    monkeypatch: pytest.MonkeyPatch, transport: str, package: str
):
    UpstreamSettings.model_validate({"transport": transport})

    def missing(name: str) -> ModuleSpec | None:
        assert name == package

    monkeypatch.setattr(settings, "find_spec", missing)
    with pytest.raises(ValidationError, match=rf"pip install 'lockgate\[{transport}\]'"):
        UpstreamSettings.model_validate({"transport": transport})
    assert UpstreamSettings().transport == "own"


def test_a_proxy_needs_an_engine_that_goes_through_one():
    with pytest.raises(ValidationError, match="`transport: aiohttp` or `transport: httpx`"):
        UpstreamSettings.model_validate({"proxy": "http://proxy.example:3128"})
    for transport in ("aiohttp", "httpx"):
        given = {"transport": transport, "proxy": "http://user:canary@proxy.example:3128/"}
        made = UpstreamSettings.model_validate(given)
        assert "canary" not in repr(made)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "proxy.example:3128",
        "http://",
        "http://proxy.example",
        "http://proxy.example:99999",
        "http://[::1:3128",
        "https://proxy.example:3128",
        "socks5://proxy.example:1080",
        "http://user:canary@proxy.example:3128/path",
        "http://proxy.example:3128?a=b",
        "http://proxy.example:3128#a",
    ],
)
def test_what_is_no_proxys_address_is_refused_without_being_shown(address: str):
    with pytest.raises(ValidationError) as failure:
        UpstreamSettings.model_validate({"transport": "aiohttp", "proxy": address})
    assert "canary" not in str(failure.value)


def test_what_makes_no_sense_is_refused():
    for wrong in (
        {"connect_timeout": 0},
        {"max_connections": 0},
        {"unknown": 1},
        {"transport": "x"},
    ):
        with pytest.raises(ValidationError):
            UpstreamSettings.model_validate(wrong)

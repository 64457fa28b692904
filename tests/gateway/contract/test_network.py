"""Which upstreams must have public addresses."""

import pytest

from gateway.contract.network import is_public

PUBLIC_NAMES = [
    "https://api.openai.com",
    "https://llm.example.com:8443/openai",
    "https://router.huggingface.co.",
    "http://localhost.example.com",
    "http://internal.example.com",
    "http://mylocal.example",
    "http://127.0.0.1.nip.io",
    "http://0177.0.0.1",
]
LOCAL_NAMES = [
    "http://127.0.0.1:9101",
    "http://10.1.2.3",
    "https://93.184.215.14",
    "http://[::1]:8000",
    "http://[2606:4700::1111]",
    "http://localhost:8000",
    "http://LOCALHOST.",
    "http://ollama:11434",
    "http://vllm.models.svc:8000",
    "http://vllm.models.svc.cluster.local",
    "http://gpu.corp.internal",
    "http://host.docker.internal",
    "http://box.home.arpa",
]


@pytest.mark.parametrize("base_url", PUBLIC_NAMES)
def test_a_name_of_the_internet_is_as_its_kind_says(base_url: str) -> None:
    assert is_public(base_url, None, "public")
    assert not is_public(base_url, None, "private")


@pytest.mark.parametrize("base_url", LOCAL_NAMES)
def test_24_an_address_or_a_name_of_the_local_network_is_private_by_statement(
    base_url: str,
) -> None:
    assert not is_public(base_url, None, "public")
    assert not is_public(base_url, None, "private")


@pytest.mark.parametrize("base_url", PUBLIC_NAMES + LOCAL_NAMES)
def test_what_the_operator_says_wins(base_url: str) -> None:
    for usual in ("public", "private"):
        assert is_public(base_url, "public", usual)
        assert not is_public(base_url, "private", usual)

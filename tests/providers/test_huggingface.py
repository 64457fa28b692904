"""The Hugging Face router: its addresses, its bill and its embeddings."""

import base64
import json
import struct
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.contract.conformance import Exchange, ProviderSuite
from gateway.contract.errors import InvalidRequest, ProviderGarbled, ProviderModelMissing
from gateway.contract.provider import Body, Target, Usage
from providers.huggingface import HuggingFace, HuggingFaceSettings, split_model

CHAT: Body = {"model": "chat-small", "messages": [{"role": "user", "content": "Hello"}]}
EMBED: Body = {"model": "embed-small", "input": ["a", "b"]}
STREAM = (
    b'data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"}}]}\r\n\r\n'
    b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":5,"completion_tokens":1}}\r\n\r\n'
    b"data: [DONE]\r\n\r\n"
)


def huggingface(**fields: Any) -> HuggingFace:
    given = {"kind": "huggingface", "api_key": "hf_secret_token", **fields}
    return HuggingFace("hf", HuggingFaceSettings.model_validate(given))


EXCHANGES = (
    Exchange("chat", STREAM, stream=True, text="Hi", finish=("stop",), usage=Usage(5, 1)),
    Exchange("embedding", b"[[0.5, -1.0]]"),
    Exchange("embedding", b"[[0.5, -1.0]]", body={"encoding_format": "base64"}),
)


class TestRouter(ProviderSuite):
    provider = huggingface(bill_to="my-org")
    exchanges = EXCHANGES


class TestHFInference(ProviderSuite):
    provider = huggingface(route="hf-inference")
    exchanges = EXCHANGES


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("org/name", ("org/name", "")),
        ("org/name:groq", ("org/name", "groq")),
        ("org/na:me:fastest", ("org/na:me", "fastest")),
        ("host:80/name", ("host:80/name", "")),
        ("name:", ("name", "")),
    ],
)
def test_a_model_is_split_at_its_last_colon(model: str, parts: tuple[str, str]) -> None:
    assert split_model(model) == parts


@pytest.mark.parametrize("model", ["org/name", "org/name:groq", "org/name:cheapest"])
def test_the_router_is_told_provider_and_policy_in_the_model(model: str) -> None:
    request = huggingface().encode("chat", CHAT, Target("hf", model))

    assert request.url == "https://router.huggingface.co/v1/chat/completions"
    assert json.loads(request.content)["model"] == model


def test_hf_inference_has_an_address_for_each_model() -> None:
    provider = huggingface(route="hf-inference")
    request = provider.encode("chat", CHAT, Target("hf", "org/a name:hf-inference"))

    assert request.url == (
        "https://router.huggingface.co/hf-inference/models/org/a%20name/v1/chat/completions"
    )
    assert json.loads(request.content)["model"] == "org/a name"


def test_the_organisation_that_pays_is_named() -> None:
    headers = dict(huggingface(bill_to="my-org").encode("chat", CHAT, Target("hf", "m")).headers)

    assert headers[b"x-hf-bill-to"] == b"my-org"
    assert headers[b"authorization"] == b"Bearer hf_secret_token"
    assert b"x-hf-bill-to" not in dict(
        huggingface().encode("chat", CHAT, Target("hf", "m")).headers
    )


def test_the_provider_behind_the_router_is_recorded_and_a_token_is_needed() -> None:
    assert huggingface().recorded_headers == ("x-inference-provider",)
    assert huggingface().is_active
    assert not huggingface(api_key="").is_active


def test_the_router_has_a_price_list_for_each_provider_behind_it() -> None:
    model = "org/name:groq"

    assert huggingface().price_list(model) == ("huggingface_groq", "org/name")
    assert huggingface().price_list("org/name") is None
    assert huggingface().price_list("org/name:fastest") is None
    assert huggingface(route="hf-inference").price_list(model) is None
    assert huggingface(base_url="http://like-it").price_list(model) is None


def test_the_retired_host_is_refused() -> None:
    with pytest.raises(ValidationError, match="retired"):
        huggingface(base_url="https://api-inference.huggingface.co/v1")
    router = huggingface(base_url="https://router.huggingface.co/v1")
    assert router.settings.base_url == "https://router.huggingface.co"


@pytest.mark.parametrize("route", ["router", "hf-inference"])
@pytest.mark.parametrize("suffix", ["", ":fastest", ":hf-inference"])
def test_an_embedding_is_a_task_of_its_own(route: str, suffix: str) -> None:
    body = {**EMBED, "normalize": True, "encoding_format": "float", "user": "u"}
    request = huggingface(route=route).encode("embedding", body, Target("hf", f"org/name{suffix}"))

    assert request.url == (
        "https://router.huggingface.co/hf-inference/models/org/name/pipeline/feature-extraction"
    )
    assert json.loads(request.content) == {"inputs": ["a", "b"], "normalize": True}
    assert request.dropped == ("user",)


def test_vectors_become_embeddings_of_the_dialect() -> None:
    reader = huggingface().reader("embedding", EMBED, stream=False)

    seen = reader.read(b"[[0.5, -1], [0.25, 2]]")

    assert seen.translated
    assert reader.complete
    assert seen.usage is None
    assert seen.payload == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, -1]},
            {"object": "embedding", "index": 1, "embedding": [0.25, 2]},
        ],
        "model": "embed-small",
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }


def test_vectors_are_packed_where_the_client_wants_base64() -> None:
    reader = huggingface().reader(
        "embedding", {**EMBED, "input": "a", "encoding_format": "base64"}, stream=False
    )

    payload = reader.read(b"[[0.5, -1]]").payload

    assert payload is not None
    packed = base64.b64decode(payload["data"][0]["embedding"])
    assert struct.unpack("<2f", packed) == (0.5, -1.0)


@pytest.mark.parametrize(
    "answer",
    [
        b"[]",
        b"[[0.5]]",
        b"[[0.5], []]",
        b"[[[0.5]], [[0.5]]]",
        b"[0.5, 0.5]",
        b'[["a"], ["b"]]',
        b"[[1e39], [1]]",
        b"{}",
        b"null",
    ],
)
def test_anything_but_one_vector_for_each_text_is_garbled(answer: bytes) -> None:
    reader = huggingface().reader("embedding", EMBED, stream=False)

    assert isinstance(reader.read(answer).error, ProviderGarbled)
    assert not reader.complete


def test_an_error_under_a_good_status_is_named() -> None:
    reader = huggingface().reader("embedding", EMBED, stream=False)

    error = reader.read(b'{"error": {"message": "no such model", "code": "model_not_found"}}').error

    assert isinstance(error, ProviderModelMissing)


@pytest.mark.parametrize(
    ("fields", "model", "param"),
    [
        ({"input": [1, 2]}, "org/name", "input"),
        ({"input": [[1], [2]]}, "org/name", "input"),
        ({"dimensions": 5}, "org/name", "dimensions"),
        ({}, "org/name:groq", "model"),
    ],
)
def test_what_hf_inference_can_not_do_is_said(
    fields: dict[str, Any], model: str, param: str
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        huggingface().encode("embedding", {**EMBED, **fields}, Target("hf", model))
    assert raised.value.param == param

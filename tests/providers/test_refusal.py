"""What statuses and bodies of a refusal mean."""

import json
from typing import Any

import orjson
import pytest

from gateway.contract.errors import (
    ProviderAuthFailed,
    ProviderError,
    ProviderFailed,
    ProviderGarbled,
    ProviderModelMissing,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderRedirected,
    ProviderRefused,
    ProviderRejected,
)
from providers.refusal import MAX_TOLD, Refusals

REFUSALS = Refusals(["sk-secret", "http://10.0.0.7:8000", "10.0.0.7:8000", ""])


def named(status: int, answer: Any = None, **headers: str) -> ProviderError:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return REFUSALS.of_answer(status, names, body)


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        ((301, 302, 307, 308, 399), ProviderRedirected),
        ((400, 405, 409, 413, 418, 422, 451, 499), ProviderRejected),
        ((401, 403), ProviderAuthFailed),
        ((402,), ProviderQuotaExhausted),
        ((404,), ProviderModelMissing),
        ((429,), ProviderRateLimited),
        ((408, 500, 501, 504, 505, 520, 599), ProviderFailed),
        ((502, 503, 529), ProviderRefused),
        ((100, 199, 201, 204, 600, 999), ProviderGarbled),
    ],
)
def test_a_status_says_what_became_of_the_attempt(
    statuses: tuple[int, ...], kind: type[ProviderError]
) -> None:
    assert {type(named(status)) for status in statuses} == {kind}


@pytest.mark.parametrize("word", ["type", "code"])
def test_an_empty_account_is_no_rate_limit(word: str) -> None:
    error = named(429, {"error": {"message": "pay", word: "insufficient_quota"}})

    assert isinstance(error, ProviderQuotaExhausted)
    assert (error.status, error.code) == (503, "upstream_quota_exhausted")


@pytest.mark.parametrize("status", [429, 502, 503, 529])
def test_a_refusal_carries_how_long_to_wait(status: int) -> None:
    assert named(status, retry_after="7").retry_after == 7
    assert named(status).retry_after is None


def test_a_rejection_keeps_message_parameter_and_code() -> None:
    error = named(422, {"error": {"message": "bad n", "param": "n", "code": "out_of_range"}})

    assert (error.status, error.message, error.param, error.code) == (
        422,
        "bad n",
        "n",
        "out_of_range",
    )


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"error": {"message": "m", "code": 400}}, "m"),
        ({"error": "m"}, "m"),
        ({"error": ["m"]}, '["m"]'),
        ({"object": "error", "message": "m", "code": 400}, "m"),
        ({"detail": "m"}, "m"),
        ({"detail": [{"msg": "m"}]}, '[{"msg":"m"}]'),
        ({"message": "m"}, "m"),
        ("m", "m"),
        (b"<html>m</html>", "<html>m</html>"),
        (b"", "The upstream rejected this request."),
        ({}, "The upstream rejected this request."),
    ],
)
def test_every_shape_of_error_is_understood(answer: Any, message: str) -> None:
    assert named(400, answer).message == message


def test_a_code_that_is_a_number_becomes_a_string() -> None:
    assert named(400, {"error": {"message": "m", "code": 400}}).code == "400"


@pytest.mark.parametrize(
    "error",
    [
        {"message": "whatever", "code": "context_length_exceeded"},
        {"message": "This model's maximum context length is 4096 tokens.", "code": 400},
        {"message": "The decoder prompt (length 9) is longer than the maximum model length of 4."},
        {"message": "request (9 tokens) exceeds the available context size (4 tokens)"},
    ],
)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_prompt_that_is_too_long_has_one_code(error: dict[str, Any], status: int) -> None:
    rejected = named(status, {"error": error})
    assert (rejected.status, rejected.code) == (400, "context_length_exceeded")


def test_credential_and_address_are_cut_out_of_every_field() -> None:
    text = "key sk-secret at http://10.0.0.7:8000/v1 or 10.0.0.7:8000"
    error = named(400, {"error": {"message": text, "code": text, "param": text}})

    shown = f"{error} {error.message} {error.code} {error.param}"
    assert error.message == "key [redacted] at [redacted]/v1 or [redacted]"
    assert "sk-secret" not in shown
    assert "10.0.0.7" not in shown


@pytest.mark.parametrize("length", range(MAX_TOLD - 12, MAX_TOLD + 2))
def test_the_text_is_bounded_and_no_half_of_a_secret_is_left(length: int) -> None:
    error = named(400, {"error": {"message": "ü" * (length // 2) + "sk-secret" + "a" * 9000}})

    assert len(error.message.encode()) <= MAX_TOLD
    assert "sk-" not in error.message


@pytest.mark.parametrize(
    "answer",
    [
        b'{"error": {"message": %b}}' % (b"[" * 300 + b"]" * 300),
        b'{"error": ' * 900 + b'"lost"' + b"}" * 900,
        b'{"detail": %b}' % (b'{"a":' * 300 + b"1" + b"}" * 300),
    ],
)
def test_an_error_that_is_nested_deeply_is_one_like_others(answer: bytes) -> None:
    assert isinstance(named(400, answer), ProviderRejected)
    assert isinstance(REFUSALS.of_event(orjson.loads(answer)), ProviderFailed)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 429, "message": "m"}, ProviderRateLimited),
        ({"code": "503", "message": "m"}, ProviderRefused),
        ({"code": None, "type": "rate_limit_error"}, ProviderRateLimited),
        ({"type": "insufficient_quota"}, ProviderQuotaExhausted),
        ({"type": "invalid_request_error"}, ProviderRejected),
        ({"code": "invalid_api_key", "type": "invalid_request_error"}, ProviderAuthFailed),
        ({"type": "overloaded_error"}, ProviderRefused),
        ({"type": "BadRequestError", "code": 400}, ProviderRejected),
        ({"type": "server_error"}, ProviderFailed),
        ({"message": "no hint"}, ProviderFailed),
        ("a bare string", ProviderFailed),
        ({"code": 999}, ProviderFailed),
        (True, ProviderFailed),
    ],
)
@pytest.mark.parametrize("is_wrapped", [True, False])
def test_an_error_without_a_status_is_named_by_its_words(
    error: Any, kind: type[ProviderError], is_wrapped: bool
) -> None:
    assert type(REFUSALS.of_event({"error": error} if is_wrapped else error)) is kind

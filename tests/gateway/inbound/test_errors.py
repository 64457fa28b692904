"""WIRE's table of errors, case by case, and what OpenAI's SDK makes of the headers."""

import httpx2
import openai
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract import errors
from gateway.contract.errors import GatewayError, ProviderError
from gateway.inbound.errors import error_body, error_event, error_headers

INVALID = "invalid_request_error"
SERVER = "server_error"

TABLE: list[tuple[GatewayError | ProviderError, int, str, str | None, bool]] = [
    (errors.InvalidRequest("told", param="n"), 400, INVALID, None, False),
    (errors.InvalidRequest("told", code="invalid_json"), 400, INVALID, "invalid_json", False),
    (errors.RequestExceedsLimit("told"), 400, INVALID, "request_exceeds_limit", False),
    (errors.InvalidKey(), 401, INVALID, "invalid_api_key", False),
    (errors.AccessRevoked(), 401, INVALID, "access_revoked", False),
    (
        errors.PermissionDenied("told", code="insufficient_scope"),
        403, INVALID, "insufficient_scope", False,
    ),
    (errors.UnknownModel(), 404, INVALID, "model_not_found", False),
    (errors.BodyTooSlow("told"), 408, INVALID, "request_timeout", False),
    (
        errors.IdempotencyConflict("told", code="idempotency_key_reused"),
        409, INVALID, "idempotency_key_reused", False,
    ),
    (errors.AnswerPending(), 409, INVALID, "idempotency_answer_pending", True),
    (errors.BodyTooLarge("told"), 413, INVALID, "request_too_large", False),
    (errors.UnsupportedMediaType("told"), 415, INVALID, "unsupported_media_type", False),
    (
        errors.LimitExceeded("told", measure="requests", retry_after=2.0),
        429, "requests", "rate_limit_exceeded", True,
    ),
    (
        errors.LimitExceeded("told", measure="tokens", retry_after=2.0),
        429, "tokens", "rate_limit_exceeded", True,
    ),
    (
        errors.LimitExceeded("told", measure="concurrency", retry_after=2.0),
        429, "requests", "rate_limit_exceeded", True,
    ),
    (
        errors.BudgetExhausted("told", measure="money", retry_after=86_400.0),
        429, "insufficient_quota", "insufficient_quota", False,
    ),
    (errors.TooManyFailures(retry_after=9.0), 429, "requests", "too_many_failures", True),
    (errors.InternalError(), 500, SERVER, "internal_error", False),
    (errors.RequestQuarantined(), 422, INVALID, "request_quarantined", False),
    (errors.LoopDetected(), 508, INVALID, "loop_detected", False),
    (errors.NoHealthyUpstream("told", retry_after=3.0), 503, SERVER, "no_healthy_upstream", True),
    (errors.LimitsUnavailable("told", retry_after=1.0), 503, SERVER, "limits_unavailable", True),
    (errors.StoreUnavailable(), 503, SERVER, "store_unavailable", True),
    (errors.LedgerFull(), 503, SERVER, "ledger_full", True),
    (errors.Draining("told"), 503, SERVER, "gateway_draining", True),
    (
        errors.ProviderRejected("theirs", status=400, code="context_length_exceeded"),
        400, INVALID, "context_length_exceeded", False,
    ),
    (errors.ProviderRejected("theirs", status=422), 422, INVALID, None, False),
    (errors.ProviderBlocked("theirs"), 502, SERVER, "upstream_blocked_address", False),
    (errors.ProviderUnreachable("theirs"), 503, SERVER, "no_healthy_upstream", True),
    (errors.ProviderBusy("theirs"), 503, SERVER, "no_healthy_upstream", True),
    (errors.ProviderRefused("theirs"), 502, SERVER, "upstream_error", True),
    (
        errors.ProviderRateLimited("theirs", retry_after=4.0),
        429, "requests", "rate_limit_exceeded", True,
    ),
    (
        errors.ProviderQuotaExhausted("theirs"),
        503, SERVER, "upstream_quota_exhausted", False,
    ),
    (errors.ProviderAuthFailed("theirs"), 502, SERVER, "upstream_auth_error", False),
    (errors.ProviderModelMissing("theirs"), 502, SERVER, "upstream_model_missing", False),
    (errors.ProviderRedirected("theirs"), 502, SERVER, "upstream_redirect", False),
    (errors.ProviderFailed("theirs"), 502, SERVER, "upstream_error", False),
    (errors.ProviderTimedOut("theirs"), 504, "timeout", "upstream_timeout", False),
    (errors.ProviderCutShort("theirs"), 504, "timeout", "upstream_timeout", False),
    (errors.ProviderDisconnected("theirs"), 502, SERVER, "upstream_disconnected", False),
    (errors.ProviderGarbled("theirs"), 502, SERVER, "upstream_invalid_event", False),
    (errors.ProviderDiverged("theirs"), 502, SERVER, "upstream_diverged", False),
]  # fmt: skip
CASES = pytest.mark.parametrize(
    ("error", "status", "kind", "code", "retry"),
    TABLE,
    ids=[type(case[0]).__name__ + f"-{number}" for number, case in enumerate(TABLE)],
)
SDK_CLASSES = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
}


def test_the_table_has_every_error_that_there_is() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    every = {kind for kind in kinds if issubclass(kind, GatewayError | ProviderError)}

    assert {type(case[0]) for case in TABLE} == every - {GatewayError, ProviderError}


@CASES
def test_an_error_is_told_in_openais_words(
    error: GatewayError | ProviderError, status: int, kind: str, code: str | None, retry: bool
) -> None:
    told = error_body(error)

    assert error.status == status
    assert told.keys() == {"error"}
    assert told["error"] == {
        "message": error.message, "type": kind, "param": error.param, "code": code
    }  # fmt: skip
    assert told["error"]["message"]


@CASES
def test_an_upstreams_words_are_shown_only_where_they_tell_the_caller_what_to_mend(
    error: GatewayError | ProviderError, status: int, kind: str, code: str | None, retry: bool
) -> None:
    is_relayed = isinstance(error, errors.ProviderRejected)

    assert (b"theirs" in orjson.dumps(error_body(error))) == is_relayed


@CASES
async def test_openais_sdk_does_what_the_hints_say(
    error: GatewayError | ProviderError, status: int, kind: str, code: str | None, retry: bool
) -> None:
    asked = 0

    def answer(_: httpx2.Request) -> httpx2.Response:
        nonlocal asked
        asked += 1
        hints = [hint for hint in error_headers(error) if not hint[0].startswith(b"retry-after")]
        headers = [*hints, (b"retry-after-ms", b"1")]
        return httpx2.Response(error.status, json=error_body(error), headers=headers)

    sdk = openai.AsyncOpenAI(
        api_key="k",
        base_url="http://gateway/v1",
        max_retries=1,
        http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(answer)),
    )
    default = openai.InternalServerError if status >= 500 else openai.APIStatusError
    async with sdk:
        with pytest.raises(SDK_CLASSES.get(status, default)) as raised:
            await sdk.models.list()

    assert asked == (2 if retry else 1)
    assert (raised.value.code, raised.value.type, raised.value.param) == (code, kind, error.param)


@CASES
def test_an_event_is_one_error_and_nothing_else(
    error: GatewayError | ProviderError, status: int, kind: str, code: str | None, retry: bool
) -> None:
    event = error_event(error)

    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    assert event.count(b"\n") == 2
    assert orjson.loads(event[6:]) == error_body(error)


@CASES
def test_the_headers_say_where_the_error_comes_from(
    error: GatewayError | ProviderError, status: int, kind: str, code: str | None, retry: bool
) -> None:
    source = dict(error_headers(error))[b"x-lockgate-error-source"]

    assert source == (b"gateway" if isinstance(error, GatewayError) else b"upstream")


@given(seconds=st.floats(0, 100_000))
def test_waiting_as_long_as_the_headers_say_is_never_too_short(seconds: float) -> None:
    error = errors.NoHealthyUpstream("", retry_after=seconds)
    headers = dict(error_headers(error))

    assert seconds <= int(headers[b"retry-after-ms"]) / 1000 < seconds + 0.002
    assert seconds <= int(headers[b"retry-after"]) < seconds + 1.001
    assert int(headers[b"retry-after-ms"]) >= 1


def test_nothing_is_said_of_a_wait_that_nobody_knows() -> None:
    names = {name for name, _ in error_headers(errors.InvalidKey())}

    assert names == {b"x-lockgate-error-source", b"x-should-retry"}

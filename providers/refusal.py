"""
Names what an upstream in the OpenAI dialect means by a refusal.

Statuses decide; a body only tells an empty account from a rate limit and a prompt that is too
long from other faults. What is kept of the upstream's text is bounded and holds neither its
credential nor its address.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

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
from gateway.contract.headers import retry_after

MAX_TOLD: Final = 2048
"""Bytes that are kept of an upstream's message."""
MAX_WORD: Final = 64
"""Characters that are kept of a code; twice as many of a parameter's name."""

_BY_STATUS: Final[Mapping[int, type[ProviderError]]] = {
    401: ProviderAuthFailed,
    402: ProviderQuotaExhausted,
    403: ProviderAuthFailed,
    404: ProviderModelMissing,
    408: ProviderFailed,
    429: ProviderRateLimited,
    502: ProviderRefused,
    503: ProviderRefused,
    529: ProviderRefused,
}
_TOO_LONG: Final = re.compile(
    r"maximum context length|context window|context size|maximum model length"
    r"|context_length_exceeded|prompt is too long|longer than the (?:maximum )?model",
    re.IGNORECASE,
)
_STATUS_OF_WORD: Final = {
    "insufficient_quota": 429,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "requests": 429,
    "tokens": 429,
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "overloaded_error": 503,
    "service_unavailable_error": 503,
}


@dataclass(frozen=True, slots=True)
class _Told:
    """An upstream's error, of whatever shape, in OpenAI's four words."""

    message: str
    type: str | None = None
    code: str | None = None
    param: str | None = None


class Refusals:
    """Names refusals of one upstream. `secrets` never show in what it keeps, longest first."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = tuple(sorted(filter(None, secrets), key=len, reverse=True))

    def of_answer(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """What an answer with a status other than 200 means."""
        return self._named(status, headers, self._told(_parsed(body)))

    def of_event(self, error: Any) -> ProviderError:
        """What an `error` in an event, or in a body under status 200, means."""
        told = self._told(error)
        return self._named(_status(told), {}, told)

    def _named(self, status: int, headers: Mapping[str, str], told: _Told) -> ProviderError:
        if status == 429 and "insufficient_quota" in {told.code, told.type}:
            status = 402
        kind = _BY_STATUS.get(status)
        if kind is None:
            return _named_by_class(status, told)
        return kind(told.message, retry_after=retry_after(headers, datetime.now(UTC)))

    def _told(self, answer: Any) -> _Told:
        while isinstance(answer, dict) and isinstance(answer.get("error"), dict):
            answer = answer["error"]
        match answer:
            case {"error": error} | {"detail": error} if error:
                return _Told(self._clean(error, MAX_TOLD) or "")
            case dict():
                word = MAX_WORD
                return _Told(
                    self._clean(answer.get("message"), MAX_TOLD) or "",
                    self._clean(answer.get("type"), word),
                    self._clean(answer.get("code"), word),
                    self._clean(answer.get("param"), 2 * word),
                )
            case _:
                return _Told(self._clean(answer, MAX_TOLD) or "")

    def _clean(self, value: Any, most: int) -> str | None:
        """As text without secrets, then cut: the other way round, half a secret could stay."""
        if value is None:
            return None
        text = value if isinstance(value, str) else _written(value)
        for secret in self._secrets:
            text = text.replace(secret, "[redacted]")
        return text.encode(errors="replace")[:most].decode(errors="ignore")


def _named_by_class(status: int, told: _Told) -> ProviderError:
    if 300 <= status <= 399:
        return ProviderRedirected(told.message)
    if 500 <= status <= 599:
        return ProviderFailed(told.message)
    if 400 <= status <= 499:
        return _rejected(status, told)
    return ProviderGarbled(f"status {status}", code="upstream_protocol_error")


def _rejected(status: int, told: _Told) -> ProviderRejected:
    message = told.message or "The upstream rejected this request."
    if _TOO_LONG.search(f"{told.code} {told.message}"):
        return ProviderRejected(
            message, status=400, code="context_length_exceeded", param=told.param
        )
    return ProviderRejected(message, status=status, code=told.code, param=told.param)


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode(errors="replace")


def _written(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # it reads deeper than it writes
        return "an error that is nested too deeply"


def _status(told: _Told) -> int:
    """Of an error that came under a 200: its code is one, or its words are known, or it is 500."""
    code = told.code or ""
    if re.fullmatch(r"[3-5][0-9][0-9]", code):
        return int(code)
    return _STATUS_OF_WORD.get(code) or _STATUS_OF_WORD.get(told.type or "") or 500

"""Errors carry their own consequence, and the drawing of them is right."""

import re

import pytest

from gateway.contract import errors
from gateway.contract.errors import (
    BodyTooLarge,
    BodyTooSlow,
    GatewayError,
    InternalError,
    InvalidKey,
    InvalidRequest,
    LimitExceeded,
    PermissionDenied,
    ProviderError,
    ProviderRateLimited,
    ProviderRefused,
    ProviderRejected,
    Retry,
    TooManyFailures,
    UnknownModel,
)

DRAWN = re.findall(r"^ {4,12}([A-Z]\w+) ", errors.__doc__ or "", re.MULTILINE)
CLASSES = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, GatewayError | ProviderError)
]
ATTEMPT_ERRORS = [
    each for each in CLASSES if issubclass(each, ProviderError) and each is not ProviderError
]


def test_the_drawing_shows_every_error() -> None:
    assert set(DRAWN) == {each.__name__ for each in CLASSES}


def test_an_error_is_one_step_from_what_it_is_drawn_under() -> None:
    above: dict[int, str] = {}
    for indent, name in re.findall(r"^( {4,12})([A-Z]\w+) ", errors.__doc__ or "", re.MULTILINE):
        above[len(indent)] = name
        if len(indent) > 4:
            kind = getattr(errors, name)
            assert [base.__name__ for base in kind.__bases__] == [above[len(indent) - 4]]


def test_the_drawing_says_what_a_failed_attempt_allows() -> None:
    drawn = dict(
        re.findall(r"^ {8,12}(Provider\w+) .*[:,] (\w+)$", errors.__doc__ or "", re.MULTILINE)
    )
    words = {Retry.FINAL: "final", Retry.SAFE: "elsewhere", Retry.ONCE: "once"}

    assert drawn == {each.__name__: words[each.retry] for each in ATTEMPT_ERRORS}


def test_every_error_of_the_gateway_has_the_status_that_is_drawn() -> None:
    drawn = dict(re.findall(r"^ {8,12}(\w+) +(\d{3})$", errors.__doc__ or "", re.MULTILINE))
    kinds = [
        each for each in CLASSES if issubclass(each, GatewayError) and each is not GatewayError
    ]

    assert {each.__name__: str(each.status) for each in kinds} == drawn


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (InvalidRequest("m", param="p", code="c"), (400, "invalid_request_error", "p", "c")),
        (InvalidKey(), (401, "invalid_request_error", None, "invalid_api_key")),
        (
            PermissionDenied("m", code="tenant_suspended"),
            (403, "invalid_request_error", None, "tenant_suspended"),
        ),
        (TooManyFailures(retry_after=2.0), (429, "requests", None, "too_many_failures")),
        (UnknownModel(), (404, "invalid_request_error", "model", "model_not_found")),
        (BodyTooSlow("m"), (408, "invalid_request_error", None, "request_timeout")),
        (BodyTooLarge("m"), (413, "invalid_request_error", None, "request_too_large")),
        (
            LimitExceeded("m", measure="tokens", retry_after=2.0),
            (429, "tokens", None, "rate_limit_exceeded"),
        ),
        (InternalError(), (500, "server_error", None, "internal_error")),
        (ProviderRateLimited("t"), (429, "requests", None, "rate_limit_exceeded")),
        (ProviderRefused("t"), (502, "server_error", None, "upstream_error")),
        (
            ProviderRejected("t", status=422, code="c", param="p"),
            (422, "invalid_request_error", "p", "c"),
        ),
    ],
)
def test_an_error_knows_what_a_client_is_told(
    error: GatewayError | ProviderError, shown: tuple[int, str, str | None, str | None]
) -> None:
    assert (error.status, error.type, error.param, error.code) == shown
    assert error.message

import inspect

import pytest

from gateway.admin import errors
from gateway.contract.errors import GatewayError

MADE: tuple[GatewayError, ...] = (
    errors.NotSignedIn(),
    errors.WrongPassword(),
    errors.Forbidden(),
    errors.ConfigRefused(["gateway.yaml:3: models: it is empty."]),
    errors.NotFound("key"),
    errors.Conflict("It is taken.", code="already_exists", param="name"),
    errors.ReadOnly("plan"),
    errors.VersionMismatch(),
    errors.VersionRequired(),
    errors.SignInThrottled(60.0),
)


def test_every_error_is_tried_here() -> None:
    classes = {each for _, each in inspect.getmembers(errors, inspect.isclass)}
    declared = {each for each in classes if issubclass(each, GatewayError)} - {GatewayError}

    assert {type(each) for each in MADE} == declared


@pytest.mark.parametrize("error", MADE, ids=lambda each: type(each).__name__)
def test_an_error_has_a_status_a_code_and_a_sentence(error: GatewayError) -> None:
    assert 400 <= error.status < 500
    assert error.type == "invalid_request_error"
    assert error.code
    assert error.message.endswith((".", '"*" to insist.'))


def test_waiting_helps_only_whoever_tried_too_often() -> None:
    assert [type(each) for each in MADE if each.retryable] == [errors.SignInThrottled]
    assert errors.SignInThrottled(60.0).retry_after == 60.0

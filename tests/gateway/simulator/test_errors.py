import json

import pytest
from pydantic import ValidationError

from gateway.simulator.dialect import ChatBody
from gateway.simulator.errors import error_body, refused_by


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "BadRequestError"),
        (404, "NotFoundError"),
        (429, "TooManyRequestsError"),
        (500, "InternalServerError"),
    ],
)
def test_an_error_is_in_vllms_shape_with_a_number_for_its_code(status: int, kind: str) -> None:
    error = json.loads(error_body(status, "no", param="n"))["error"]

    assert error == {"message": "no", "type": kind, "param": "n", "code": status}


def test_a_status_that_has_no_name_still_has_a_body() -> None:
    assert json.loads(error_body(529, "no"))["error"]["code"] == 529


def test_an_invalid_body_names_the_field() -> None:
    with pytest.raises(ValidationError) as caught:
        ChatBody.model_validate({"messages": [{"role": "user"}], "n": 0})

    refused = refused_by(caught.value)

    assert (refused.status, refused.param) == (400, "n")
    assert refused.message.startswith("n: ")

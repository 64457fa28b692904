"""
What the simulator refuses, in vLLM's shape: `error.code` is the status as a number.
"""

from http import HTTPStatus

import orjson
from pydantic import ValidationError

_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class Refused(Exception):
    """A request that is answered with an error of its own."""

    def __init__(self, status: int, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param


def error_body(status: int, message: str, *, param: str | None = None) -> bytes:
    """The JSON of one error."""
    error = {"message": message, "type": _type(status), "param": param, "code": status}
    return orjson.dumps({"error": error})


def refused_by(invalid: ValidationError) -> Refused:
    """The first thing wrong with a body, as vLLM words it."""
    first = invalid.errors(include_url=False, include_context=False, include_input=False)[0]
    where = [str(part) for part in first["loc"]]
    message = f"{'.'.join(where)}: {first['msg']}" if where else first["msg"]
    return Refused(400, message, param=where[0] if where else None)


def _type(status: int) -> str:
    words = _PHRASES.get(status, "Unknown").title().replace(" ", "")
    return words if words.endswith("Error") else f"{words}Error"

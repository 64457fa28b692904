"""Refusals of upstreams: status, headers and body of any kind are named, in a few clean words."""

from gateway.contract.errors import ProviderRejected
from gateway.contract.headers import LONGEST
from providers.refusal import Refusals
from tests.fuzz import answers
from tests.fuzz.answers import SECRETS, check_error

_REFUSALS = Refusals(SECRETS)
_HEAD = 3
"""Bytes of an input: two for the status, one for how long to wait."""


def _seed(status: int, body: bytes, wait: int = 7) -> bytes:
    return status.to_bytes(2) + bytes([wait]) + body


SEEDS = (
    _seed(429, b'{"error":{"message":"slow","code":"insufficient_quota"}}'),
    _seed(400, b'{"error":{"message":"maximum context length","param":"messages"}}'),
    _seed(401, b'{"error":{"message":"bad key sk-canary-of-an-upstream"}}'),
    _seed(404, b'{"detail":"Not Found"}'),
    _seed(422, b'{"detail":[{"loc":["body"],"msg":"m"}]}'),
    _seed(500, b"<html>10.1.2.3:8000</html>\x1b[31m\r\n\xe2\x80\xae"),
    _seed(503, b""),
    _seed(307, b"moved"),
    _seed(999, b"\xff\xfe\0"),
    _seed(400, b'{"object":"error","message":' + b"[" * 300 + b"]" * 300 + b',"code":{}}'),
    _seed(400, b'{"error":{"message":"' + b"\\u00e9" * 2000 + b'","type":"' + b"t" * 99 + b'"}}'),
    _seed(418, b'{"error":{"message":"sk-canary-of-an-upstre'),
    *(_seed(200, each) for each in answers.SEEDS),
)


def fuzz_refusal(data: bytes) -> None:
    """Whatever came, it is an error of the contract, and only a 4xx of the client's own is one."""
    status = int.from_bytes(data[:2]) % 1000
    wait, body = data[2:_HEAD].decode("latin-1"), data[_HEAD:]
    error = _REFUSALS.of_answer(
        status, {"retry-after": wait, "location": body.decode("latin-1")}, body
    )
    check_error(error)
    assert error.retry_after is None or 0 <= error.retry_after <= LONGEST
    if isinstance(error, ProviderRejected):
        assert 400 <= error.status < 500
        assert error.status not in (401, 402, 403, 404, 408, 429)

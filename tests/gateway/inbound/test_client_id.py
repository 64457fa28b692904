import pytest

from gateway.contract.head import head_of
from gateway.inbound.client_id import client_id_of

OWN, OTHER = b"x-client-request-id", b"x-request-id"


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], ""),
        ([(b"host", b"a")], ""),
        ([(OWN, b"mine-1_A")], "mine-1_A"),
        ([(OTHER, b"theirs")], "theirs"),
        ([(OTHER, b"theirs"), (OWN, b"mine")], "mine"),
        ([(OWN, b"first"), (OWN, b"second")], "first"),
        ([(OWN, b"not this!"), (OWN, b"second")], "second"),
        ([(OTHER, b"first"), (OTHER, b"second")], "second"),
        ([(OTHER, b"first"), (OTHER, b"")], "first"),
        ([(OWN, b"no\nline"), (OTHER, b"theirs")], "theirs"),
        ([(OWN, b"x" * 64)], "x" * 64),
        ([(OWN, b"x" * 65)], ""),
    ],
)
def test_a_harmless_id_is_the_clients_own_before_any_other(
    headers: list[tuple[bytes, bytes]], found: str
) -> None:
    assert client_id_of(head_of(headers)) == found

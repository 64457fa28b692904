import socket

import pytest

from gateway.server import AddressInUse, Listener, bind
from tests.support.serving import LOOPBACK


def test_port_0_takes_a_free_one() -> None:
    async def app(*_: object) -> None:
        """Never called."""

    with bind(LOOPBACK, 0) as first, bind(LOOPBACK, 0) as second:
        ports = {first.getsockname()[1], second.getsockname()[1]}
        assert len(ports) == 2
        assert Listener(app, first).url == f"http://127.0.0.1:{first.getsockname()[1]}"


def test_an_address_of_six_is_written_in_brackets() -> None:
    async def app(*_: object) -> None:
        """Never called."""

    with bind("::1", 0) as bound:
        assert Listener(app, bound).url == f"http://[::1]:{bound.getsockname()[1]}"


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with bind(LOOPBACK, 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUse) as refused:
            bind(LOOPBACK, port)

    assert str(refused.value) == f"can't listen on 127.0.0.1:{port}: Address already in use"
    assert refused.value.exit_code == 1


@pytest.mark.parametrize("host", ["203.0.113.1", "2001:db8::1", "1.2.3.4.5", "[::1]"])
def test_an_address_that_is_not_ours_is_told_in_one_line(host: str) -> None:
    with pytest.raises(AddressInUse) as refused:
        bind(host, 0)

    assert str(refused.value).startswith(f"can't listen on {host}:0: ")
    assert "\n" not in str(refused.value)


def test_a_port_can_be_bound_again_at_once_after_a_connection() -> None:
    first = bind(LOOPBACK, 0)
    first.listen()
    address = first.getsockname()
    with socket.create_connection(address):
        accepted, _ = first.accept()
        accepted.close()
        first.close()
    bind(*address).close()

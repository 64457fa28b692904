"""
Where the gateway listens: sockets that are bound before anything else is started, so that an
address which can't be had is told in one line.
"""

import socket
from dataclasses import dataclass

from starlette.types import ASGIApp

from ..settings import StartRefused


@dataclass(frozen=True, slots=True)
class Listener:
    """An application and the bound socket where it is served."""

    app: ASGIApp
    socket: socket.socket

    @property
    def url(self) -> str:
        """Its address."""
        host, port = self.socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class AddressInUse(StartRefused):
    """Something else listens there, or the address is not ours."""

    exit_code = 1


def bind(host: str, port: int) -> socket.socket:
    """
    Bind a listening socket; port 0 takes a free one.

    Raises:
        AddressInUse: it can't be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise AddressInUse(f"can't listen on {host}:{port}: {error.strerror}") from error
    return bound

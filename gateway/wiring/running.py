"""A process that serves: what it settles before, and its listeners until a signal ends them."""

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from starlette.types import ASGIApp

from ..server import Bounds, Drainable, Listener, Patience, serve_listeners, settle_resources
from .reload import Reload


class Served(Drainable, Protocol):
    """
    What is served: `data`, the data plane's application with the lifespan of everything, and
    `admin`, that of the administration's own listener, where there is one.
    """

    data: ASGIApp
    admin: ASGIApp | None
    reload: Reload

    def patience(self) -> Patience:
        """How long a shutdown waits."""
        ...

    def bounds(self) -> Bounds:
        """What a connection may take."""
        ...


SWITCH_INTERVAL = 0.0005
"""
Seconds for which a thread keeps the interpreter while another wants it. Python's own 5 ms, at each
of its statements, kept the thread that writes the ledger behind a loop that is always busy.
"""


def settle() -> None:
    """
    Once, when everything is made that lives as long as the process: the collector need not walk it
    again and again, which takes a tenth of a request's time. Requests leave no cycles; what little
    there is can gather for longer.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    settle_resources()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def listeners_of(served: Served, sockets: Sequence[socket.socket]) -> list[Listener]:
    """The applications on their sockets, the administration's last."""
    applications = [served.data] if served.admin is None else [served.data, served.admin]
    return [Listener(*pair) for pair in zip(applications, sockets, strict=True)]


async def serve_until_told(
    served: Served, listeners: Sequence[Listener], ready: Callable[[], None]
) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called once it listens."""
    await serve_listeners(listeners, served, served.patience(), bounds=served.bounds(), ready=ready)


async def serve_alone(
    served: Served, listeners: Sequence[Listener], ready: Callable[[], None]
) -> None:
    """The same, and reload on SIGHUP."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, served.reload.ask)
    try:
        await serve_until_told(served, listeners, ready)
    finally:
        loop.remove_signal_handler(signal.SIGHUP)

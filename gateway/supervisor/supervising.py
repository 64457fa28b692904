"""
`lockgate serve` with more than one worker: the sockets and the environment that workers are given.

Nothing of the gateway is loaded here: the parent does no more than is written in this package.
"""

import asyncio
import resource
import secrets
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from random import Random

from pydantic import SecretStr

from ..settings import Settings, StartRefused
from .seat import Chances, say
from .supervisor import Supervisor
from .worker import Command, environment


class AddressTaken(StartRefused):
    """Something else listens there, or the address is not ours."""

    exit_code = 1


def supervise(settings: Settings) -> None:
    """
    Serve until a signal comes, by so many workers as the settings say.

    Raises:
        AddressTaken: an address can't be bound.
        SystemExit: a worker could not start, which has said why, or did not end as it should.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold every secret
    with ExitStack() as opened:
        sockets = [opened.enter_context(bound(settings.host, settings.port))]
        if settings.admin_address is not None:
            sockets.append(opened.enter_context(bound(*settings.admin_address)))
        host, port = sockets[0].getsockname()[:2]
        where = f"[{host}]" if ":" in host else host

        def announce() -> None:
            say(f"listening on http://{where}:{port}")

        command = Command(sockets, environment(variables(settings)))
        code = asyncio.run(_run(settings.workers, command, announce))
    if code:
        sys.exit(code)


async def _run(count: int, command: Command, announce: Callable[[], None]) -> int:
    chances = Chances(time.monotonic, Random())  # noqa: S311 - when to start again is no secret
    return await Supervisor(count, command, chances, announce).run()


def bound(host: str, port: int) -> socket.socket:
    """
    A socket on which workers will listen; port 0 takes a free one.

    Raises:
        AddressTaken: it can't be had.
    """
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise AddressTaken(f"can't listen on {host}:{port}: {error.strerror}") from error
    return made


def variables(settings: Settings) -> dict[str, str]:
    """
    The settings, options included, as the environment of workers. Who has signed in at one must be
    known to all, so a secret for tokens is made here where none was given.
    """
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    if not settings.jwt_secret.get_secret_value():
        given["jwt_secret"] = secrets.token_hex(32)
    return {
        f"LOCKGATE_{name.upper()}": _written(value)
        for name, value in given.items()
        if value is not None
    }


def _written(value: str | int | Path | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)

"""
The demo: two simulated vLLM replicas as processes of their own, and the gateway in front.

Nothing is needed for it: no account, no credential, no other service. The key and the operator's
token are made at start and forgotten at the end; what is administered is kept where it always is.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_urlsafe

from pydantic import SecretStr

from .access import Key
from .app import create_app, loader_of, run
from .registry import Registry
from .server import AddressInUse, bind
from .settings import Settings

REPLICAS = (9101, 9102)
"""Ports that the default configuration expects its two replicas on."""
SPEED = 40
"""Tokens a second, so that a stream can be watched."""
PATIENCE = 15
"""Seconds for the replicas to start."""

KEY_VARIABLE = "LOCKGATE_DEMO_KEY"
"""Where the default configuration looks for the demo tenant's key."""

_TEXT = """
Lockgate is ready at {url}

  key        {key}
  documents  {url}/docs
  metrics    {url}/metrics
  operator   {token}
  replicas   {replicas}

Try it:

  curl -N {url}/v1/chat/completions \\
    -H "Authorization: Bearer {key}" -H "Content-Type: application/json" \\
    -d '{{"model": "chat-small", "stream": true,
         "messages": [{{"role": "user", "content": "Hello!"}}]}}'

See what was used, as an operator:

  curl "{url}/admin/v1/usage?group_by=day" -H "Authorization: Bearer {token}"

Stop one replica (kill {first}) while requests run: the other takes over. Ctrl+C ends the demo.
"""


def demo(settings: Settings) -> None:
    """
    Run until interrupted.

    Raises:
        StartRefused: a port is taken, or the configuration can't be used.
    """
    key = Key.generate().reveal()
    os.environ[KEY_VARIABLE] = key
    for port in REPLICAS:
        bind(settings.host, port).close()
    config, _ = loader_of(settings, Registry.load()).load()
    public = config.model_copy(update={"ops": config.ops.model_copy(update={"public": True})})
    token = settings.admin_token.get_secret_value() or token_urlsafe(24)
    changes = {"log_level": "warning", "admin_token": SecretStr(token)}
    gateway = create_app(settings.model_copy(update=changes), public)
    with _replicas() as pids:
        replicas = ", ".join(
            f"{port} (process {pid})" for port, pid in zip(REPLICAS, pids, strict=True)
        )

        def ready(url: str) -> None:
            text = _TEXT.format(url=url, key=key, token=token, replicas=replicas, first=pids[0])
            print(text, flush=True)  # noqa: T201 - this is what the demo is for

        run(settings, gateway, ready)


@contextmanager
def _replicas() -> Iterator[list[int]]:
    """The simulated replicas, up and listening; stopped on the way out."""
    processes = [_start(port) for port in REPLICAS]
    try:
        for port, process in zip(REPLICAS, processes, strict=True):
            _await(port, process)
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.communicate()


def _start(port: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "gateway", "simulate", "--port", str(port)]
    command += ["--tokens-per-second", str(SPEED), "--answer-tokens", "100", "--stop-with-stdin"]
    # A group of its own, so that Ctrl+C reaches the gateway first; our end of its standard input
    # closes with this process, however that ends.
    return subprocess.Popen(  # noqa: S603 - our own command
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, process_group=0
    )


def _await(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AddressInUse(f"the simulated replica on port {port} did not start")

"""
What others take for the same: a gateway in Rust, and two proxies that know nothing of models.

Each has its defaults but for what the comparison needs: one upstream, kept connections, and in the
gateway a key and a model. None of them writes a line for a request.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.bench.contenders import (
    PUBLIC_MODEL,
    Contender,
    foreign,
    free_port,
    prove_it_asks_who,
)
from tests.bench.environments import NotInstalled, environment, pinned
from tests.bench.upstream import MODEL
from tests.support.debian import command

_KEY = "sk-rolter-bench"
_ROLTER = """\
[server]
require_auth = true
host = "127.0.0.1"
port = {port}

[[providers]]
name = "upstream"
kind = "openai_compatible"
api_base = "http://127.0.0.1:{upstream}"

[[routes]]
model = "{public}"
strategy = "round_robin"
targets = [{{ provider = "upstream", model = "{model}" }}]

[[virtual_keys]]
key = "{key}"
name = "bench"
models = []
disabled = false
"""
_CADDY = """\
{{
    admin off
    auto_https off
}}
http://127.0.0.1:{port} {{
    reverse_proxy 127.0.0.1:{upstream}
}}
"""
_NGINX = """\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/bodies;
    proxy_temp_path {directory}/answers;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_body_buffer_size 64k;
    keepalive_requests 100000000;
    upstream canned {{
        server 127.0.0.1:{upstream};
        keepalive 256;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://canned;
            proxy_http_version 1.1;
            proxy_set_header connection "";
            proxy_buffering off;
        }}
    }}
}}
"""

Yardstick = Callable[[int, Path], AbstractContextManager[Contender]]
"""From the upstream's port and a directory, a running contender."""


@contextmanager
def rolter(upstream: int, directory: Path) -> Iterator[Contender]:
    """
    The gateway: it knows its callers by key, picks a target, and counts.

    Raises:
        NotInstalled: it is not there, and can not be had.
        NotStarted: it did not come up.
    """
    program, port = environment("yardsticks") / "rolter", free_port()
    config = directory / "rolter.toml"
    config.write_text(
        _ROLTER.format(port=port, upstream=upstream, public=PUBLIC_MODEL, model=MODEL, key=_KEY)
    )
    arguments = [program, "gateway", "--config", config]
    with foreign("rolter", arguments, port, directory, key=_KEY) as contender:
        prove_it_asks_who(contender)
        yield contender


@contextmanager
def caddy(upstream: int, directory: Path) -> Iterator[Contender]:
    """
    The proxy in Go.

    Raises:
        NotInstalled: it is not there, and can not be had.
        NotStarted: it did not come up.
    """
    program, port = environment("yardsticks") / "caddy", free_port()
    config = directory / "Caddyfile"
    config.write_text(_CADDY.format(port=port, upstream=upstream))
    arguments = [program, "run", "--adapter", "caddyfile", "--config", config]
    with foreign("Caddy", arguments, port, directory) as contender:
        yield contender


@contextmanager
def nginx(upstream: int, directory: Path) -> Iterator[Contender]:
    """
    The proxy in C, with one process.

    Raises:
        NotInstalled: it is not there, and can not be had.
        NotStarted: it did not come up.
    """
    try:
        program = command("nginx")
    except RuntimeError as error:
        raise NotInstalled(str(error)) from error
    port = free_port()
    config = directory / "nginx.conf"
    config.write_text(_NGINX.format(port=port, upstream=upstream, directory=directory))
    arguments = [program, "-p", directory, "-c", config]
    with foreign("nginx", arguments, port, directory) as contender:
        yield contender


def versions() -> str:
    """Of all that there are."""
    told = [pinned("yardsticks")]
    if found := shutil.which("nginx"):
        # nginx version: nginx/1.22.1
        done = subprocess.run([found, "-v"], stderr=subprocess.PIPE, text=True, check=True)
        told.append(done.stderr.split()[-1].replace("/", " "))
    return ", ".join(told)


YARDSTICKS: tuple[Yardstick, ...] = (rolter, caddy, nginx)

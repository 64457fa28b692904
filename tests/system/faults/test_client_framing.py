"""Row 49: requests that two readers could end at different bytes, or take for another host's."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.support.debian import command
from tests.support.serving import App, serving
from tests.support.smuggling import CASES, HIDDEN
from tests.system.faults.clients import Front, front, request, statuses
from tests.system.world import until

NGINX = """\
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
  fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  upstream gateway {{ server 127.0.0.1:{gateway}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port};
    underscores_in_headers on; ignore_invalid_headers off;
    client_body_timeout 100ms; client_header_timeout 100ms;
    keepalive_timeout 0; lingering_close off;
    location / {{
      proxy_pass http://gateway; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_request_buffering off;
    }}
  }}
}}
"""


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with front(tmp_path_factory.mktemp("framing")) as made:
        yield made


def test_49_a_process_refuses_each_and_closes(edge: Front) -> None:
    before = edge.sockets()
    heard = {case: edge.said(sent) for case, sent in CASES.items()}

    told = {case: statuses(each) for case, each in heard.items()}
    assert {case: each for case, each in told.items() if each not in ([400], [431])} == {}
    assert all(b"\r\nconnection: close\r\n" in each for each in heard.values())
    assert all(b"\r\nx-request-id: " in each for each in heard.values())
    assert edge.simulator.requests() == []
    edge.settles(before)


def test_49_a_process_refuses_each_behind_a_request_that_is_answered(edge: Front) -> None:
    edge.simulator.fresh()
    cases = sorted(CASES)[::7]
    told = {case: statuses(edge.said(request() + CASES[case])) for case in cases}

    assert {case: each for case, each in told.items() if each not in ([200, 400], [200, 431])} == {}
    assert len(edge.simulator.requests()) == len(cases)


class Counting(App):
    """Remembers what it was asked for, until it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: list[str] = []

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "lifespan":
            self.paths.append(scope["path"])
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    while (await receive()).get("more_body"):
                        pass
        await super().__call__(scope, receive, send)


@asynccontextmanager
async def behind_nginx(folder: Path) -> AsyncIterator[tuple[Counting, int]]:
    program = await asyncio.to_thread(command, "nginx", "nginx-light")
    app = Counting()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with serving(app) as running:
        at = running.urls[0].rpartition(":")[2]
        file = folder / "nginx.conf"
        file.write_text(NGINX.format(folder=folder, gateway=at, port=port))
        early = str(folder / "early.log")
        process = await asyncio.create_subprocess_exec(program, "-e", early, "-c", str(file))
        try:
            await asyncio.to_thread(until, lambda: _listens(port), within=20)
            yield app, port
        finally:
            process.terminate()
            await process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_49_through_nginx_no_request_hides_in_another(tmp_path: Path) -> None:
    async with behind_nginx(tmp_path) as (app, port):
        seen = {case: await _seen(app, port, sent) for case, sent in CASES.items()}

    assert {case: paths for case, paths in seen.items() if len(paths) > 1} == {}
    assert {case: paths for case, paths in seen.items() if HIDDEN in paths} == {}


async def _seen(app: Counting, port: int, sent: bytes) -> list[str]:
    app.paths.clear()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    with suppress(ConnectionError):
        async with asyncio.timeout(10):
            await reader.read()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return list(app.paths)

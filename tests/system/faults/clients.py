"""
Clients over raw sockets, which may say anything, in any way and at any pace.

A gateway before a simulated upstream; when a test is over, nothing may be left of its clients.
"""

import json
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.system.world import (
    KEY,
    Gateway,
    Json,
    Simulator,
    chat,
    gateway,
    settings,
    simulator,
    until,
)

PATIENCE = 20.0
"""Seconds that anything may take, on a machine that is busy with other tests."""

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@dataclass
class Front:
    """A gateway as clients meet it."""

    gateway: Gateway
    simulator: Simulator

    def connect(self, *, receive_buffer: int = 0) -> socket.socket:
        """A new connection; it takes no more than its buffer holds until it is read."""
        url = httpx.URL(self.gateway.url)
        client = socket.socket()
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(PATIENCE)
        client.connect((url.host, url.port))
        return client

    def said(self, *pieces: bytes) -> bytes:
        """All that is answered to those bytes, until the gateway closes."""
        with self.connect() as client:
            for piece in pieces:
                with suppress(ConnectionError):
                    client.sendall(piece)
            return rest(client)

    def sockets(self) -> int:
        """What the gateway has open; its database's files come and go."""
        links = 0
        for each in Path(f"/proc/{self.gateway.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # it has been closed just now
                links += str(each.readlink()).startswith("socket:")
        return links

    def memory(self) -> int:
        """Bytes that it has in memory."""
        pages = Path(f"/proc/{self.gateway.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def settles(self, sockets: int) -> None:
        """Nothing is in flight, and no more sockets are open than there were."""
        until(self.gateway.is_idle, within=PATIENCE)
        until(lambda: self.sockets() <= sockets + self._pooled(), within=PATIENCE)

    def _pooled(self) -> int:
        return int(self.gateway.metrics()['lockgate_upstream_connections{state="idle"}'])


@contextmanager
def front(
    folder: Path,
    *,
    http: Json | None = None,
    options: Sequence[str] = (),
    plan: Json | None = None,
    more: Json | None = None,
    **variables: str,
) -> Iterator[Front]:
    """A gateway before one simulated upstream."""
    with simulator(folder / "simulator", *options) as upstream:
        config = settings({"sim": upstream.url}, plan=plan, http=http or {}, **(more or {}))
        with gateway(folder / "gateway", config, **variables) as process:
            yield Front(process, upstream)


def rest(client: socket.socket) -> bytes:
    """What comes until the connection is closed."""
    heard = b""
    with suppress(ConnectionError):
        while piece := client.recv(65_536):
            heard += piece
    return heard


def answer(client: socket.socket, heard: bytes = b"") -> bytes:
    """One answer whose length is announced, `heard` of it already; the connection stays open."""
    while b"\r\n\r\n" not in heard:
        heard += client.recv(65_536)
    start, _, body = heard.partition(b"\r\n\r\n")
    length = int(start.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += client.recv(65_536)
    return start + b"\r\n\r\n" + body


def statuses(heard: bytes) -> list[int]:
    """The status of each answer."""
    return [int(found) for found in _STATUS.findall(heard)]


def request(
    body: bytes | Json | None = None, *headers: str, path: str = "/v1/chat/completions"
) -> bytes:
    """An inference request, its length announced."""
    content = body if isinstance(body, bytes) else json.dumps(chat() if body is None else body)
    content = content.encode() if isinstance(content, str) else content
    return head(*headers, f"content-length: {len(content)}", path=path) + content


def head(*headers: str, path: str = "/v1/chat/completions") -> bytes:
    """The head of one."""
    lines = [
        f"POST {path} HTTP/1.1",
        "host: gateway",
        f"authorization: Bearer {KEY}",
        "content-type: application/json",
        *headers,
        "",
        "",
    ]
    return "\r\n".join(lines).encode("latin-1")


def error(heard: bytes) -> dict[str, Any]:
    """The error that an answer holds."""
    told: dict[str, dict[str, Any]] = json.loads(heard.partition(b"\r\n\r\n")[2])
    return told["error"]

"""Peers that died without a word, and a surrounding that would lead requests astray."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.contract.errors import ProviderUnreachable
from gateway.contract.provider import Target, UpstreamRequest
from gateway.upstream import Engine, Upstream, UpstreamSettings
from providers.huggingface import HuggingFace
from providers.openai import OpenAI
from providers.vllm import VLLM
from tests.gateway.upstream.engines import MakeEngine
from tests.support import faulty

Chat = Callable[..., UpstreamRequest]
HELLO = faulty.response(b"hello")


async def ask(upstream: Upstream, request: UpstreamRequest) -> bytes:
    async with upstream.send(request, public=False) as answer:
        return await answer.read(1000)


class Mortal:
    """Serves until it dies; from then on the connections that it has are dead, each in its way."""

    def __init__(self, *, rst: bool) -> None:
        self.died = asyncio.Event()
        self._rst = rst

    async def __call__(self, peer: faulty.Peer) -> None:
        born_alive = not self.died.is_set()
        while await peer.request() is not None:
            if born_alive and self.died.is_set():
                if self._rst:
                    peer.reset()
                return
            await peer.send(HELLO)


@pytest.mark.cannot(
    aiohttp="its pool keeps to itself which connections are older than a dead one",
    httpx="its pool keeps to itself which connections are older than a dead one",
)
@pytest.mark.parametrize("rst", [False, True])
async def test_35_of_a_hundred_dead_connections_one_is_noticed_and_none_is_used_again(
    upstream: Upstream, transport: Engine, chat: Chat, rst: bool
):
    script = Mortal(rst=rst)
    async with faulty.serving(script) as server:
        async with asyncio.TaskGroup() as group:
            gate = asyncio.Barrier(100)
            for _ in range(100):
                group.create_task(held_together(upstream, chat(server.origin), gate))
        assert (server.accepted, server.live) == (100, 100)
        script.died.set()

        assert await ask(upstream, chat(server.origin)) == b"hello"

        assert transport.open == transport.idle
        assert server.accepted == 101
        assert len(server.requests) == 102  # one was sent twice, and only one
        await server.until_live(1)


@pytest.mark.parametrize("rst", [False, True])
async def test_35_a_hundred_dead_connections_cost_nobody_an_error(
    upstream: Upstream, transport: Engine, chat: Chat, rst: bool
):
    script = Mortal(rst=rst)
    async with faulty.serving(script) as server:
        async with asyncio.TaskGroup() as group:
            gate = asyncio.Barrier(100)
            for _ in range(100):
                group.create_task(held_together(upstream, chat(server.origin), gate))
        script.died.set()
        for _ in range(200):
            assert await ask(upstream, chat(server.origin)) == b"hello"
        assert transport.open == transport.idle


async def held_together(upstream: Upstream, request: UpstreamRequest, gate: asyncio.Barrier):
    async with upstream.send(request, public=False) as answer:
        await gate.wait()
        assert await answer.read(1000) == b"hello"


async def test_18_nothing_that_a_client_says_leads_the_gateway_elsewhere(
    upstream: Upstream, transport: Engine
):
    """S18: every name under which somebody's gateway has taken an address or a credential."""
    async with faulty.serving(faulty.hanging) as decoy, faulty.serving(plain) as server:
        body = {
            "model": "m",
            "messages": [{"role": "user", "content": "hi"}],
            "user": f"u@127.0.0.1:{decoy.port}",
            **dict.fromkeys(FIELDS, decoy.origin),
            "extra_headers": {"host": f"127.0.0.1:{decoy.port}", "x-custom-host": decoy.origin},
            "extra_body": {"base_url": decoy.origin},
        }
        for kind in (OpenAI, HuggingFace, VLLM):
            given = {"kind": "k", "base_url": server.origin, "api_key": "operators"}
            provider = kind("p", kind.Settings.model_validate(given))
            for model in ("m", f"@127.0.0.1:{decoy.port}/", "../../v1/files", "//evil.example/x"):
                sent = provider.encode("chat", {**body, "model": model}, Target("p", model))
                assert await ask(upstream, sent) == b"hello"
        assert decoy.accepted == 0
        assert {each.line for each in server.requests} == {"POST /v1/chat/completions HTTP/1.1"}
        for each in server.requests:
            assert each.headers["host"] == f"127.0.0.1:{server.port}"
            assert each.headers["authorization"] == "Bearer operators"


FIELDS = (
    *("api_base", "base_url", "baseURL", "api_key", "apiKey", "api_version", "azure_endpoint"),
    *("custom_llm_provider", "deployment_id", "endpoint", "host", "organization", "proxies"),
    *(
        "proxy",
        "provider",
        "region",
        "target",
        "url",
        "vertex_location",
        "webhook",
        "x-custom-host",
    ),
)
plain = faulty.replying(HELLO)


async def test_21_nothing_is_taken_from_the_surrounding(
    engine: MakeEngine, chat: Chat, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """S21: no proxy, no credentials of a .netrc, no other certificate authorities."""
    async with faulty.serving(faulty.hanging) as proxy, faulty.serving(plain) as server:
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password canary\n")
        (tmp_path / ".netrc").chmod(0o600)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.origin)
            monkeypatch.setenv(name.lower(), proxy.origin)
        monkeypatch.delenv("NO_PROXY", raising=False)
        ca_file, context = faulty.self_signed(tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
        settings = UpstreamSettings()
        transport = engine(settings)
        upstream = Upstream(transport, settings)
        bare = UpstreamRequest(url=f"{server.origin}/v1", headers=(), content=b"{}")

        assert await ask(upstream, bare) == b"hello"
        async with faulty.serving(plain, context=context) as strange:
            with pytest.raises(ProviderUnreachable):
                await ask(upstream, chat(strange.origin))

        assert "authorization" not in server.requests[0].headers
        assert proxy.accepted == 0
        await transport.aclose()


async def test_23_a_redirect_is_relayed_to_whom_it_concerns_and_followed_by_nobody(
    upstream: Upstream, chat: Chat
):
    async with faulty.serving(faulty.hanging) as other:
        for status in ("301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"):
            location = [("location", f"{other.origin}/v1/chat/completions"), ("refresh", "0")]
            moved = faulty.response(b"", status=status, headers=location)
            async with (
                faulty.serving(faulty.replying(moved)) as server,
                upstream.send(chat(server.origin), public=False) as answer,
            ):
                assert answer.status == int(status[:3])
        assert other.accepted == 0

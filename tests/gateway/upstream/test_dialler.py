import asyncio
import errno
import resource
import socket
import ssl
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from pathlib import Path
from random import Random

import httpx
import pytest

from gateway.contract.errors import ProviderBusy
from gateway.upstream import Engine, Upstream, UpstreamSettings
from gateway.upstream.connection import READ_SIZE, Connection
from gateway.upstream.dialler import AddressBlocked, Dialler, Origin
from gateway.upstream.resolver import NoRoom, Resolver
from tests.gateway.upstream.engines import MakeEngine
from tests.support import faulty

HELLO = faulty.replying(faulty.response(b"hello"))
NEVER: Callable[[Connection], None] = lambda _: None  # noqa: E731


class Zone:
    """What names mean: the next answer each time it is asked, the last for ever."""

    def __init__(self, *answers: list[str] | OSError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer


class Forgetful(Resolver):
    """Asks the zone for every connection, as if each answer were old at once."""

    async def addresses(self, host: str) -> tuple[str, ...]:
        self._known.clear()
        return await super().addresses(host)


class Doubled(Forgetful):
    """Each address comes twice: two of them, on machines that have one to spare."""

    async def addresses(self, host: str) -> tuple[str, ...]:
        return (await super().addresses(host)) * 2


def dialler(
    zone: Zone,
    allowed: Callable[[str], bool] | None = None,
    kind: type[Resolver] = Forgetful,
) -> Dialler:
    clock = asyncio.get_running_loop().time
    resolver = kind(timeout=5.0, stale=300.0, clock=clock, chance=Random(1), resolve=zone)
    buffer = bytearray(READ_SIZE)
    return Dialler(resolver, buffer) if allowed is None else Dialler(
        resolver, buffer, allowed=allowed
    )  # fmt: skip


def origin(port: int, *, public: bool = False, host: str = "up.example") -> Origin:
    return Origin(host, port, None, public)


async def ask(transport: Engine, url: str, **extensions) -> httpx.Response:
    request = httpx.Request("POST", url, content=b"{}", extensions=extensions)
    response = await transport.handle_async_request(request)
    async for _ in response.stream:
        pass
    return response


async def test_03_a_connection_goes_to_the_address_that_was_checked_and_the_name_is_kept(
    engine: MakeEngine,
):
    zone = Zone(["127.0.0.1"])
    checked: list[str] = []

    def allowed(address: str) -> bool:
        checked.append(address)
        return True

    transport = engine(UpstreamSettings(), dialler=dialler(zone, allowed))
    async with faulty.serving(HELLO) as server:
        await ask(transport, f"http://up.example:{server.port}/v1", public=True)
        await transport.aclose()
    assert set(checked) == {"127.0.0.1"}
    assert len(checked) == len(zone.asked)  # no look-up that nobody checks
    assert server.requests[0].headers["host"] == f"up.example:{server.port}"


async def test_03_a_name_that_turns_private_is_refused_and_nothing_is_sent():
    zone = Zone(["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1", "10.0.0.1"], ["127.0.0.1"])
    made = dialler(zone, lambda address: address == "127.0.0.1")
    async with faulty.serving(HELLO) as server:
        for refused in (False, True, True, False):
            with pytest.raises(AddressBlocked) if refused else nullcontext():
                (await made.dial(origin(server.port, public=True), NEVER, 5.0)).close()
        await server.until_live(0)
    assert server.accepted == 2
    assert server.requests == []


async def test_03_a_name_that_flips_at_random_never_leads_anywhere_unchecked():
    chance = Random(3)
    answers = [chance.choice([["127.0.0.1"], ["127.0.0.2"]]) for _ in range(200)]
    made = dialler(Zone(*answers, ["127.0.0.2"]), lambda address: address == "127.0.0.1")
    refused = 0
    async with faulty.serving(faulty.hanging) as server:
        for _ in answers:
            try:
                (await made.dial(origin(server.port, public=True), NEVER, 5.0)).close()
            except AddressBlocked:
                refused += 1
        await server.until_live(0)
    assert refused == answers.count(["127.0.0.2"])
    assert server.accepted == answers.count(["127.0.0.1"])


async def test_03_with_no_engine_a_name_that_flips_leads_anywhere_unchecked(engine: MakeEngine):
    chance = Random(3)
    answers = [chance.choice([["127.0.0.1"], ["127.0.0.2"]]) for _ in range(200)]
    made = dialler(Zone(*answers, ["127.0.0.2"]), lambda address: address == "127.0.0.1")
    transport = engine(UpstreamSettings(), dialler=made)
    served = refused = 0
    async with faulty.serving(faulty.cutting(faulty.response(b"hello"))) as server:
        for _ in range(80):
            try:
                await ask(transport, f"http://up.example:{server.port}/v1", public=True)
                served += 1
            except AddressBlocked:
                refused += 1
            await server.until_live(0)
        await transport.aclose()
    assert min(served, refused) > 10
    assert len(server.requests) == server.accepted == served


@pytest.mark.parametrize(
    "answer",
    [["127.0.0.1"], ["10.0.0.1"], ["::1"], ["fe80::1%lo"], ["1.1.1.1", "192.168.0.1"], ["here"]],
    ids=str,
)
async def test_03_private_addresses_are_for_private_upstreams(answer: list[str]):
    async with faulty.serving(HELLO) as server:
        with pytest.raises(AddressBlocked, match="network: private"):
            await dialler(Zone(answer)).dial(origin(server.port, public=True), NEVER, 5.0)
        assert server.accepted == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_03_an_address_in_the_url_is_checked_where_the_operator_says_public(host: str):
    with pytest.raises(AddressBlocked):
        await dialler(Zone(["127.0.0.1"])).dial(origin(1, public=True, host=host), NEVER, 5.0)


async def test_03_what_was_not_checked_is_not_lent_to_whom_it_must_be(engine: MakeEngine):
    transport = engine(UpstreamSettings(), dialler=dialler(Zone(["127.0.0.1"])))
    async with faulty.serving(HELLO) as server:
        url = f"http://up.example:{server.port}/"
        await ask(transport, url, public=False)
        assert server.live == 1
        with pytest.raises(AddressBlocked):
            await ask(transport, url, public=True)
        await ask(transport, url)
        assert server.accepted == 1
        await transport.aclose()


async def test_an_address_that_refuses_leaves_the_next_its_turn():
    async with faulty.serving(HELLO) as server:
        made = dialler(Zone(["::1", "127.0.0.1"]))
        connection = await made.dial(origin(server.port), NEVER, 5.0)
        assert connection.is_open
        connection.close()
        await server.until_live(0)


async def test_an_address_that_swallows_everything_costs_its_share_of_the_time(tmp_path: Path):
    ca_file, context = faulty.self_signed(tmp_path, host="up.example")
    client = ssl.create_default_context(cafile=str(ca_file))

    loop = asyncio.get_running_loop()
    made = dialler(Zone(["127.0.0.1"]), kind=Doubled)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        target = Origin("up.example", listener.getsockname()[1], client, False)
        dialling = loop.create_task(made.dial(target, NEVER, 3.0))
        async with asyncio.timeout(10):
            silent, _ = await loop.sock_accept(listener)
            speaking, _ = await loop.sock_accept(listener)
        theirs, _ = await loop.connect_accepted_socket(asyncio.Protocol, speaking, ssl=context)
        connection = await dialling
        assert connection.is_open
        connection.close()
        theirs.abort()
        silent.close()
        await asyncio.sleep(0.01)


async def test_the_last_addresss_error_is_the_one_that_is_told():
    made = dialler(Zone(["127.0.0.1"]), kind=Doubled)
    with pytest.raises(httpx.ConnectError) as failure:
        await made.dial(origin(faulty.refusing_port()), NEVER, 5.0)
    assert isinstance(failure.value.__cause__, ConnectionRefusedError)


async def test_04_a_failure_of_tls_is_final_for_all_addresses():
    async def answers_plainly(peer: faulty.Peer):
        await peer.reader.read(1)
        await peer.send(faulty.response(b"hello"))
        await peer.gone()

    client = ssl.create_default_context()
    async with faulty.serving(answers_plainly) as server:
        made = dialler(Zone(["127.0.0.1"]), kind=Doubled)
        with pytest.raises(httpx.ConnectError) as failure:
            await made.dial(Origin("up.example", server.port, client, False), NEVER, 5.0)
        assert isinstance(failure.value.__cause__, ssl.SSLError)
        assert server.accepted == 1


async def test_02_a_resolver_slower_than_the_time_to_connect_is_a_connect_timeout():
    class Slow(Resolver):
        async def addresses(self, host: str) -> tuple[str, ...]:
            await asyncio.sleep(60)
            return ()

    clock = asyncio.get_running_loop().time
    slow = Slow(timeout=60.0, stale=0.0, clock=clock, chance=Random(1))
    with pytest.raises(httpx.ConnectTimeout):
        await Dialler(slow, bytearray(READ_SIZE)).dial(origin(1), NEVER, 0.02)


@contextmanager
def no_files_left():
    """The system opens no further file for this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("host", ["127.0.0.1", "up.example"])
async def test_76_a_process_without_files_is_told_apart_from_an_upstream_that_is_gone(host: str):
    no_files = OSError(errno.EMFILE, "Too many open files")
    async with faulty.serving(HELLO) as server:
        made = dialler(Zone(["127.0.0.1"] if host == "127.0.0.1" else no_files))
        with no_files_left(), pytest.raises(NoRoom):
            await made.dial(origin(server.port, host=host), NEVER, 5.0)


@pytest.mark.cannot(httpx="it polls a connection, for which this limit leaves no room")
async def test_76_without_files_the_target_is_not_to_blame_and_warm_connections_serve_on(
    upstream: Upstream, chat, transport: Engine
):
    go_on = asyncio.Event()

    async def answers_in_halves(peer: faulty.Peer):
        while await peer.request() is not None:
            await peer.send(faulty.response(b"hello")[:-1])
            await go_on.wait()
            await peer.send(b"o")

    async with faulty.serving(answers_in_halves) as server:
        request = chat(server.origin)
        go_on.set()
        async with upstream.send(request, public=False) as answer:
            await answer.read(100)
        go_on.clear()
        with no_files_left():
            async with upstream.send(request, public=False) as answer:
                with pytest.raises(ProviderBusy):
                    async with upstream.send(request, public=False):
                        pass
                go_on.set()
                assert await answer.read(100) == b"hello"
        assert transport.open == transport.idle
        assert server.accepted == server.live == 1

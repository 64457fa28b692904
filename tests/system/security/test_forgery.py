"""
What clients and upstreams may write into what others read: nothing but what is theirs to say.

Nobody but the operator says where a request goes and with which credential (S18, S21), headers
pass by a list (S22), no header, line or path is made up by a value (rows 48, 50 and 92).
"""

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.server.framing import MAX_HEAD
from tests.support.faulty import response
from tests.system.faults.answers import STORY, answer, event, part, refusal, stream
from tests.system.security.names import (
    HEADERS,
    NASTY,
    NOT_FOR_CLIENTS,
    OWN_HEADERS,
    PARAMETERS,
    PATH_NAMES,
    TOGETHER,
)
from tests.system.security.scene import CREDENTIAL, SENT, Scene, Sent, always, sanely, scene
from tests.system.world import KEY, Json, bearer, chat, until

TOLD = {
    *("date", "content-type", "content-length", "x-request-id", "x-client-request-id"),
    *("x-lockgate-attempts", "x-lockgate-model", "x-lockgate-dropped", "x-lockgate-error-source"),
    *("server-timing", "openai-processing-ms", "x-should-retry", "retry-after", "retry-after-ms"),
    *("transfer-encoding", "cache-control", "x-accel-buffering", "connection"),
}
"""All headers that a client may ever be told."""
TOKEN = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789-!#$%&'*+.^`|~"), min_size=1)
VALUE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"))
TRIES = settings(max_examples=25, suppress_health_check=[*HealthCheck])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("forgery")) as made:
        yield made


@pytest.fixture(autouse=True)
def _nothing_is_forged(world: Scene) -> Iterator[None]:
    world.fresh()
    yield
    world.check()


@pytest.fixture(scope="module")
def client(world: Scene) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=world.gateway.url, headers=bearer(), verify=False, timeout=30, trust_env=False
    ) as made:
        yield made


def ask(
    client: httpx.Client,
    body: Json | None = None,
    path: str = "/v1/chat/completions",
    method: str = "POST",
    **more: Any,
) -> httpx.Response:
    """One request, answered; whatever it was, what comes back is the gateway's own."""
    told = client.request(method, path, json=chat() if body is None else body, **more)
    assert set(told.headers) <= TOLD, set(told.headers) - TOLD
    assert "x-injected" not in told.headers
    return told


def raw(scene: Scene, request: bytes) -> bytes:
    """All that is answered to these bytes, on a connection of their own."""
    host, port = scene.gateway.url.removeprefix("http://").split(":")
    told = b""
    # Who is refused while he still talks may lose the end, and even all, of the refusal.
    with (
        suppress(ConnectionError),
        socket.create_connection((host, int(port)), timeout=30) as connection,
    ):
        connection.sendall(request)
        while piece := connection.recv(65_536):
            told += piece
    return told


def spoken(line: bytes, *headers: bytes) -> bytes:
    """A chat over a socket."""
    body = json.dumps(chat()).encode()
    own = (b"Authorization: Bearer " + KEY.encode(), b"Content-Length: %d" % len(body))
    return b"\r\n".join((line, *headers, *own, b"Connection: close", b"", b"")) + body


# Where a request goes (S18, S21)


def _leading(to: str) -> tuple[Any, ...]:
    return (to, {"url": to, "api_base": to, "api_key": "k"}, [to], {"http": to, "https": to})


@pytest.mark.parametrize("model", ["chat", "keyless", "dropping"])
def test_no_field_says_where_a_request_goes(world: Scene, client: httpx.Client, model: str) -> None:
    for value in _leading(world.decoy.origin):
        fields = dict.fromkeys(PARAMETERS, value)
        for body in (fields, {"extra_body": fields}, {"metadata": fields}):
            ask(client, chat(model=model, **body))
    for name in PARAMETERS:
        assert ask(client, chat(model=model, **{name: world.decoy.origin})).status_code == 200
    assert len(world.upstream.sent) >= len(PARAMETERS)
    if model == "keyless":
        assert all("authorization" not in dict(sent.headers) for sent in world.upstream.sent)


def test_no_header_says_where_a_request_goes(world: Scene, client: httpx.Client) -> None:
    host = world.decoy.origin.removeprefix("http://")
    for value in (world.decoy.origin, host):
        for names in (HEADERS, *((name,) for name in HEADERS)):
            assert ask(client, headers=dict.fromkeys(names, value)).status_code == 200
    assert ask(client, headers={"host": host}).status_code == 200


def test_no_query_or_target_says_where_a_request_goes(world: Scene, client: httpx.Client) -> None:
    host = world.decoy.origin.removeprefix("http://").encode()
    ask(client, path=f"/v1/chat/completions?api_base={world.decoy.origin}&model=x")
    for line, headers, status in (
        (b"POST http://%b/v1/chat/completions HTTP/1.1" % host, (b"Host: " + host,), b"200"),
        (b"POST http://%b/v1/chat/completions HTTP/1.1" % host, (b"Host: a",), b"400"),
        (b"POST http://u@%b/v1/chat/completions HTTP/1.1" % host, (b"Host: " + host,), b"400"),
        (b"POST /v1/chat/completions HTTP/1.1", (b"Host: a@" + host,), b"400"),
        (b"POST /v1/chat/completions HTTP/1.1", (b"Host: a", b"Host: " + host), b"400"),
        (b"CONNECT %b HTTP/1.1" % host, (b"Host: " + host,), b"400"),
        (b"POST //%b/v1/chat/completions HTTP/1.1" % host, (b"Host: a",), b"404"),
    ):
        told = raw(world, spoken(line, *headers))
        assert told.startswith(b"HTTP/1.1 " + status), (line, told[:200])


def test_a_redirect_is_followed_nowhere(world: Scene, client: httpx.Client) -> None:
    for status in (301, 302, 303, 307, 308):
        to = ("location", f"{world.decoy.origin}/v1/chat/completions")
        world.upstream.reply = always(refusal(status, to))
        assert ask(client).json()["error"]["code"] == "upstream_redirect"


def test_the_environment_says_nothing_of_where_a_request_goes(
    world: Scene, client: httpx.Client
) -> None:
    for model in ("chat", "keyless"):
        assert ask(client, chat(model=model)).status_code == 200
    chats = [dict(sent.headers) for sent in world.upstream.sent]
    assert [each.get("authorization") for each in chats] == [f"Bearer {CREDENTIAL}", None]


# What passes (S22)


@TRIES
@given(headers=st.lists(st.tuples(TOKEN.map("x-{}".format) | TOKEN, VALUE), max_size=12))
def test_of_a_clients_headers_only_a_fixed_few_go_on(
    world: Scene, client: httpx.Client, headers: list[tuple[str, str]]
) -> None:
    own = {"content-length", "host", "connection", "transfer-encoding", "upgrade", "expect"}
    sent = [(name, value.strip().encode("latin-1")) for name, value in headers if name not in own]
    world.upstream.sent.clear()
    told = ask(client, headers=[*sent, ("connection", "authorization, x-lockgate-hop")])

    if told.status_code == 200:
        [seen] = world.upstream.sent
        assert {name for name, _ in seen.headers} <= SENT
        assert seen.json == {**chat(), "model": "demo-model"}
    else:  # there was something of the gateway's own among them, which made no sense
        assert told.status_code < 500


def _with(headers: Mapping[str, str], sent: Sent) -> bytes:
    """What the upstream would say, with these headers in it."""
    line, rest = sanely(sent).split(b"\r\n", 1)
    lines = [f"{name}: {value}".encode("latin-1") for name, value in headers.items()]
    return b"\r\n".join((line, *lines, rest))


@TRIES
@given(headers=st.dictionaries(TOKEN.map("x-{}".format), VALUE, max_size=12), stream=st.booleans())
def test_of_an_upstreams_headers_none_comes_back(
    world: Scene, client: httpx.Client, headers: dict[str, str], *, stream: bool
) -> None:
    told = {name: value.strip() for name, value in headers.items()} | NOT_FOR_CLIENTS
    world.upstream.reply = lambda sent: _with(told, sent)
    heard = ask(client, chat(stream=stream))

    assert heard.status_code == 200
    for name, value in NOT_FOR_CLIENTS.items():
        assert heard.headers.get(name) != value, name


@pytest.mark.parametrize("status", [400, 401, 404, 418, 429, 500, 503])
def test_of_a_refusals_headers_none_comes_back(
    world: Scene, client: httpx.Client, status: int
) -> None:
    world.upstream.reply = always(refusal(status, *NOT_FOR_CLIENTS.items()))
    heard = ask(client)

    assert heard.status_code >= 400
    for name, value in NOT_FOR_CLIENTS.items():
        assert heard.headers.get(name) != value, name


# What clients say (rows 48 and 92)


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_48_what_a_client_says_makes_no_header_and_no_line(
    world: Scene, client: httpx.Client, text: str
) -> None:
    said = [{"role": "user", "content": text, "name": text}]
    for body in (
        chat(model=text),
        chat(user=text, metadata={text: text}, messages=said),
        chat(model="dropping", guided_json=text, **{text: text}),
        chat(model="dropping", stream=True, stop=[text], service_tier=text),
        chat(temperature=text),
        chat(messages=[{"role": text}]),
        {text: text},
    ):
        assert ask(client, body).status_code in (200, 400, 404)
    embedding = {"model": "embedder", "input": text, text: 1, f"{text}-2": 2}
    told = ask(client, embedding, path="/v1/embeddings")
    assert told.status_code == 200
    assert told.headers["x-lockgate-dropped"].isprintable()
    assert len(told.headers["x-lockgate-dropped"]) < 12 * 1024
    assert len(world.upstream.sent) >= 4


@pytest.mark.parametrize("name", OWN_HEADERS)
def test_48_what_a_client_says_in_a_header_makes_no_header_and_no_line(
    world: Scene, name: bytes
) -> None:
    line = b"POST /v1/chat/completions HTTP/1.1"
    for text in NASTY:
        value = text.encode()
        told = raw(world, spoken(line, b"Host: a", name + b": " + value))
        if len(value) > MAX_HEAD and not told:
            continue
        head = told.partition(b"\r\n\r\n")[0].lower()
        assert b"x-injected" not in head
        assert int(told.split()[1]) in (200, 400, 431, 508)
        assert value[:64].lower() not in head
    assert raw(world, spoken(line, b"Host: a")).startswith(b"HTTP/1.1 200 OK\r\n")


def test_48_a_header_with_a_control_character_is_refused(world: Scene) -> None:
    line = b"POST /v1/chat/completions HTTP/1.1"
    for value in (b"a\rb: c", b"a\n b: c", b"a\0b", b"a\x0bb", b"a\x1b[31m", b"a\x7f"):
        told = raw(world, spoken(line, b"Host: a", b"x-client-request-id: " + value))
        assert told.startswith(b"HTTP/1.1 400 "), value
        assert b"\r\nconnection: close\r\n" in told


# What upstreams say (rows 48 and 92)


def _says(text: str) -> Iterator[bytes]:
    """An upstream that says it wherever it may say anything."""
    wild: Json = {"model": text, "id": text, "system_fingerprint": text, "object": text}
    yield response(json.dumps(answer(text, **wild)).encode())
    yield stream(*(part({"content": text}), *STORY[:-3], part({}, text, **wild), *STORY[-2:]))
    yield stream(event({"error": {"message": text, "type": text, "code": text}}))
    yield stream(*STORY[:2], b"data: " + text.encode() + b"\n\n")
    for status in (400, 401, 429, 500, 503):
        yield refusal(status, message=text, type=text, code=text, param=text)
        yield response(text.encode(), status=f"{status} X")
    header = text.encode()[:60_000].translate(None, b"\r\n\0")
    yield response(b"{}", headers=[("content-type", header.decode("latin-1"))])


@pytest.mark.parametrize("text", TOGETHER, ids=range(len(TOGETHER)))
def test_92_what_an_upstream_says_makes_no_header_and_no_line(
    world: Scene, client: httpx.Client, text: str
) -> None:
    replies = [*_says(text)]
    for told in replies:
        world.upstream.reply = always(told)
        for streamed in (False, True):
            heard = ask(client, chat(stream=streamed))
            if heard.status_code != 200:
                assert len(heard.content) < 16 * 1024
    asked = 2 * len(replies)
    until(lambda: sum(line["event"] == "request" for line in world.lines()) >= asked)


# Names of models (row 50)


@pytest.mark.parametrize("name", PATH_NAMES, ids=range(len(PATH_NAMES)))
def test_50_a_models_name_is_no_path(world: Scene, client: httpx.Client, name: str) -> None:
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
        told = ask(client, chat(model=name, prompt="a", input="a"), path=path)
        assert told.status_code == 404
        assert told.json()["error"]["code"] == "model_not_found"
    assert not world.upstream.sent


@TRIES
@given(name=st.text(min_size=1) | st.text("./%2eE\\:@?#abv1", min_size=1))
def test_50_no_name_of_a_model_is_a_path(world: Scene, client: httpx.Client, name: str) -> None:
    in_hex = "".join(f"%{byte:02x}" for byte in name.encode())

    assert ask(client, chat(model=name)).status_code == 404
    assert ask(client, method="GET", path=f"/v1/models/{in_hex}").status_code in (400, 404)
    assert not world.upstream.sent

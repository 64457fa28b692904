from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.server.head import Header, Misused, head_of

LENGTH = (b"content-length", b"2")
CODED = (b"transfer-encoding", b"chunked")


def head(
    *headers: Header, status: int = 200, keep_alive: bool = True, bodiless: bool = False
) -> tuple[bytes, int | None, bool]:
    return head_of(status, headers, keep_alive=keep_alive, bodiless=bodiless)


def test_a_head_is_its_status_and_its_headers_in_their_order() -> None:
    content, length, keep_alive = head((b"b", b"1"), LENGTH, (b"set-cookie", b"a"), (b"a", b""))

    assert content == (
        b"HTTP/1.1 200 OK\r\nb: 1\r\ncontent-length: 2\r\nset-cookie: a\r\na: \r\n\r\n"
    )
    assert (length, keep_alive) == (2, True)


def test_a_name_is_taken_as_it_stands() -> None:
    assert b"\r\na%b%%: 1\r\n" in head((b"a%b%%", b"1"))[0]


def test_a_status_without_a_name_has_none() -> None:
    assert head(LENGTH, status=299)[0].startswith(b"HTTP/1.1 299 \r\n")


@pytest.mark.parametrize(
    ("asked", "length", "says_chunks"),
    [
        ({"headers": []}, None, True),
        ({"headers": [CODED]}, None, True),
        ({"headers": [(b"transfer-encoding", b"gzip")]}, None, True),
        ({"headers": [CODED, LENGTH]}, 2, False),
        ({"headers": [LENGTH]}, 2, False),
        ({"headers": [], "status": 204}, 0, False),
        ({"headers": [], "status": 304}, 0, False),
        ({"headers": [], "bodiless": True}, 0, False),
        ({"headers": [LENGTH], "bodiless": True}, 0, False),
    ],
)
def test_a_body_is_framed_once(asked: Any, length: int | None, *, says_chunks: bool) -> None:
    content, framed, _ = head(*asked.pop("headers"), **asked)

    assert framed == length
    assert content.count(b"transfer-encoding") == says_chunks
    assert content.count(b"\r\ntransfer-encoding: chunked\r\n") == says_chunks


@pytest.mark.parametrize("connection", [b"close", b"Close", b"x, close"])
def test_a_head_that_says_so_is_the_last(connection: bytes) -> None:
    content, _, keep_alive = head(LENGTH, (b"connection", connection))

    assert not keep_alive
    assert content.count(b"connection") == 1


@pytest.mark.parametrize("told", [(), ((b"connection", b"keep-alive"),)])
def test_the_last_head_says_so(told: tuple[Header, ...]) -> None:
    content, _, keep_alive = head(LENGTH, *told, keep_alive=False)

    assert not keep_alive
    assert content.endswith(b"\r\nconnection: close\r\n\r\n")


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x", b"a\r\nset-cookie: b")],
        [(b"x", b"a\rb")],
        [(b"x", b"a\nb")],
        [(b"x", b"a\0b")],
        [(b"x", b"a\r\n")],
        [(b"x\r\ny", b"a")],
        [(b"x: y\r\nz", b"a")],
        [(b"x y", b"a")],
        [(b"x:", b"a")],
        [(b"", b"a")],
        [(b"Content-Length", b"2")],
        [LENGTH, LENGTH],
        [(b"content-length", b"+2")],
        [(b"content-length", b"")],
        [(b"content-length", b"2, 2")],
    ],
)
def test_what_a_reader_could_misunderstand_is_never_sent(headers: list[Header]) -> None:
    for _ in range(2):
        with pytest.raises(Misused):
            head(*headers)


@pytest.mark.parametrize("status", [0, 99, 100, 199, 600, 2000])
def test_what_is_no_status_of_an_answer_is_never_sent(status: int) -> None:
    with pytest.raises(Misused):
        head(LENGTH, status=status)


@given(st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=8)), max_size=4))
def test_a_head_has_as_many_lines_as_headers(headers: list[Header]) -> None:
    try:
        content, _, _ = head(LENGTH, *headers)
    except Misused:
        return
    assert content.replace(b"\r\n", b"\n").split(b"\n") == [
        b"HTTP/1.1 200 OK",
        *[b"%b: %b" % header for header in (LENGTH, *headers)],
        b"",
        b"",
    ]

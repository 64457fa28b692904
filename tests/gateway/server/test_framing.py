"""
Row 49: every request that two readers could end at different bytes, or take for another host's.

Most of them httptools refuses by itself; which ones may change with it, so all are tried here.
"""

import asyncio

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.server.framing import (
    MAX_HEAD,
    MAX_HEADERS,
    fault_of,
    size_of,
)
from gateway.server.refusals import (
    BAD_CODING,
    BAD_HOST,
    BAD_TARGET,
    BAD_VERSION,
    HEAD_TOO_LARGE,
)
from tests.support.smuggling import CASES, HIDDEN
from tests.support.wire import Wire, statuses

HOST = (b"host", b"a")
CODED = (b"transfer-encoding", b"chunked")
GOOD = b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n"


async def heard(*pieces: bytes) -> Wire:
    wire = Wire()
    wire.say(*pieces)
    await wire.settled()
    return wire


@pytest.mark.parametrize("case", CASES)
async def test_it_is_refused_and_the_connection_closed(case: str) -> None:
    wire = await heard(CASES[case])

    assert statuses(wire.heard) in ([400], [431])
    assert wire.is_closed
    assert HIDDEN not in wire.app.paths


@pytest.mark.parametrize("case", CASES)
async def test_so_it_is_behind_a_request_on_the_same_connection(case: str) -> None:
    wire = await heard(GOOD)
    wire.say(CASES[case])
    await wire.settled()

    assert statuses(wire.heard) in ([204, 400], [204, 431])
    assert wire.is_closed
    assert HIDDEN not in wire.app.paths


@pytest.mark.parametrize("case", CASES)
async def test_so_it_is_in_one_read_with_another_request(case: str) -> None:
    wire = await heard(GOOD + CASES[case])

    assert statuses(wire.heard) in ([204, 400], [204, 431])
    assert wire.is_closed
    assert HIDDEN not in wire.app.paths


async def test_so_it_is_byte_by_byte() -> None:
    for case, sent in CASES.items():
        if len(sent) < 1000:
            wire = await heard(*[sent[at : at + 1] for at in range(len(sent))])

            assert statuses(wire.heard) in ([400], [431]), case
            assert wire.is_closed, case
            assert HIDDEN not in wire.app.paths, case


@given(cut=st.integers(1, 120), case=st.sampled_from(sorted(CASES)))
@example(cut=1, case="tls")
async def test_so_it_is_wherever_it_is_cut(cut: int, case: str) -> None:
    sent = CASES[case]
    wire = await heard(sent[:cut])
    await asyncio.sleep(0)
    wire.say(sent[cut:])
    await wire.settled()

    assert statuses(wire.heard) in ([400], [431])
    assert HIDDEN not in wire.app.paths


LAWFUL = {
    "absolute": b"POST http://a:80/seen?x=1 HTTP/1.1\r\nHost: a:80\r\nContent-Length: 0\r\n\r\n",
    "absolute-in-capitals": b"POST HTTP://A/seen HTTP/1.1\r\nhost: a\r\nContent-Length: 0\r\n\r\n",
    "six": b"GET /seen HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
    "empty-host": b"GET /seen HTTP/1.1\r\nHost:\r\n\r\n",
    "1.0": b"GET /seen HTTP/1.0\r\n\r\n",
    "1.0-with-a-length": b"POST /seen HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi",
    "chunks": b"POST /seen HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\n"
    b"2;x=y\r\nhi\r\n0\r\nX: trailer\r\n\r\n",
    "empty-lines-first": b"\r\n\r\nGET /seen HTTP/1.1\r\nHost: a\r\n\r\n",
    "blanks-around-a-value": b"GET /seen HTTP/1.1\r\nHost: \t a \t\r\n\r\n",
    "latin-1": b"GET /seen HTTP/1.1\r\nHost: a\r\nX: \xe9\r\n\r\n",
}


@pytest.mark.parametrize("case", LAWFUL)
async def test_what_every_reader_takes_alike_is_answered(case: str) -> None:
    wire = await heard(LAWFUL[case])

    assert (statuses(wire.heard), wire.app.paths) == ([204], ["/seen"])


async def test_a_header_with_an_underscore_is_dropped() -> None:
    wire = await heard(
        b"GET /seen HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 127.0.0.1\r\nContent_Length: 5\r\n"
        b"X-Kept: yes\r\n\r\n"
    )

    assert wire.app.headers == [[(b"host", b"a"), (b"x-kept", b"yes")]]
    assert statuses(wire.heard) == [204]


async def test_a_trailer_is_no_header() -> None:
    wire = await heard(
        b"POST /seen HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\nAuthorization: Bearer other\r\nHost: b\r\n\r\n"
    )

    assert [name for name, _ in wire.app.headers[0]] == [b"host", b"transfer-encoding"]
    assert statuses(wire.heard) == [204]


def test_a_head_may_be_as_large_as_the_bounds_and_no_larger() -> None:
    headers = [HOST, *[(b"x", b"y")] * (MAX_HEADERS - 1)]

    assert fault_of("1.1", b"/", headers, dict(headers)) is None
    headers.append((b"x", b"y"))
    assert fault_of("1.1", b"/", headers, dict(headers)) is HEAD_TOO_LARGE


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("piece", [16 * 1024, 100_000])
async def test_so_it_is_over_the_wire(more: int, piece: int) -> None:
    fixed = size_of(b"/seen", [HOST, (b"x", b"")])
    value = b"a" * (MAX_HEAD - fixed + more)
    sent = b"GET /seen HTTP/1.1\r\nhost: a\r\nx: %b\r\n\r\n" % value
    wire = await heard(*[sent[at : at + piece] for at in range(0, len(sent), piece)])

    assert statuses(wire.heard) == ([431] if more else [204])


@pytest.mark.parametrize(
    ("version", "target", "headers", "fault"),
    [
        ("1.1", b"/", [HOST], None),
        ("1.1", b"/", [], BAD_HOST),
        ("1.0", b"/", [], None),
        ("1.0", b"http://a/", [], BAD_TARGET),
        ("1.0", b"/", [HOST, HOST], BAD_HOST),
        ("1.1", b"/", [HOST, CODED], None),
        ("1.1", b"/", [HOST, CODED, CODED], BAD_CODING),
        ("1.0", b"/", [HOST, CODED], BAD_CODING),
        ("2.0", b"/", [HOST], BAD_VERSION),
        ("1.1", b"http://b/", [HOST], BAD_TARGET),
        ("1.1", b"https://A/", [HOST], None),
        ("1.1", b"/#x", [HOST], BAD_TARGET),
    ],
)
def test_each_fault_has_its_name(
    version: str, target: bytes, headers: list[tuple[bytes, bytes]], fault: object
) -> None:
    assert fault_of(version, target, headers, dict(headers)) is fault


@given(st.lists(st.tuples(st.text("ab_-", max_size=4).map(str.encode), st.binary(max_size=8))))
def test_only_names_with_an_underscore_are_dropped(headers: list[tuple[bytes, bytes]]) -> None:
    taken = [HOST, *headers]

    assert fault_of("1.1", b"/", taken, dict(taken)) is None
    assert taken == [HOST, *[header for header in headers if b"_" not in header[0]]]

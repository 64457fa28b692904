"""
Headers of requests and of upstreams' refusals: each is read or refused, whatever it holds.

An input is one header a line: a digit for its name, then the value. Server and transport let no
line break or NUL through, and neither do these.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from gateway.access.headers import credential
from gateway.access.key import Key
from gateway.contract.errors import GatewayError
from gateway.contract.head import Head, head_of
from gateway.contract.headers import LONGEST, retry_after
from gateway.inbound.addresses import ClientAddresses
from gateway.inbound.body import check_announced
from gateway.inbound.client_id import client_id_of
from gateway.inbound.hints import MAX_REPEATS, hints_of
from gateway.inbound.hops import MAX_HOPS, hops_of
from gateway.inbound.replay import check_key, key_of
from gateway.inbound.tags import MAX_TAGS, tags_of
from gateway.telemetry.context import MAX_STATE, caller_of, headers_of

_NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
_OUR_NAMES = (
    b"authorization",
    b"x-api-key",
    b"x-lockgate-tags",
    b"x-lockgate-hop",
    b"x-stainless-read-timeout",
    b"x-stainless-retry-count",
    b"x-forwarded-for",
    b"traceparent",
    b"tracestate",
    b"x-client-request-id",
    b"x-request-id",
    b"idempotency-key",
    b"content-length",
    b"content-encoding",
)
_THEIR_NAMES = (
    "retry-after",
    "retry-after-ms",
    "date",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
)
_PLAIN = re.compile(r"[A-Za-z0-9 _./:@+=,-]*")
_ADDRESSES = ClientAddresses(["10.0.0.0/8", "::1/128"])
_KEY = b"lg_0a1B2c3D4e5F_0123456789abcdefghijABCDEFGHIJ01xYz123"
_TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

SEEDS = (
    b"0Bearer " + _KEY,
    b"0bearer\t" + _KEY + b"\n1" + _KEY,
    b"0Basic a:b\n0Bearer x",
    b"1" + b"\xe2\x82\xac" * 2730,
    b"2team=search, env=prod",
    b"2a=\x1b[31m\xe2\x80\xae, b=\xff",
    b"2" + b",".join(b"t%d=x" % n for n in range(11)),
    b"32\n4600.5\n53",
    b"49999999999\n4nan\n4-1\n4" + b"9" * 300 + b"\n5-1",
    b"61.2.3.4, 10.0.0.1\n6[::ffff:1.2.3.4]:80, 10.0.0.2:9",
    b"6" + b",".join([b"10.0.0.1"] * 40),
    b"6fe80::1%eth0",
    b"7" + _TRACE + b"\n8a=b,c@d=e",
    b"7" + _TRACE + b"-more\n8" + b"a=" + b"b" * 600,
    b"9abc-1_2\n:a b",
    b";" + b"k" * 256,
    b"<+4\n<0x4\n<" + b"9" * 5000,
    b"=gzip, identity",
    b"0Mon, 04 May 2026 12:00:09 GMT\n2Mon, 04 May 2020 12:00:00 GMT",
    b"0Mon, 99 Foo 99999 99:99:99 +9999",
    b"0-1\n11e9",
    b"36m0s\n41.5.2s\n50",
    b"3" + b"9" * 400 + b"d",
)


def fuzz_headers(data: bytes) -> None:
    """What comes of a request's headers is within its bounds, and what is none is refused."""
    headers = [
        (_OUR_NAMES[(number - 48) % len(_OUR_NAMES)], value) for number, value in _lines(data)
    ]
    head = head_of(headers)
    _try_to(lambda: _check_credential(credential(head)))
    _try_to(lambda: _check_tags(tags_of(head)))
    _try_to(lambda: _check_range(hops_of(head), 0, MAX_HOPS))
    _try_to(lambda: check_announced(head, 1000))
    hints = hints_of(head)
    assert hints.patience > 0
    _check_range(hints.repeats, 0, MAX_REPEATS)
    for peer in ("10.9.9.9", "192.0.2.1", None):
        client = None if peer is None else (peer, 1)
        address = _ADDRESSES({"type": "http", "client": client, "headers": headers})
        assert (
            address is None or (_PLAIN.fullmatch(address) and len(address) < 64) or "%" in address
        )
    client_id, key = client_id_of(head), key_of(head)
    assert _PLAIN.fullmatch(client_id)
    assert len(client_id) <= 64
    if key is not None:
        _try_to(lambda: check_key(key))
    _check_trace(head)


def fuzz_retry_after(data: bytes) -> None:
    """Whatever an upstream says of waiting, it is no time at all or one within bounds."""
    headers = {
        _THEIR_NAMES[number % len(_THEIR_NAMES)]: value.decode("latin-1")
        for number, value in _lines(data)
    }
    wait = retry_after(headers, _NOW)
    assert wait is None or 0 <= wait <= LONGEST


def _lines(data: bytes) -> list[tuple[int, bytes]]:
    lines = data.replace(b"\r", b"\n").replace(b"\0", b"\n").split(b"\n")
    return [(line[0], line[1:].strip(b" \t")) for line in lines if line]


def _try_to(read: Callable[[], object]) -> None:
    try:
        read()
    except GatewayError as refusal:
        _check_refusal(refusal)


def _check_refusal(refusal: GatewayError) -> None:
    assert 400 <= refusal.status < 509
    assert len(refusal.message) <= 1024


def _check_credential(text: str | None) -> None:
    key = None if text is None else Key.parse(text)
    assert key is None or key.reveal() == text


def _check_tags(tags: Mapping[str, str]) -> None:
    assert len(tags) <= MAX_TAGS
    for name, value in tags.items():
        assert len(name) <= 32
        assert len(value) <= 64
        assert _PLAIN.fullmatch(name + value)


def _check_range(value: int, least: int, most: int) -> None:
    assert least <= value <= most


def _check_trace(head: Head) -> None:
    """What is sent on is short, and one line."""
    trace = caller_of(head)
    if trace is not None:
        assert len(trace.state) <= MAX_STATE
        for _, value in headers_of(trace, trace.span_id):
            assert value.isascii()
            assert value.decode().isprintable()

"""Whom the gateway takes a request to be from, whatever the request says."""

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.inbound.addresses import MOST_PROXIES, ClientAddresses

PROXY, INNER, CLIENT = "10.0.0.1", "10.0.0.2", "192.0.2.7"


def scope(peer: str | None, *forwarded: bytes) -> dict[str, Any]:
    headers = [(b"host", b"x"), *((b"x-forwarded-for", each) for each in forwarded)]
    return {"client": (peer, 1234) if peer else None, "headers": headers}


def asked(peer: str | None, *forwarded: bytes, trusted: tuple[str, ...] = ("10.0.0.0/8",)) -> Any:
    return ClientAddresses(trusted)(scope(peer, *forwarded))


@pytest.mark.parametrize("forwarded", [(), (b"198.51.100.1",), (b"10.0.0.1",)])
def test_without_trusted_proxies_it_is_the_peer_whatever_the_request_says(
    forwarded: tuple[bytes, ...],
) -> None:
    assert asked(CLIENT, *forwarded, trusted=()) == CLIENT
    assert asked(CLIENT, *forwarded) == CLIENT
    assert asked(None, *forwarded) is None


@pytest.mark.parametrize(
    ("forwarded", "found"),
    [
        ([], PROXY),
        ([b""], PROXY),
        ([b"192.0.2.7"], CLIENT),
        ([b" 192.0.2.7\t"], CLIENT),
        ([b"192.0.2.7:5555"], CLIENT),
        ([b"2001:db8::1"], "2001:db8::1"),
        ([b"[2001:db8::1]"], "2001:db8::1"),
        ([b"[2001:db8::1]:5555"], "2001:db8::1"),
        # What stands further left was there before the proxy.
        ([b"10.0.0.9, 192.0.2.7"], CLIENT),
        ([b"127.0.0.1", b"192.0.2.7"], CLIENT),
        ([b"127.0.0.1,192.0.2.7"], CLIENT),
        ([b"rubbish, 192.0.2.7"], CLIENT),
        # Through a second trusted proxy.
        ([b"192.0.2.7, 10.0.0.2"], CLIENT),
        ([b"198.51.100.1, 192.0.2.7, 10.0.0.2"], CLIENT),
        ([b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        # What the nearest proxy says can't be read: then nobody can tell.
        ([b"unknown"], None),
        ([b"_hidden"], None),
        ([b"192.0.2.7,"], None),
        ([b"192.0.2.7, unknown"], None),
        ([b"192.0.2.7, unknown, 10.0.0.2"], None),
        ([b"192.0.2.7 198.51.100.1"], None),
        ([b"192.0.2.7\x00"], None),
        ([b"0300.0.2.7"], None),
        ([b"\xff\xfe"], None),
        ([b"[2001:db8::1"], "2001:db8::1"),
    ],
)
def test_behind_a_trusted_proxy_it_is_the_last_that_is_not_trusted(
    forwarded: list[bytes], found: str | None
) -> None:
    assert asked(PROXY, *forwarded) == found


def test_ipv4_that_arrives_as_ipv6_is_trusted_as_ipv4() -> None:
    assert asked(f"::ffff:{PROXY}", b"192.0.2.7") == CLIENT


def test_a_way_through_too_many_proxies_leads_nowhere() -> None:
    through = [b"10.0.0.2"] * (MOST_PROXIES - 1)

    assert asked(PROXY, b", ".join([b"192.0.2.7", *through])) == CLIENT
    assert asked(PROXY, b", ".join([b"192.0.2.7", b"10.0.0.2", *through])) is None
    assert asked(PROXY, b"10.0.0.2," * 100_000) is None


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="proxies"):
        ClientAddresses(["proxies"])


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_whatever_a_client_sends_along_changes_nothing(sent: list[bytes]) -> None:
    assert asked(PROXY, *sent, b"192.0.2.7") == CLIENT


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_what_is_found_is_an_address_or_nothing(sent: list[bytes]) -> None:
    found = asked(PROXY, *sent)

    assert found is None or ip_address(found)

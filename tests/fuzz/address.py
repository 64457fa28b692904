"""Addresses that names of upstreams lead to: what is not the internet is never called public."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from gateway.upstream.addresses import is_public

SEEDS = (
    *(b"127.0.0.1", b"0.0.0.0", b"10.1.2.3", b"100.64.0.1", b"169.254.169.254", b"224.0.0.1"),
    *(b"8.8.8.8", b"2130706433", b"0x7f.1", b"0177.0.0.1", b"127.1", b"8.8.8.8%eth0"),
    *(b"::", b"::1", b"fe80::1%eth0", b"fd00::1", b"ff02::1", b"::ffff:127.0.0.1", b"2001:db8::"),
    *(b"64:ff9b::7f00:1", b"2002:7f00:1::", b"2606:4700::1111", b"[::1]", b"::ffff:8.8.8.8"),
)


def fuzz_address(data: bytes) -> None:
    """As text, and as the bytes of an address of either kind."""
    texts = [data.decode("latin-1")]
    texts += [str(kind(data[:size])) for kind, size in _KINDS if len(data) >= size]
    for text in texts:
        if is_public(text):
            _check(ip_address(text))


_KINDS = ((IPv4Address, 4), (IPv6Address, 16))
_TRANSLATED = IPv6Network("64:ff9b::/96")


def _check(address: IPv4Address | IPv6Address) -> None:
    assert not address.is_loopback
    assert not address.is_link_local
    assert not address.is_multicast
    assert not address.is_unspecified
    if isinstance(address, IPv4Address):
        assert address.is_global
        return
    carried = address.ipv4_mapped or address.sixtofour
    if carried is not None:
        _check(carried)
    elif address in _TRANSLATED:
        _check(IPv4Address(int(address) & 0xFFFF_FFFF))
    else:
        assert address.is_global

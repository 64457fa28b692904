from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.addresses import is_public

PRIVATE_4 = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
]  # fmt: skip
PRIVATE_6 = [
    "::/127", "100::/64", "2001::/32", "2001:2::/48", "2001:10::/28", "2001:db8::/32", "3fff::/20",
    "5f00::/16", "64:ff9b:1::/48", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
]  # fmt: skip
PUBLIC_4 = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "93.184.215.14", "100.63.255.255",
    "100.128.0.0", "104.18.7.192", "126.255.255.255", "128.0.0.0", "169.253.255.255",
    "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0",
    "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "203.0.112.255",
    "203.0.114.0", "223.255.255.255",
]  # fmt: skip
PUBLIC_6 = [
    "2000::1", "2001:200::1", "2001:4860:4860::8888", "2600::", "2606:4700::1111",
    "2a00:1450:4001::1", "3ffe:ffff::1", "2003::1",
]  # fmt: skip
METADATA = ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "169.254.170.2"]
NO_ADDRESSES = [
    "", " ", "localhost", "0177.0.0.1", "0x7f.1", "2130706433", "127.1", "1.2.3", "1.2.3.4.5",
    "[::1]", "::1%", "1.1.1.1/8", "1.1.1.1 ", "\uff11.1.1.1",
]  # fmt: skip

CARRIERS = [IPv6Network(each) for each in ("::ffff:0:0/96", "64:ff9b::/96", "2002::/16")]


def around(network: str) -> list[str]:
    """Its first and last addresses, and some between."""
    made = IPv4Network(network) if "." in network else IPv6Network(network)
    size = made.num_addresses
    return [str(made[n]) for n in {0, 1, size // 3, size // 2, size - 2, size - 1} if n < size]


def carried(address: str) -> list[str]:
    """The IPv6 addresses that mean an IPv4 one."""
    bits = int(IPv4Address(address))
    return [
        str(IPv6Address(0xFFFF << 32 | bits)),
        str(IPv6Address(int(IPv6Address("64:ff9b::")) | bits)),
        str(IPv6Address(int(IPv6Address("2002::")) | bits << 80 | 1)),
    ]


PRIVATE = [each for network in PRIVATE_4 for each in around(network)]
CORPUS = [
    *((each, False) for each in PRIVATE),
    *((each, False) for network in PRIVATE_6 for each in around(network)),
    *((each, False) for address in PRIVATE[::2] for each in carried(address)),
    *((each, False) for each in (*METADATA, *NO_ADDRESSES)),
    *((each, True) for each in (*PUBLIC_4, *PUBLIC_6)),
    *((each, True) for address in PUBLIC_4 for each in carried(address)),
    ("fe80::1%eth0", False),
    ("2606:4700::1111%eth0", False),
    ("::ffff:169.254.169.254", False),
    ("::8.8.8.8", False),
]


def test_03_only_addresses_of_the_public_internet_are_public():
    assert len(CORPUS) >= 300
    assert [each for each, public in CORPUS if is_public(each) is not public] == []


@given(st.ip_addresses())
def test_03_nothing_is_public_that_python_knows_to_be_private(address: IPv4Address | IPv6Address):
    if is_public(str(address)) and not any(address in each for each in CARRIERS):
        assert address.is_global
        for kind in ("loopback", "link_local", "multicast", "unspecified", "reserved"):
            assert not getattr(address, f"is_{kind}")


@given(st.ip_addresses(v=4))
def test_03_an_address_is_judged_the_same_whatever_carries_it(address: IPv4Address):
    assert {is_public(each) for each in carried(str(address))} == {is_public(str(address))}


@given(st.text(max_size=40))
def test_what_is_no_address_is_not_public(text: str):
    try:
        ip_address(text)
    except ValueError:
        assert not is_public(text)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.networks import is_within, networks_of


@pytest.mark.parametrize(
    ("address", "networks", "within"),
    [
        ("10.1.2.3", ["10.0.0.0/8"], True),
        ("11.1.2.3", ["10.0.0.0/8"], False),
        ("11.1.2.3", ["10.0.0.0/8", "11.1.2.3"], True),
        ("11.1.2.4", ["11.1.2.3/32"], False),
        ("::ffff:10.1.2.3", ["10.0.0.0/8"], True),
        ("2001:db8::1", ["2001:db8::/32"], True),
        ("2001:db9::1", ["2001:db8::/32"], False),
        ("2001:db8::1", ["0.0.0.0/0"], False),
        ("10.1.2.3", ["::/0"], False),
        ("fe80::1%eth0", ["fe80::/10"], True),
        ("10.1.2.3", [], False),
        (None, ["0.0.0.0/0", "::/0"], False),
        ("", ["0.0.0.0/0", "::/0"], False),
        ("localhost", ["0.0.0.0/0", "::/0"], False),
        ("10.1.2.3:80", ["0.0.0.0/0"], False),
        ("010.1.2.3", ["0.0.0.0/0"], False),
        ("167772161", ["0.0.0.0/0"], False),
    ],
)
def test_an_address_is_in_a_network_or_not(
    address: str | None, networks: list[str], within: bool
) -> None:
    assert is_within(address, networks_of(networks)) is within


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "10.0.0.0/33", "everywhere", "10.0.0.0/-1"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|network|prefix|netmask|host bits"):
        networks_of([text])


@given(st.ip_addresses())
def test_every_address_is_in_the_network_of_its_own(address: object) -> None:
    mapped = getattr(address, "ipv4_mapped", None)

    assert is_within(str(address), networks_of([str(mapped or address)]))


@given(st.text())
def test_any_text_is_judged_without_an_error(text: str) -> None:
    assert is_within(text, networks_of(["10.0.0.0/8"])) in (True, False)

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.http.networks import ACCEPTED, address, among, parse

NETWORKS = (parse("10.0.0.0/8"), parse("192.0.2.1"), parse("2001:db8::/32"))


@pytest.mark.parametrize("text", ["10.0.0.0/8", "192.0.2.1", "0.0.0.0/0", "2001:db8::/32", "::1"])
def test_network(text: str) -> None:
    """A network is an address and a prefix; an address alone is a network of one."""
    assert parse(text) == ip_network(text)


@pytest.mark.parametrize("text", ["", "on", "*", "10", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/8,::1", "a.example"])
def test_no_network(text: str) -> None:
    """Anything else is refused with what is accepted, and so is a network of which more is set than its prefix."""
    with pytest.raises(ValueError, match=r"^expected an address or a network") as refused:
        parse(text)
    assert ACCEPTED in str(refused.value)


def test_address() -> None:
    """An address of IPv4 that an IPv6 socket tells is the same machine's."""
    assert address("192.0.2.1") == address("::ffff:192.0.2.1") == IPv4Address("192.0.2.1")
    assert address("2001:db8::1") == IPv6Address("2001:db8::1")


@pytest.mark.parametrize("machine", ["10.1.2.3", "::ffff:10.1.2.3", "192.0.2.1", "2001:db8:1::", "2001:db8::1%eth0"])
def test_among(machine: str) -> None:
    """A machine is in one of the networks if its address is, however that is written."""
    assert among(NETWORKS, machine)


@pytest.mark.parametrize("machine", ["11.0.0.1", "192.0.2.2", "2001:db9::", "::1", "", "localhost", None])
def test_not_among(machine: str | None) -> None:
    """Any other machine is in none; nor is what has no address."""
    assert not among(NETWORKS, machine)


@given(st.text())
def test_anything(text: str) -> None:
    """Whatever is given for an address, nothing fails; and where there are no networks, nobody is in them."""
    among(NETWORKS, text)
    assert not among((), text)

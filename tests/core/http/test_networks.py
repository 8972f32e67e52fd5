from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.http.networks import ACCEPTED, address, among, parse

NETWORKS = (parse("10.0.0.0/8"), parse("192.0.2.1"), parse("2001:db8::/32"))


@pytest.mark.parametrize("text", ["10.0.0.0/8", "192.0.2.1", "0.0.0.0/0", "2001:db8::/32", "::1"])
def test_network(text: str) -> None:
    """A network is an address with a prefix, or a single address."""
    assert parse(text) == ip_network(text)


@pytest.mark.parametrize("text", ["", "on", "*", "10", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/8,::1", "a.example"])
def test_wrong_network(text: str) -> None:
    """Text is refused when it is not a network or has bits behind its prefix."""
    with pytest.raises(ValueError, match=r"^expected an address or a network") as refused:
        parse(text)
    assert ACCEPTED in str(refused.value)


def test_address() -> None:
    """An IPv4 address is the same when an IPv6 socket reports it."""
    assert address("192.0.2.1") == address("::ffff:192.0.2.1") == IPv4Address("192.0.2.1")
    assert address("2001:db8::1") == IPv6Address("2001:db8::1")


@pytest.mark.parametrize("machine", ["10.1.2.3", "::ffff:10.1.2.3", "192.0.2.1", "2001:db8:1::", "2001:db8::1%eth0"])
def test_among(machine: str) -> None:
    """A machine is in a network when its address is, in any notation."""
    assert among(NETWORKS, machine)


@pytest.mark.parametrize("machine", ["11.0.0.1", "192.0.2.2", "2001:db9::", "::1", "", "localhost", None])
def test_not_among(machine: str | None) -> None:
    """A machine is in no network when its address is outside or missing."""
    assert not among(NETWORKS, machine)


@given(st.text())
def test_anything(text: str) -> None:
    """Any text is in no network when there are no networks, and raises nothing."""
    among(NETWORKS, text)
    assert not among((), text)

"""Networks of trusted machines."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network

Address = IPv4Address | IPv6Address

ACCEPTED: Final = "an address or a network such as 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32"


def parse(text: str) -> Network:
    """Read a network; an address alone is the network of that one machine.

    Raises:
        ValueError: text is not a network, or has bits set behind its prefix, which makes it ambiguous.
    """
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"expected {ACCEPTED} ({error})") from None


def address(text: str) -> Address:
    """Read an address; an IPv4 address that is mapped into IPv6 becomes an IPv4 address.

    Raises:
        ValueError: text is not an address.
    """
    return unmapped(ip_address(text))


def is_address(text: str) -> bool:
    """Check that text is an address of IPv4 or IPv6."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def unmapped(machine: Address) -> Address:
    """Unwrap an IPv4-mapped address (RFC 4291, section 2.5.5.2), and return others as they are."""
    return getattr(machine, "ipv4_mapped", None) or machine


def among(networks: Iterable[Network], machine: str | None) -> bool:
    """Check whether a machine is in one of the networks.

    Args:
        networks: any number of networks.
        machine: the address of the machine. None and malformed text are in no network.
    """
    try:
        found = address(machine or "")
    except ValueError:
        return False
    return any(found in network for network in networks)

"""The address of a client: the connection's other end, or as trusted proxies report it."""

from collections.abc import Collection

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress

from latebin.answers.interfaces import ServedRequest
from latebin.core.http.forwarded import believed
from latebin.core.http.networks import Network


def address(host: str, port: int) -> IAddress:
    """Return Twisted's address of a host, which is given as an IPv4 or IPv6 address."""
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, port)


def believe(request: ServedRequest, networks: Collection[Network]) -> None:
    """Set client, scheme and host of a request as trusted proxies report them.

    Args:
        request: the request, before any of the three is read. A report of another peer is ignored.
        networks: the networks of the trusted proxies.
    """
    peer = getattr(request.getClientAddress(), "host", None)
    found = believed(request.requestHeaders.getRawHeaders, peer, networks)
    if found.client is not None:
        # The port is not used, and not every proxy reports it.
        request.client = address(found.client, 0)
    if found.host is not None:
        request.requestHeaders.setRawHeaders(b"Host", [found.host.encode("ascii")])
    if found.scheme is not None:
        secure = found.scheme == "https"
        request.isSecure = lambda: secure  # type: ignore[method-assign]  # for this one request

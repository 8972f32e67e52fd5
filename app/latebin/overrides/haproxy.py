"""Connections that begin with a header of the PROXY protocol, and listening for them.

In the place of `twisted.protocols.haproxy` of Twisted 26.10. That closes a connection whose valid header comes in
pieces (twisted#8287) or is `PROXY UNKNOWN`. It raises at an invalid port, and takes any word for an address. It looks
for the header inside TLS, where no proxy writes it.

This module uses public names alone. `ProxyProtocolWrapper` could take the place of `HAProxyProtocolWrapper` upstream,
with `core/http/proxy_protocol.py` as its parser.
"""

from typing import Any, Final, cast

import attrs
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocol, IProtocolFactory
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from latebin.answers.client_address import address
from latebin.core.http.proxy_protocol import ProxyHeader, read

_UNTOLD: Final = ProxyHeader(0)


class ProxyProtocolWrapper(ProtocolWrapper):
    """A connection whose two addresses come from its PROXY header; without one it is closed."""

    _preamble: ProxyHeader | None = None

    def __init__(self, factory: "WrappingFactory[ProxyProtocolWrapper]", wrapped: IProtocol) -> None:
        super().__init__(factory, wrapped)
        self._begun = bytearray()

    def dataReceived(self, data: bytes) -> None:
        """Pass on what follows the preamble."""
        if self._preamble is not None:
            self.wrappedProtocol.dataReceived(data)
            return
        self._begun += data
        try:
            self._preamble = read(self._begun)
        except ValueError:
            self.loseConnection()
            return
        if self._preamble is not None:
            rest, self._begun = bytes(self._begun[self._preamble.length :]), bytearray()
            if rest:
                self.wrappedProtocol.dataReceived(rest)

    def getPeer(self) -> IAddress:
        """Return the address of the client: that in the header, if it has one."""
        source = (self._preamble or _UNTOLD).source
        return address(*source) if source else cast("IAddress", super().getPeer())

    def getHost(self) -> IAddress:
        """Return the address that the client connected to, by the header if possible."""
        destination = (self._preamble or _UNTOLD).destination
        return address(*destination) if destination else cast("IAddress", super().getHost())


class ProxyProtocolFactory(WrappingFactory):
    """Makes connections of the PROXY protocol."""

    noisy = False
    protocol = ProxyProtocolWrapper


@attrs.frozen
class ProxyProtocolReactor:
    """The part of a reactor that a server endpoint listens with, with PROXY headers.

    The header is read before any TLS.

    Attributes:
        reactor: the reactor that listens.
    """

    reactor: Any

    def listenTCP(self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = "") -> IListeningPort:
        """Accept connections of TCP."""
        preceded = ProxyProtocolFactory(factory)
        return cast("IListeningPort", self.reactor.listenTCP(port, preceded, backlog=backlog, interface=interface))

    def listenUNIX(
        self, address: str, factory: IProtocolFactory, backlog: int = 50, mode: int = 0o666, wantPID: int = 0
    ) -> IListeningPort:
        """Accept connections of a UNIX domain socket."""
        preceded = ProxyProtocolFactory(factory)
        port = self.reactor.listenUNIX(address, preceded, backlog=backlog, mode=mode, wantPID=wantPID)
        return cast("IListeningPort", port)

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory) -> IListeningPort:
        """Accept connections of a socket that another process has bound."""
        adopted = self.reactor.adoptStreamPort(fileDescriptor, addressFamily, ProxyProtocolFactory(factory))
        return cast("IListeningPort", adopted)

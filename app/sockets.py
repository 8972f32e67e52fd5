"""Listening on a socket that another process has bound, by whatever endpoint it bound it."""

import os
import socket
from typing import TYPE_CHECKING, cast

import attrs
from twisted.internet import tcp, unix
from twisted.internet.interfaces import IListeningPort, IOpenSSLContextFactory, IProtocolFactory, IReactorSocket
from twisted.protocols.tls import TLSMemoryBIOFactory

if TYPE_CHECKING:
    from twisted.internet.protocol import ServerFactory


@attrs.frozen
class Adopting:
    """As much of a reactor as a server endpoint listens with: it takes a socket over in the place of binding one.

    So an endpoint still does what belongs to it (TLS, the PROXY protocol), and does it in the worker.

    Attributes:
        reactor: what reads the socket.
        descriptor: of the socket, which listens already; it is duplicated.
    """

    reactor: IReactorSocket
    descriptor: int

    def listenTCP(
        self, port: object, factory: IProtocolFactory, backlog: int = 0, interface: str = ""
    ) -> IListeningPort:
        """Accept connections of TCP; the backlog and the address are as they were bound."""
        accepting = cast("ServerFactory", factory)
        return self.reactor.adoptStreamPort(self.descriptor, _family(self.descriptor), accepting)

    def listenSSL(
        self,
        port: object,
        factory: IProtocolFactory,
        contextFactory: IOpenSSLContextFactory,
        backlog: int = 0,
        interface: str = "",
    ) -> IListeningPort:
        """Accept connections of TLS over TCP."""
        return self.listenTCP(port, TLSMemoryBIOFactory(contextFactory, isClient=False, wrappedFactory=factory))

    def listenUNIX(
        self, address: str, factory: IProtocolFactory, backlog: int = 50, mode: int = 0o666, wantPID: int = 0
    ) -> IListeningPort:
        """Accept connections of a UNIX domain socket, whose path is left to the process that bound it."""
        port = SharedUNIXPort._fromListeningDescriptor(self.reactor, self.descriptor, factory)  # noqa: SLF001  # below
        # Listening on it anew, as the port does, leaves both as they were bound.
        port.backlog, port.mode = backlog, mode
        port.startListening()
        return cast("IListeningPort", port)


class SharedUNIXPort(unix.Port):
    """A port whose end is not the end of its socket; `adoptStreamPort` gives one that removes its path and shuts it."""

    _shouldShutdown = False

    def connectionLost(self, reason: object) -> None:
        tcp.Port.connectionLost(self, reason)


def _family(descriptor: int) -> socket.AddressFamily:
    with socket.socket(fileno=os.dup(descriptor)) as same:
        return socket.AddressFamily(same.family)

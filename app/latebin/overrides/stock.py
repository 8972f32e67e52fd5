"""Twisted's own ways to listen, by its public names."""

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import attrs

if TYPE_CHECKING:
    from twisted.internet.interfaces import (
        IListeningPort,
        IOpenSSLContextFactory,
        IProtocolFactory,
        IReactorSocket,
        IReactorTime,
        IStreamServerEndpoint,
    )
    from twisted.internet.tcp import Port


@attrs.frozen
class AdoptingReactor:
    """The part of a reactor that a server endpoint listens with; it adopts one socket.

    The endpoint's own work (TLS, the PROXY protocol) is done as ever, in the process that adopts.

    Attributes:
        reactor: what reads the socket.
        descriptor: of the socket, which listens already; the port has a duplicate of it.
    """

    reactor: "IReactorSocket"
    descriptor: int

    def listenTCP(
        self, port: object, factory: "IProtocolFactory", backlog: int = 0, interface: str = ""
    ) -> "IListeningPort":
        """Accept TCP connections; backlog and address stay as they were bound."""
        reactor: Any = self.reactor  # it declares an enumeration and a class, and takes any family and factory
        return cast("IListeningPort", reactor.adoptStreamPort(self.descriptor, self.family(), factory))

    def listenSSL(
        self,
        port: object,
        factory: "IProtocolFactory",
        contextFactory: "IOpenSSLContextFactory",
        backlog: int = 0,
        interface: str = "",
    ) -> "IListeningPort":
        """Accept TLS connections over TCP."""
        from twisted.protocols.tls import TLSMemoryBIOFactory  # noqa: PLC0415  # for an endpoint of TLS

        return self.listenTCP(port, TLSMemoryBIOFactory(contextFactory, isClient=False, wrappedFactory=factory))

    def family(self) -> int:
        """Return the address family of the socket, as `socket` has it."""
        with socket.socket(fileno=os.dup(self.descriptor)) as same:
            return same.family


class StockListening:
    """Twisted's own ways to listen."""

    def endpoint(self, reactor: object, description: str) -> "IStreamServerEndpoint":
        from twisted.internet.endpoints import serverFromString  # noqa: PLC0415  # as `Stack` says

        return cast("IStreamServerEndpoint", serverFromString(reactor, description))

    def adopt(self, reactor: "IReactorSocket", descriptor: int) -> AdoptingReactor:
        return AdoptingReactor(reactor, descriptor)

    def lend(self, port: "Port") -> None:
        """Stop accepting; a client that waits when this port is closed may be reset."""
        port.stopReading()

    def watch(self, port: "Port", clock: "IReactorTime", failed: Callable[[], object]) -> None:
        """Do nothing: Twisted reports such connections by no public name."""

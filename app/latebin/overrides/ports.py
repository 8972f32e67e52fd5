"""Ports on a socket that several processes share.

Overrides `twisted.internet.tcp.Port` and `unix.Port` of Twisted 26.10. Twisted's own accepts up to 100 connections in a
row, so that one worker takes them all. It sets `numberAccepts` back itself, so that no caller can choose it. A UNIX
port removes the path of the socket, and shuts down a socket that other processes accept on. Upstream could take a
`numberAccepts` that stays what it is set to.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorSocket

from latebin.overrides.haproxy import HAPROXY, ProxyProtocolReactor
from latebin.overrides.stack import AdoptingReactor, StockListening

if TYPE_CHECKING:
    from twisted.internet.interfaces import IStreamServerEndpoint

SSL: Final = "ssl:"
"""The beginning of the description of an endpoint of TLS."""

AT_ONCE: Final = 1
"""Connections accepted in a turn of the reactor: in the long turns of a busy one, others come in between.

With 8, in one of four tries, the first worker to wake took all the 64 connections of a load generator. The other worker
waited for a core meanwhile.
"""


class SharingReactor(AdoptingReactor):
    """An `AdoptingReactor` whose ports leave connections for others that listen on the same socket."""

    def listenTCP(
        self, port: object, factory: IProtocolFactory, backlog: int = 0, interface: str = ""
    ) -> IListeningPort:
        """Accept TCP connections; backlog and address stay as they were bound."""
        return _listening(SharedPort._fromListeningDescriptor(self.reactor, self.descriptor, self.family(), factory))  # noqa: SLF001

    def listenUNIX(
        self, address: str, factory: IProtocolFactory, backlog: int = 50, mode: int = 0o666, wantPID: int = 0
    ) -> IListeningPort:
        """Accept connections of a UNIX domain socket, and leave its path alone."""
        port = SharedUNIXPort._fromListeningDescriptor(self.reactor, self.descriptor, factory)  # noqa: SLF001
        # Listening on it anew, as the port does, leaves both as they were bound.
        port.backlog, port.mode = backlog, mode
        return _listening(port)


class TunedListening(StockListening):
    """The ways to listen with our PROXY protocol, and on evenly shared sockets."""

    def endpoint(self, reactor: object, description: str) -> "IStreamServerEndpoint":
        if description.startswith(HAPROXY):
            return self.endpoint(ProxyProtocolReactor(reactor), description.removeprefix(HAPROXY))
        if description.startswith(SSL):
            from latebin.overrides.tls import TLSReactor  # noqa: PLC0415  # with pyOpenSSL, for an endpoint of TLS

            import_module("latebin.overrides.http2")  # now, so that the first connection does not wait for it
            reactor = TLSReactor(reactor)
        return super().endpoint(reactor, description)

    def adopt(self, reactor: IReactorSocket, descriptor: int) -> SharingReactor:
        return SharingReactor(reactor, descriptor)

    def lend(self, port: tcp.Port) -> None:
        """Stop accepting; closed, the socket is the workers' all the same, until they close theirs."""
        super().lend(port)
        # A socket that is shut down could not be accepted on by any process.
        port._shouldShutdown = False  # noqa: SLF001


class SharedPort(tcp.Port):
    """A port that accepts one connection at a time, and leaves others to other processes.

    Twisted's own, which `adoptStreamPort` returns, accepts 100 in a row. Those are all that a client with a pool of
    connections opens at once, for as long as it keeps them.
    """

    def doRead(self) -> None:
        self.numberAccepts = AT_ONCE
        super().doRead()


class SharedUNIXPort(unix.Port):
    """The same for a UNIX domain socket, whose path and socket outlive the port."""

    _shouldShutdown = False

    def doRead(self) -> None:
        self.numberAccepts = AT_ONCE
        super().doRead()

    def connectionLost(self, reason: object) -> None:
        tcp.Port.connectionLost(self, reason)


def _listening(port: tcp.Port) -> IListeningPort:
    port.startListening()
    return cast("IListeningPort", port)

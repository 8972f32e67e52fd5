"""Ports on a socket that several processes share.

Overrides `twisted.internet.tcp.Port` and `unix.Port` of Twisted 26.10. Twisted's own accepts up to 100 connections in a
row, so that one worker takes them all. It sets `numberAccepts` back itself, so that no caller can choose it. A UNIX
port removes the path of the socket, and shuts down a socket that other processes accept on. Upstream could take a
`numberAccepts` that stays what it is set to.

A port that cannot accept a connection logs that at a level that is not written, and reports it nowhere else. So its
logger is replaced by one that counts.
"""

import errno
import os
import resource
from collections.abc import Callable
from importlib import import_module
from math import inf
from typing import TYPE_CHECKING, Final, cast

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorSocket, IReactorTime
from twisted.logger import ILogObserver, LogEvent, Logger
from zope.interface import implementer

from latebin.overrides.stock import AdoptingReactor, StockListening

if TYPE_CHECKING:
    from twisted.internet.interfaces import IStreamServerEndpoint

HAPROXY: Final = "haproxy:"
"""The beginning of the description of an endpoint of the PROXY protocol."""

SSL: Final = "ssl:"
"""The beginning of the description of an endpoint of TLS."""

AT_ONCE: Final = 1
"""Connections accepted in a turn of the reactor: in the long turns of a busy one, others come in between.

With 8, in one of four tries, the first worker to wake took all the 64 connections of a load generator. The other worker
waited for a core meanwhile.
"""


SCARCE: Final = frozenset({"EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"})
"""Errors of accept(2) for want of a descriptor or of memory."""

SILENCE: Final = 60.0
"""Seconds without such an error after which the next one is logged again."""

REST: Final = 0.1
"""Seconds for which a port accepts nothing when it cannot."""

log = Logger()


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
            from latebin.overrides.haproxy import ProxyProtocolReactor  # noqa: PLC0415  # for such an endpoint alone

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

    def watch(self, port: tcp.Port, clock: IReactorTime, failed: Callable[[], object]) -> None:
        """Count the connections that a port fails to accept, and log the first."""
        AcceptWatch(port, clock, failed)


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


@implementer(ILogObserver)
class AcceptWatch:
    """The observer of the connections that a port fails to accept.

    Each failure is counted, and the first of many is logged. Twisted logs every one, at a level that is not written.
    It closes a connection for which no descriptor is left (EMFILE). If it cannot, the connection waits, and the reactor
    calls the port again at once; so the port rests for a while.

    Args:
        port: what is observed.
        clock: what the pauses are measured by.
        failed: called for each connection.
    """

    def __init__(self, port: tcp.Port, clock: IReactorTime, failed: Callable[[], object]) -> None:
        self._port = port
        self._clock = clock
        self._failed = failed
        self._silent_until = -inf
        # The class has a logger for its accept(2), which an attribute of the port hides.
        port._logger = Logger(__name__, observer=self)  # noqa: SLF001

    def __call__(self, event: LogEvent) -> None:
        """Take an event of `twisted.internet.tcp._accept`."""
        error = event.get("acceptError", "EMFILE" if "address" in event else None)
        if error not in SCARCE:
            return
        self._failed()
        now = self._clock.seconds()
        if now >= self._silent_until:
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            log.error(
                "cannot accept connections: {error}, {reason}; this process may open {limit} descriptors",
                error=error,
                reason=os.strerror(getattr(errno, error)),
                limit=limit,
            )
        self._silent_until = now + SILENCE
        if "acceptError" in event:
            self._port.stopReading()
            self._clock.callLater(REST, self._resume)

    def _resume(self) -> None:
        if self._port.connected and not self._port.disconnecting:
            self._port.startReading()


def _listening(port: tcp.Port) -> IListeningPort:
    port.startListening()
    return cast("IListeningPort", port)

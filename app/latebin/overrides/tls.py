"""TLS that closes its connection after its alert, and survives exceptions of its protocol.

Overrides `twisted.protocols.tls.BufferingTLSTransport` of Twisted 26.10. Twisted's own sends close_notify and then
waits for the peer's, without a bound. RFC 8446, section 6.1, asks for no such answer, and RFC 9112, section 9.8, lets a
server close once its alert is sent.
"""

from typing import Any, Final, cast

import attrs
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IOpenSSLContextFactory, IProtocolFactory
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from latebin.answers.failures import report
from latebin.overrides.channel_output import unsent
from latebin.overrides.tls_share import SharingTLSTransport

LINGER: Final = 2.0
"""Seconds from FIN to the end of a connection whose peer closes nothing; and between two looks at a slow reader."""

PATIENCE: Final = 30
"""Looks in a row at which a slow reader has taken nothing, until its connection is aborted: a minute."""

SMALL: Final = 16 * 1024
"""Bytes that the kernel takes at once."""


class ClosingTLSTransport(SharingTLSTransport):
    """A TLS connection that sends FIN behind its close_notify, and ends soon after that.

    The peer may send on for LINGER, and its bytes are dropped. A connection that is closed at once would be reset by
    late bytes. The reset would take back bytes that the peer has not read (RFC 9112, section 9.6). A peer that is still
    reading is waited for while it takes anything.
    """

    log = Logger()

    half_closable = True
    """Whether the sending half can be closed alone; `LimitedChannel` asks."""

    # TCP, or what has all of its methods.
    transport: Any

    _lingering: IDelayedCall | None = None
    _half_closed = _over = False
    _unsent = 0
    _stalls = 0

    def loseWriteConnection(self) -> None:
        """Close the sending half, by close_notify and FIN; what comes is still passed on."""
        if not self.connected or self.disconnecting or self._half_closed:
            return
        self._aggregator.flush()
        self._half_closed = True
        super()._shutdownTLS()
        self.transport.loseWriteConnection()

    def _shutdownTLS(self) -> None:
        if self._tlsConnection is None:
            # A producer may be unregistered when the connection is gone.
            return
        super()._shutdownTLS()
        if self._aborted or self._lostTLSConnection or self._lingering is not None or self.transport.disconnecting:
            return
        if self._half_closed:
            self.transport.loseConnection()
            return
        # From here on, what is received is read and dropped.
        self._aborted = True
        self.transport.loseWriteConnection()
        self.transport.resumeProducing()
        self._unsent = unsent(self.transport)
        self._linger()

    def _flushSendBIO(self) -> None:
        # A connection whose sending half is closed is lost as soon as the peer closes, in the middle of its reading.
        if self._tlsConnection is not None:
            super()._flushSendBIO()

    def _linger(self) -> None:
        self._lingering = self.factory._clock.callLater(LINGER, self._lingered)  # noqa: SLF001  # its one clock

    def _lingered(self) -> None:
        before, self._unsent = self._unsent, unsent(self.transport)
        self._stalls = 0 if self._unsent < before else self._stalls + 1
        if not self._unsent and before <= SMALL:
            self.transport.loseConnection()
        elif self._stalls < PATIENCE:
            self._linger()
        else:
            self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """Pass on what comes; what that raises ends this connection alone."""
        try:
            super().dataReceived(data)
        except Exception:  # noqa: BLE001  # a byte can cause any; the reactor would leave the connection open
            report(self.log, Failure(), self.getPeer())
            self._lostTLSConnection = True
            self.transport.abortConnection()

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        # At the end, the transport's own reason shows whether FIN or RST has come; TLS has CONNECTION_LOST for both.
        super()._tlsShutdownFinished(None if self._over else reason)
        if reason is not None:
            # Its traceback has the frame that has the failure: the two would be a cycle.
            reason.cleanFailure()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Pass on that the connection is lost, also if its last bytes raise."""
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()
        # The bound method in it knows this object: the two would be a cycle, as this object and its producer are.
        self._lingering = self._producer = None
        self._over = True
        if not self._lostTLSConnection:
            try:
                self._tlsConnection.bio_shutdown()
                self._flushReceiveBIO()
            except Exception:  # noqa: BLE001  # as above
                report(self.log, Failure(), self.getPeer())
            self._lostTLSConnection = True
        super().connectionLost(reason)


class ClosingTLSFactory(TLSMemoryBIOFactory):
    """Makes the connections of a server that speaks TLS."""

    protocol = ClosingTLSTransport


@attrs.frozen
class TLSReactor:
    """The part of a reactor that an endpoint of TLS listens with.

    Attributes:
        reactor: listens for TCP.
    """

    reactor: Any

    def listenSSL(
        self,
        port: int,
        factory: IProtocolFactory,
        contextFactory: IOpenSSLContextFactory,
        backlog: int = 50,
        interface: str = "",
    ) -> IListeningPort:
        """Accept connections of TLS over TCP."""
        secured = ClosingTLSFactory(contextFactory, isClient=False, wrappedFactory=factory)
        return cast("IListeningPort", self.reactor.listenTCP(port, secured, backlog=backlog, interface=interface))

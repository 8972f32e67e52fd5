"""TLS whose decryption has a share of each turn of the reactor.

Overrides `twisted.protocols.tls.BufferingTLSTransport` of Twisted 26.10. Twisted's own decrypts all that one read gives
in one turn: thousands of records if each has a byte.
"""

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import BufferingTLSTransport

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from latebin.timing.budget import TurnBudget

SLICE: Final = 4 * 1024
"""Bytes that are decrypted at once: they may be 180 records of one byte."""


class SharingTLSTransport(BufferingTLSTransport):
    """A TLS connection that decrypts what its client sends slice by slice.

    The first slice of a read is decrypted at once. Each further slice needs room in the budget of the turn; without
    room, the connection is not read until its next turn. A step of the handshake always needs room, as it takes a
    millisecond: many clients that connect at once wait for each other, and make no other client late.
    """

    transport: Any

    _encrypted: bytearray | None = None
    _queued = _stopped = _busy = False

    def dataReceived(self, data: bytes) -> None:
        """Decrypt a slice now, and the others later; without data, go on."""
        if self._encrypted is None:
            if len(data) <= SLICE and (self._handshakeDone or self._has_room()):
                super().dataReceived(data)
                return
            self._encrypted = bytearray()
        self._encrypted += data
        if data and not self._handshakeDone:
            self._wait()
        else:
            self._decrypt(most=None if data else 1)

    def step(self) -> None:
        """Decrypt one slice, in a turn that has room for it."""
        self._queued = False
        self.dataReceived(b"")

    def pauseProducing(self) -> None:
        self._stopped = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._stopped = False
        if self._encrypted and not self._queued and not self._busy:
            self._wait()
        if not self._queued:
            self.transport.resumeProducing()

    def connectionLost(self, reason: "Failure" = connectionDone) -> None:
        if self._queued:
            self._budget.leave(self)
        self._encrypted = None
        super().connectionLost(reason)

    @property
    def _budget(self) -> "TurnBudget":
        protocol: Any = self.wrappedProtocol
        return protocol.budget  # type: ignore[no-any-return]  # a protocol of HTTP, which has one

    def _has_room(self) -> bool:
        self._budget.begin()
        return not self._budget.spent()

    def _decrypt(self, most: int | None) -> None:
        taken = 0
        if most is None:
            self._budget.begin()
        self._busy = True
        try:
            while self._encrypted and not self._queued and (self._aborted or not self._stopped):
                if taken and (taken == most or self._budget.spent()):
                    self._wait()
                else:
                    taken += 1
                    super().dataReceived(self._slice(self._encrypted))
        finally:
            self._busy = False
        if not self._encrypted:
            self._encrypted = None
            if not self._stopped:
                self.transport.resumeProducing()

    @staticmethod
    def _slice(encrypted: bytearray) -> bytes:
        taken = bytes(encrypted[:SLICE])
        del encrypted[:SLICE]
        return taken

    def _wait(self) -> None:
        self._queued = True
        self._budget.enter(self)
        self.transport.pauseProducing()

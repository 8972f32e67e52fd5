"""An HTTP/1.1 connection that has a share of each turn of the reactor.

Overrides `twisted.web.http.HTTPChannel` of Twisted 26.10. Twisted's own processes all requests and chunks that one read
gives in one turn of the reactor. Requests behind one that waits are copied anew for each of them.
"""

from typing import TYPE_CHECKING, Any, Final

import attrs
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import Request as HTTPRequest

from latebin.overrides.channel import Channel
from latebin.overrides.ending import fail

if TYPE_CHECKING:
    from latebin.timing.budget import TurnBudget

PIECE: Final = 2 * 1024
"""Bytes of headers that are taken in at once, and of what comes on an idle connection."""

FRAMING: Final = 512
"""Bytes of a chunked body that are taken in at once, except of a longer chunk: these may be 85 chunks of one byte."""

EAGER: Final = 16 * 1024
"""Bytes that are kept behind a pending answer: up to this number, the connection is read to notice a disconnect."""


@attrs.define(eq=False)
class Backlog:
    """Bytes that have come and are not taken in yet.

    Attributes:
        kept: the bytes, except those before them.
        front: the bytes before: the rest of a piece, behind the end of a request.
        queued: whether they wait for a later turn.
        ending: whether the connection is to close after them.
    """

    kept: bytearray = attrs.field(factory=bytearray)
    front: bytes = b""
    queued: bool = False
    ending: bool = False

    def __len__(self) -> int:
        return len(self.front) + len(self.kept)

    def take(self, most: int) -> bytes:
        """Remove the next bytes; those that were given back come alone."""
        if self.front:
            taken, self.front = self.front, b""
            return taken
        taken = bytes(self.kept[:most])
        del self.kept[:most]
        return taken


class SharingChannel(Channel):
    """An HTTP/1.1 connection that takes in what its client sends piece by piece.

    A piece ends with a request, or after some bytes. The first piece of a read is taken in at once. Each further piece
    needs room in the budget of the turn, and so does the first behind an answer. Without room, the connection is not
    read until its next turn. Nothing is taken in behind a pending answer, and as long as the client leaves answers
    unread.
    """

    _backlog: Backlog | None = None

    def dataReceived(self, data: bytes) -> None:
        if self._backlog is None and len(data) <= PIECE:
            # Nearly always a request or less. Behind its end, there may be more.
            super().dataReceived(data)
            if self._backlog is None:
                return
        elif not self._deaf:
            self._waiting().kept += data
        self._go_on(free=1)

    def rawDataReceived(self, data: bytes) -> None:
        if self._handlingRequest:
            self._waiting().front = data
        else:
            super().rawDataReceived(data)

    def _finishRequestBody(self, data: bytes) -> None:
        if data:
            self._waiting().front = data
        self.allContentReceived()

    def requestDone(self, request: HTTPRequest) -> None:
        if self._handlingRequest and self._buffer:
            self._waiting().front = self.clearLineBuffer()
        super().requestDone(request)
        if self._backlog is not None:
            self._resume()

    def _came_early(self) -> bytes:
        backlog = self._backlog
        came = b"" if backlog is None else backlog.front + bytes(backlog.kept)
        self._drop()
        return came

    def release(self) -> None:
        super().release()
        self._resume()

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self._resume()

    def step(self) -> None:
        """Take in one piece, in a turn that has room for it."""
        if self._backlog is not None:
            self._backlog.queued = False
            self._resume(free=1, most=1)

    def end(self) -> None:
        """Close the connection when it is idle, after a request that has come."""
        if self._backlog is not None and not self.requests and not self._lingering:
            self._backlog.ending = True
        else:
            super().end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._drop()
        super().connectionLost(reason)

    @property
    def _budget(self) -> "TurnBudget":
        return self.site.budget

    def _waiting(self) -> Backlog:
        if self._backlog is None:
            self._backlog = Backlog()
        return self._backlog

    def _resume(self, free: int = 0, most: int | None = None) -> None:
        """Go on outside of a read; what that raises ends this connection alone."""
        if self._backlog is None or self._busyReceiving:
            return
        try:
            self._go_on(free, most)
        except Exception:  # noqa: BLE001  # a byte can cause any
            fail(self, Failure())

    def _go_on(self, free: int, most: int | None = None) -> None:
        """Take in pieces while the turn has room, and let the others wait.

        Args:
            free: how many to take in at once. Behind an answer none is, as that may have left in any turn.
            most: how many to take in at most; None for no such limit.
        """
        taken = 0
        if most is None:
            self._budget.begin()
        while self._backlog and self._ready(self._backlog):
            if taken >= free and (taken == most or self._budget.spent()):
                self._backlog.queued = True
                self._budget.enter(self)
            else:
                taken += 1
                super().dataReceived(self._backlog.take(self._piece()))
        self._settle()

    def _ready(self, backlog: Backlog) -> bool:
        waits = self._handlingRequest or self._held or self._waitingForTransport or backlog.queued
        return not (waits or self._over())

    def _over(self) -> bool:
        transport: Any = self.transport  # it declares the least that one has
        return self._deaf or transport is None or bool(transport.disconnecting)

    def _piece(self) -> int:
        """Return the length of the next piece, such as the rest of a body."""
        decoder: Any = self._transferDecoder
        if decoder is None:
            return PIECE
        if self.length is not None:
            return max(PIECE, int(decoder.contentLength))
        return max(FRAMING, int(decoder.left))

    def _settle(self) -> None:
        """Read on as long as little waits, and drop what no longer matters."""
        backlog = self._backlog
        if backlog is None:
            return
        if self._over() or not backlog:
            self._drop()
        if self._over():
            if self._lingering:
                # Unread, a refused client could leave unnoticed, and its descriptor would stay.
                self._networkProducer.resumeProducing()
            return
        if backlog.ending and not backlog and not self.requests:
            super().end()
        elif backlog.queued or len(backlog) > EAGER:
            self._networkProducer.pauseProducing()
        elif not self._held and not self._waitingForTransport:
            self._networkProducer.resumeProducing()

    def _drop(self) -> None:
        if self._backlog is not None:
            self._backlog = None
            self._budget.leave(self)

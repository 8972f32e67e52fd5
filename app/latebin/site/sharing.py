"""Connections of Twisted's own classes, with a share of each turn of the reactor."""

from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from latebin.answers.interfaces import ServedRequest
    from latebin.timing.budget import TurnBudget

PIECE: Final = 512
"""Bytes that are passed on at once: they may be 85 chunks of one byte."""

EAGER: Final = 16 * 1024
"""Bytes that are kept behind a pending answer: up to this number, the connection is read to notice a disconnect."""

_END: Final = b"\r\n\r\n"

_PREFACE: Final = 24
"""Bytes before the first frame of HTTP/2 (RFC 9113, section 3.4)."""

_HEADER: Final = 9
"""Bytes of a frame's header (RFC 9113, section 4.1)."""

BLOCK: Final = 16 * 1024
"""Bytes of a compressed header block of HTTP/2. The library decompresses a megabyte in one go, for seconds."""

_HEADERS, _CONTINUATION = 1, 9
"""The types of the frames that a header block comes in."""


class SharingWrapper(ProtocolWrapper):
    """A protocol that gets piece by piece what its client sends, seen from outside.

    Over HTTP/1.1, a piece has one end of headers at most, and nothing is passed on behind a pending answer. Over
    HTTP/2, it has one frame at most. The first piece of a read is passed on at once. Each further piece needs room in
    the budget of the turn; without room, the connection is not read until its next turn.
    """

    budget: "TurnBudget"

    _kept: bytearray | None = None
    _left = _PREFACE
    _block = 0
    _queued = _feeding = _stopped = _last = False

    @property
    def requests(self) -> "list[ServedRequest]":
        """The requests that were received as a whole, and whose answers are not."""
        raise NotImplementedError

    def refuse_block(self) -> None:
        """End the connection for a header block that is too large."""
        raise NotImplementedError

    def pass_on(self, data: bytes) -> None:
        """Hand a piece to the protocol."""
        super().dataReceived(data)

    def dataReceived(self, data: bytes) -> None:
        """Pass on a piece now, and the others as the turns have room."""
        if self._kept is None and self._is_piece(data):
            self.pass_on(data)
            return
        if self._kept is None:
            self._kept = bytearray()
        self._kept += data
        self._go_on()

    def step(self) -> None:
        """Pass on one piece, in a turn that has room for it."""
        self._queued = False
        self._go_on(most=1)

    def pauseProducing(self) -> None:
        self._stopped = True
        self._tcp.pauseProducing()

    def resumeProducing(self) -> None:
        self._stopped = False
        self.go_on_later()
        if not self._queued:
            self._tcp.resumeProducing()

    def connectionLost(self, reason: "Failure" = connectionDone) -> None:
        self._drop()
        super().connectionLost(reason)

    def go_on_later(self) -> None:
        """Pass on in a later turn what may be passed on by now."""
        if self._kept and not self._feeding and self._ready():
            self._queue()

    def end_behind(self) -> bool:
        """Return whether bytes are left to be passed on; the connection closes behind them."""
        self._last = bool(self._kept)
        return self._last

    @property
    def _tcp(self) -> Any:  # noqa: ANN401  # a transport, which declares less than each has
        return self.transport

    @property
    def _multiplexed(self) -> bool:
        return getattr(self.transport, "negotiatedProtocol", None) == b"h2"

    def _is_piece(self, data: bytes) -> bool:
        """Return whether bytes can be passed on as they are: nearly all can."""
        alone = len(data) <= PIECE and data.find(_END, 0, -1) < 0
        return alone and not self._multiplexed and not self.requests

    def _go_on(self, most: int | None = None) -> None:
        taken = 0
        if most is None:
            self.budget.begin()
        self._feeding = True
        try:
            while self._ready() and (size := self._size()):
                if taken and (taken == most or self.budget.spent()):
                    self._queue()
                else:
                    taken += 1
                    self.pass_on(self._take(size))
        finally:
            self._feeding = False
        self._settle()

    def _queue(self) -> None:
        self._queued = True
        self.budget.enter(self)

    def _ready(self) -> bool:
        if not self._kept or self._queued or self._stopped or self._over():
            return False
        return self._multiplexed or not self.requests

    def _over(self) -> bool:
        return self.transport is None or bool(self._tcp.disconnecting)

    def _size(self) -> int:
        """Return the length of the next piece; 0 for a part of a frame's header."""
        kept = cast("bytearray", self._kept)
        if not self._multiplexed:
            end = kept.find(_END, 0, PIECE)
            return min(len(kept), PIECE) if end < 0 else end + len(_END)
        if not self._left and len(kept) >= _HEADER:
            self._begin_frame(int.from_bytes(kept[:3], "big"), kept[3])
        return min(len(kept), self._left)

    def _begin_frame(self, length: int, kind: int) -> None:
        self._left = _HEADER + length
        if kind == _HEADERS:
            self._block = length
        elif kind == _CONTINUATION:
            self._block += length
        if kind in {_HEADERS, _CONTINUATION} and self._block > BLOCK:
            self._left = 0
            self.refuse_block()

    def _take(self, size: int) -> bytes:
        kept = cast("bytearray", self._kept)
        taken = bytes(kept[:size])
        del kept[:size]
        if self._multiplexed:
            self._left -= size
        return taken

    def _settle(self) -> None:
        """Read on as long as little waits, and drop what no longer matters."""
        if self._over():
            self._drop()
            return
        if self._last and not self._kept and not self.requests:
            self.loseConnection()
        elif self._queued or len(self._kept or b"") > EAGER:
            self._tcp.pauseProducing()
        elif not self._stopped:
            self._tcp.resumeProducing()
        self._kept = self._kept or None

    def _drop(self) -> None:
        self._kept = None
        self.budget.leave(self)

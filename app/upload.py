"""A request body on its way through: taken as it comes, and no faster than it is passed on."""

from io import BytesIO
from typing import TYPE_CHECKING, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW: Final = 64 * 1024
"""Bytes that are taken before anybody wants them, as many as one read gives. Up to here the connection is read, and so
a client that leaves is noticed."""


class Source(Protocol):
    """Where a body comes from: a connection that can be left unread for a while."""

    def hold(self) -> None: ...
    def release(self) -> None: ...


@implementer(IBodyProducer)
class Upload:
    """A body as a file that the request's connection writes to, and as a producer that another connection reads from.

    Args:
        length: bytes, as announced; None for a chunked body, which announces nothing.
        source: what is held while nobody takes the bytes.

    Attributes:
        length: as `IBodyProducer` has it.
        moved: what is called, if anything is, whenever bytes were passed on, and at the end.
    """

    def __init__(self, length: int | None, source: Source) -> None:
        self.length = UNKNOWN_LENGTH if length is None else length
        self.moved: Callable[[], object] | None = None
        self._source: Source | None = source
        self._produced: Deferred[None] = Deferred(lambda _: self.close())
        self._consumer: IConsumer | None = None
        self._kept: list[bytes] = []
        self._paused = self._whole = self._held = False

    @property
    def starved(self) -> bool:
        """Whether it is the client who is waited for: all that it sent was passed on, and more is to come."""
        return not (self._whole or self._paused or self._kept)

    def write(self, data: bytes) -> int:
        """Take bytes from the client; hold it when they are more than a window."""
        if self._source is not None:
            self._kept.append(data)
            self._pass_on()
            self._balance()
        return len(data)

    def complete(self) -> None:
        """Take note that the body is whole."""
        self._whole = True
        self._pass_on()

    def close(self) -> None:
        """Drop what still comes, as the request is over or is answered without; whoever was to have it is told."""
        consumer = self._consumer
        self.stopProducing()
        if consumer is not None:
            self._produced.errback(CancelledError())

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0

    def tell(self) -> int:
        return 0

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Pass the body on; what is returned fires when all of it was."""
        self._consumer = consumer
        self.resumeProducing()
        return self._produced

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._pass_on()
        self._balance()

    def stopProducing(self) -> None:
        """Pass nothing on any more, and drop what still comes."""
        self._kept.clear()
        self._balance()
        self._source = self._consumer = None

    def _pass_on(self) -> None:
        if self._consumer is None or self._paused:
            return
        data = b"".join(self._kept)
        self._kept.clear()
        if data:  # an empty chunk would end a chunked body
            self._consumer.write(data)
        if self.moved is not None:
            self.moved()
        # The write may have made the consumer ask for no more.
        if self._whole and self._consumer is not None:
            self._consumer = None
            self._produced.callback(None)

    def _balance(self) -> None:
        full = sum(map(len, self._kept)) >= WINDOW
        if self._source is not None and full != self._held:
            self._held = full
            (self._source.hold if full else self._source.release)()


class KeptBody(BytesIO):
    """Where bodies go that are answered with: kept in memory, but for what is beyond a limit.

    Args:
        limit: bytes; one more is kept, which tells that the body is longer.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._most = limit + 1

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # Twisted writes nothing but bytes
        return super().write(data[: self._most - self.tell()])


class DroppedBody:
    """Where the other bodies go: read off the connection, as HTTP wants it, counted, and kept nowhere."""

    def __init__(self) -> None:
        self._size = 0

    def write(self, data: bytes) -> int:
        self._size += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0

    def tell(self) -> int:
        return self._size

    def read(self, size: int = -1) -> bytes:
        return b""

    def close(self) -> None: ...

"""The sinks of a request body: passed on as it comes, dropped, or kept."""

from io import BytesIO
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from latebin.answers.interfaces import BodySource

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO


WINDOW: Final = 64 * 1024
"""Bytes that are kept before a consumer takes them, as many as one read gives.

Up to this number the connection is read, so that a disconnect is noticed.
"""


@implementer(IBodyProducer)
class StreamedBody:
    """A body as a file that the client's connection writes, and a producer for another.

    Args:
        length: bytes, as announced; None for a chunked body, which announces nothing.
        source: the client's connection, which is held while no consumer takes the bytes.
        most: bytes that the body may have.

    Attributes:
        announced: the length.
        length: the same, as `IBodyProducer` has it.
        moved: a function that is called whenever bytes were passed on, and at the end; None for no call.
    """

    def __init__(self, length: int | None, source: BodySource, most: int) -> None:
        self.announced = length
        self.length = UNKNOWN_LENGTH if length is None else length
        self.moved: Callable[[], object] | None = None
        self._source: BodySource | None = source
        self._produced: Deferred[None] = Deferred(lambda _: self.close())
        self._consumer: IConsumer | None = None
        self._kept: list[bytes] = []
        self._size = 0
        self._room = most
        self._paused = self._whole = self._held = False

    @property
    def starved(self) -> bool:
        """Whether the client is waited for: all bytes so far were passed on."""
        return not (self._whole or self._paused or self._kept)

    @property
    def full(self) -> bool:
        """Whether the body is over the limit."""
        return self._room < 0

    def write(self, data: bytes) -> int:
        """Take bytes from the client; hold the connection at a window of them."""
        self._room -= len(data)
        if self._source is not None and not self.full:
            self._kept.append(data)
            self._size += len(data)
            self._pass_on()
            self._balance()
        return len(data)

    def complete(self) -> None:
        """Take note that the body is whole."""
        self._whole = True
        self._pass_on()

    def close(self) -> None:
        """Drop the rest of the body, and cancel the Deferred of a consumer.

        The request is over, or is answered without the body.
        """
        consumer = self._consumer
        self.stopProducing()
        if consumer is not None:
            self._produced.errback(CancelledError())

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0

    def tell(self) -> int:
        return 0

    def read(self, size: int = -1, /) -> bytes:
        """Return no bytes: the body is for a consumer, and not for a reader."""
        return b""

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Pass the body on; the Deferred fires when all of it was."""
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
        """Stop passing the body on, and drop the rest."""
        self._forget()
        self._balance()
        # The function may refer to an object that has this one: the two would be a cycle.
        self._source = self._consumer = self.moved = None

    def _pass_on(self) -> None:
        if self._consumer is None or self._paused:
            return
        data = b"".join(self._kept)
        self._forget()
        if data:  # an empty chunk would end a chunked body
            self._consumer.write(data)
        if self.moved is not None:
            self.moved()
        # The write may have made the consumer stop the producer.
        if self._whole and self._consumer is not None:
            self._consumer = self.moved = None
            self._produced.callback(None)

    def _forget(self) -> None:
        self._kept.clear()
        self._size = 0

    def _balance(self) -> None:
        # Not by a look at each piece: a client may send a window in pieces of one byte.
        full = self._size >= WINDOW
        if self._source is not None and full != self._held:
            self._held = full
            (self._source.hold if full else self._source.release)()


class DroppedBody:
    """The sink of most bodies: it reads and counts them, and keeps nothing.

    Args:
        most: bytes that a body may have.
        announced: bytes that it will have, if that is known.
    """

    def __init__(self, most: int, announced: int | None = None) -> None:
        self.announced = announced
        self._most = most
        self._size = 0

    @property
    def full(self) -> bool:
        """Whether the body is over the limit, by its announcement or its bytes."""
        return max(self.announced or 0, self._size) > self._most

    def write(self, data: bytes, /) -> int:
        self._size += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0

    def tell(self) -> int:
        return self._size

    def read(self, size: int = -1, /) -> bytes:
        return b""

    def close(self) -> None:
        """Do nothing: no bytes were kept."""


class NoBody(BytesIO):
    """The file of a request without a body, as nearly all are.

    Attributes:
        announced: bytes that it has.
        full: whether it is over the limit.
    """

    __slots__ = ()
    announced = 0
    full = False


class KeptBody(DroppedBody):
    """The sink of a body that the answer needs: in memory, up to a limit.

    Args:
        most: bytes that a body may have.
        announced: bytes that it will have, if that is known.
        limit: bytes that are kept, and one more, which shows that the body is longer.
        file: the file that keeps the bytes; None for one in memory.
    """

    def __init__(self, most: int, announced: int | None, limit: int, file: "IO[bytes] | None" = None) -> None:
        super().__init__(most, announced)
        self._kept = file or BytesIO()
        self._room = limit + 1

    def write(self, data: bytes, /) -> int:
        super().write(data)
        return self._kept.write(data[: self._room - self._kept.tell()])

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._kept.seek(offset, whence)

    def tell(self) -> int:
        return self._kept.tell()

    def read(self, size: int = -1, /) -> bytes:
        return self._kept.read(size)

    def close(self) -> None:
        """Drop the bytes that were kept."""
        self._kept.close()

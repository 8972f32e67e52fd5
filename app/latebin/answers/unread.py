"""The bytes of answers that wait in memory for clients that do not read them."""

from collections.abc import Callable
from typing import Final, Protocol

import attrs

MUCH: Final = 4 * 1024**2
"""Bytes of answers whose memory is worth to be returned to the system."""


class Reader(Protocol):
    """A connection whose client is to read answers."""

    def stop_waiting(self) -> None:
        """Abort the connection: its answers are not waited for any longer."""
        ...


@attrs.define(eq=False)
class UnreadAnswers:
    """The connections whose clients leave answers unread, up to a number of bytes.

    Above that number, the connection is aborted that has waited longest since its client last made room. So a client
    that reads slowly is safe from clients that do not read at all.

    Attributes:
        most: the limit, in bytes.
        aborted: a function that is called for each connection that is aborted.
        total: bytes that wait now.
    """

    most: int
    aborted: Callable[[], object]
    total: int = attrs.field(default=0, init=False)
    _peak: int = attrs.field(default=0, init=False)
    _waiting: dict[Reader, int] = attrs.field(factory=dict, init=False)

    def enter(self, reader: Reader, size: int) -> None:
        """Note the bytes that wait for a client, which keeps the place it has."""
        self.total += size - self._waiting.get(reader, 0)
        self._waiting[reader] = size
        self._peak = max(self._peak, self.total)
        while self.total > self.most:
            longest = next(iter(self._waiting))
            self.leave(longest)
            self.aborted()
            longest.stop_waiting()

    def freed(self) -> bool:
        """Return whether much memory was freed since the last call that said so."""
        if self._peak < MUCH or self.total > self._peak // 2:
            return False
        self._peak = self.total
        return True

    def leave(self, reader: Reader) -> None:
        """Note that nothing waits for a client any more, or that it has made room."""
        self.total -= self._waiting.pop(reader, 0)

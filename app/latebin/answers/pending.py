"""Who is waiting: every answer that was accepted and not yet given, whatever Deferred it waits for."""

from collections.abc import Iterator
from itertools import count
from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred

T = TypeVar("T")


@attrs.define(eq=False)
class Room:
    """How much may be pending at once, in all styles together.

    Attributes:
        most: how many answers; None for as many as come.
        taken: how many are pending.
    """

    most: int | None = None
    taken: int = attrs.field(default=0, init=False)

    def share(self) -> "Pending":
        """Give a style its part of the room, which may be all of it."""
        return Pending(self)

    @property
    def full(self) -> bool:
        """Whether nothing more can be accepted."""
        return self.most is not None and self.taken >= self.most


@attrs.define(eq=False)
class Pending:
    """The answers of one style that are waited for: when each is due, under a number of its own.

    Attributes:
        room: what they take their part of.
    """

    room: Room
    _waiting: dict[int, float] = attrs.field(factory=dict, init=False)
    _numbers: Iterator[int] = attrs.field(factory=count, init=False)

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, deferred: Deferred[T], due: float) -> Deferred[T]:
        """Count a Deferred as pending until it has fired, failed or been cancelled.

        Args:
            deferred: what an answer waits for. Its result passes through unchanged.
            due: when it is expected, in seconds of the service's clock.

        Returns:
            The same Deferred.
        """
        number = next(self._numbers)
        self._waiting[number] = due
        self.room.taken += 1
        return deferred.addBoth(self._leave, number)

    def due_by(self, moment: float) -> bool:
        """Tell whether an answer is due by a moment, in seconds of the service's clock.

        Who has waited longest is asked first, so that with one delay for all the first knows. To look at all of them
        takes milliseconds when there are thousands, but only where none of them is late by that.
        """
        return any(due <= moment for due in self._waiting.values())

    def _leave(self, result: T, number: int) -> T:
        del self._waiting[number]
        self.room.taken -= 1
        return result

"""Results that are made piece by piece, in turns of the reactor that have room."""

from collections import deque
from collections.abc import Callable, Generator
from typing import Generic, TypeVar, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from latebin.timing.budget import TurnBudget

T = TypeVar("T")


def complete(steps: Generator[None, None, T]) -> T:
    """Make a result in one go.

    Args:
        steps: makes the result, and yields after each piece of the work.
    """
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # of the type that the generator returns


@attrs.define(eq=False)
class SharedResult(Generic[T]):
    """A result that is made once for all that ask at about the same time.

    While a result is made, those that ask wait for the next one: no result is older than the question. So any number of
    clients has one made at a time. A result that nothing waits for any more is given up.

    Attributes:
        budget: the budget of each turn. The first piece is made at once.
        make: begins the result, and yields after each piece of the work.
    """

    budget: TurnBudget
    make: Callable[[], Generator[None, None, T]]
    _steps: Generator[None, None, T] | None = attrs.field(default=None, init=False)
    _result: T | Failure | None = attrs.field(default=None, init=False)
    _served: deque[Deferred[T]] = attrs.field(factory=deque, init=False)
    _waiting: deque[Deferred[T]] = attrs.field(factory=deque, init=False)

    def get(self) -> Deferred[T]:
        """Return a Deferred of the result, or of the exception; cancel it to give up."""
        asked: Deferred[T] = Deferred(self._forget)
        idle = not self._more
        self._waiting.append(asked)
        if idle:
            self._begin()
        return asked

    def step(self) -> None:
        """Make one piece, or hand the result to one that has asked."""
        self._advance()
        if self._more:
            self.budget.enter(self)

    def _forget(self, asked: Deferred[T]) -> None:
        for line in (self._served, self._waiting):
            if asked in line:
                line.remove(asked)
        if not self._served:
            self._steps = self._result = None
        if not self._more:
            self.budget.leave(self)

    @property
    def _more(self) -> bool:
        return bool(self._steps or self._served or self._waiting)

    def _begin(self) -> None:
        """Do what this turn has room for, all of it in nearly every case."""
        self.budget.begin()
        self._advance()
        while self._more:
            if self.budget.spent():
                self.budget.enter(self)
                return
            self._advance()

    def _advance(self) -> None:
        if self._steps is not None:
            self._make()
        elif self._served:
            asked, result = self._served.popleft(), self._result
            if not self._served:
                self._result = None
            asked.callback(cast("T | Failure", result))
        elif self._waiting:
            self._served, self._waiting = self._waiting, deque()
            self._steps = self.make()
            self._make()

    def _make(self) -> None:
        try:
            next(cast("Generator[None, None, T]", self._steps))
        except StopIteration as end:
            self._result, self._steps = end.value, None
        except Exception:  # noqa: BLE001  # it is for all that have asked
            self._result, self._steps = Failure(), None

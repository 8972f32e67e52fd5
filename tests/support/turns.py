"""The turns of a reactor, one at a time, and the calls in each."""

import sys
from collections.abc import Callable, Generator
from types import FrameType
from typing import TypeVar

from twisted.internet.task import Clock

T = TypeVar("T")


class TurnClock(Clock):
    """A clock whose turns are made one by one.

    Calls that a call asks for wait for the next turn.
    """

    def turn(self) -> None:
        """Make the calls that are due now."""
        for call in [call for call in self.calls if call.getTime() <= self.seconds()]:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)

    def turns(self, look: Callable[[], object] = lambda: None, most: int = 10_000) -> int:
        """Make turns until nothing is due; look after each, and return how many there were."""
        for number in range(most):
            if not any(call.getTime() <= self.seconds() for call in self.calls):
                return number
            self.turn()
            look()
        raise AssertionError(f"after {most} turns, something is still due")


def pieces(steps: Generator[None, None, T]) -> tuple[list[int], T]:
    """Return the number of calls of each piece of work, and its result."""
    counted: list[int] = []
    result: list[T] = []

    def advance() -> None:
        try:
            next(steps)
        except StopIteration as end:
            result.append(end.value)

    while not result:
        counted.append(calls(advance))
    return counted, result[0]


def calls(work: Callable[[], object]) -> int:
    """Return the number of calls that work makes, of Python and of C."""
    counted = 0

    def count(_frame: FrameType, event: str, _: object) -> None:
        nonlocal counted
        counted += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return counted

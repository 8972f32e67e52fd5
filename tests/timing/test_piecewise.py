from collections.abc import Generator
from itertools import pairwise

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from latebin.timing.budget import PIECES, TurnBudget
from latebin.timing.piecewise import SharedResult, complete
from tests.support.turns import TurnClock


class Maker:
    """Numbered results of so many pieces."""

    def __init__(self, pieces: int) -> None:
        self.pieces, self.begun, self.made = pieces, 0, 0
        self.clock = TurnClock()
        self.shared = SharedResult(TurnBudget(self.clock), self.make)

    def make(self) -> Generator[None, None, int]:
        self.begun += 1
        for _ in range(self.pieces - 1):
            self.made += 1
            yield
        self.made += 1
        return self.begun

    def ask(self, results: list[int]) -> Deferred[None]:
        return self.shared.get().addCallback(results.append)


def test_complete() -> None:
    """The result is returned when all pieces are made in one go."""
    assert complete(Maker(9).make()) == 1


def test_small() -> None:
    """A small result is there at once, and made anew for each question."""
    maker, results = Maker(3), list[int]()
    for _ in range(4):
        maker.ask(results)
    assert results == [1, 2, 3, 4]
    assert maker.clock.getDelayedCalls() == []


def test_shared() -> None:
    """Those that ask while a result is made share the next one."""
    maker, results = Maker(3 * PIECES), list[int]()
    for _ in range(50):
        maker.ask(results)
    made, given = [maker.made], [0]

    def look() -> None:
        made.append(maker.made)
        given.append(len(results))

    maker.clock.turns(look)
    assert results == [1, *[2] * 49]
    for counted in (made, given):
        assert max(after - before for before, after in pairwise(counted)) <= PIECES + 1


def test_cancelled() -> None:
    """A question that is cancelled keeps no result from the others."""
    maker, results = Maker(2 * PIECES), list[int]()
    first, second = maker.ask(results), maker.ask(results)
    maker.ask(results)
    for each in (first, second):
        each.cancel()
        each.addErrback(lambda failure: failure.trap(CancelledError))
    maker.clock.turns()
    assert results == [2]


def test_given_up() -> None:
    """Nothing more is made when all that have asked give up."""
    maker, results = Maker(5 * PIECES), list[int]()
    asked = maker.ask(results)
    made = maker.made
    asked.cancel()
    asked.addErrback(lambda failure: failure.trap(CancelledError))
    assert maker.clock.turns() == 0
    assert maker.made == made
    maker.ask(results)
    maker.clock.turns()
    assert results == [2]


def test_asked_from_within() -> None:
    """A question that an answer causes is answered as well."""
    maker, results = Maker(PIECES), list[int]()
    maker.shared.get().addCallback(lambda _: maker.ask(results))
    maker.clock.turns()
    assert results == [2]


def test_failure() -> None:
    """An exception is the result of all that have asked."""
    clock, failures = TurnClock(), list[Failure]()
    shared = SharedResult(TurnBudget(clock), fail)
    for _ in range(3):
        shared.get().addErrback(failures.append)
    clock.turns()
    assert [failure.type for failure in failures] == [ZeroDivisionError] * 3


def fail() -> Generator[None, None, int]:
    yield
    raise ZeroDivisionError


@pytest.mark.parametrize("pieces", [1, PIECES, 5 * PIECES])
def test_nothing_is_kept(pieces: int) -> None:
    """No result is kept when all have it."""
    maker, results = Maker(pieces), list[int]()
    maker.ask(results)
    maker.clock.turns()
    assert results == [1]
    assert maker.shared._result is None

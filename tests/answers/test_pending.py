"""The registry of pending answers, and the one delayed call of each."""

from typing import Any

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock, deferLater
from zope.interface.verify import verifyObject

from latebin.answers.pending import Capacity, PendingAnswer, PendingAnswers
from latebin.core.http.reply import STOPPING
from latebin.core.plan import Plan


@attrs.frozen
class Waiting:
    """Answers of one style, on a clock that the test moves."""

    clock: Clock = attrs.field(factory=Clock)
    pending: PendingAnswers = attrs.field(factory=lambda: PendingAnswers(Capacity()))

    def accept(self, wait: float) -> PendingAnswer:
        return PendingAnswer(Plan(wait), self.clock, self.pending, self.clock.seconds())

    def wait(self, seconds: float) -> tuple[PendingAnswer, Deferred[str], list[Any]]:
        """Accept an answer and wait for it as the styles do."""
        answer, results = self.accept(seconds), list[Any]()
        d = deferLater(answer, answer.wait, lambda: "late")
        d.addBoth(results.append)
        return answer, d, results


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


def test_interfaces(waiting: Waiting) -> None:
    """An answer is a clock and a delayed call when it is asked as either."""
    answer, _, _ = waiting.wait(5)
    assert verifyObject(IReactorTime, answer)
    assert verifyObject(IDelayedCall, answer)


def test_fires(waiting: Waiting) -> None:
    """An answer is pending until it is due when nothing else happens."""
    answer, _, results = waiting.wait(5)
    waiting.clock.advance(4.75)
    assert (len(waiting.pending), results, answer.active(), answer.getTime()) == (1, [], True, 5)
    waiting.clock.advance(0.25)
    assert (len(waiting.pending), results, answer.active()) == (0, ["late"], False)


def test_cancelled(waiting: Waiting) -> None:
    """An answer leaves the registry and the clock when its Deferred is cancelled."""
    _, d, results = waiting.wait(5)
    d.cancel()
    assert (len(waiting.pending), results[0].type) == (0, CancelledError)
    assert waiting.clock.getDelayedCalls() == []


def test_release(waiting: Waiting) -> None:
    """An answer goes at once, as planned, when it is released by its id."""
    first, _, results = waiting.wait(5)
    _, _, others = waiting.wait(5)
    waiting.pending.release(1)
    assert (results, others, len(waiting.pending), first.refusal) == (["late"], [], 1, None)
    with pytest.raises(KeyError):
        waiting.pending.release(1)
    waiting.clock.advance(5)
    assert (results, others, waiting.clock.getDelayedCalls()) == (["late"], ["late"], [])


def test_end(waiting: Waiting) -> None:
    """An answer goes at once, as a problem, when it is ended by its id."""
    answer, _, results = waiting.wait(5)
    waiting.pending.end(1, STOPPING)
    assert (results, answer.refusal, len(waiting.pending)) == (["late"], STOPPING, 0)
    assert waiting.clock.getDelayedCalls() == []


def test_later_and_earlier(waiting: Waiting) -> None:
    """An answer waits for the new time when its delayed call is delayed or reset."""
    answer, _, results = waiting.wait(5)
    answer.delay(1)
    waiting.clock.advance(5)
    assert results == []
    answer.reset(2)
    waiting.clock.advance(2)
    assert results == ["late"]


@pytest.mark.parametrize(("end", "error"), [("fire", AlreadyCalled), ("cancel", AlreadyCancelled)])
@pytest.mark.parametrize("method", ["cancel", "release", "getTime"])
def test_once(waiting: Waiting, end: str, error: type[Exception], method: str) -> None:
    """An answer refuses each method of a delayed call when it no longer waits."""
    answer, d, results = waiting.wait(5)
    d.addErrback(results.append)
    waiting.clock.advance(5) if end == "fire" else d.cancel()
    with pytest.raises(error):
        getattr(answer, method)()


def test_getDelayedCalls(waiting: Waiting) -> None:
    """An answer is its only delayed call while it waits."""
    answer = waiting.accept(5)
    assert answer.getDelayedCalls() == []
    d = deferLater(answer, answer.wait, lambda: None)
    assert answer.getDelayedCalls() == [answer]
    waiting.clock.advance(5)
    assert (answer.getDelayedCalls(), d.called) == ([], True)


def test_due_by(waiting: Waiting) -> None:
    """The registry reports an answer as due by a moment until it is given."""
    assert not waiting.pending.due_by(3.0)
    waiting.wait(5)
    waiting.wait(3)
    assert (waiting.pending.due_by(2.9), waiting.pending.due_by(3.0)) == (False, True)
    waiting.clock.advance(3)
    assert (waiting.pending.due_by(3.0), waiting.pending.due_by(5.0)) == (False, True)


def test_capacity() -> None:
    """Registries that share a capacity fill it together; an answer that leaves frees a place."""
    capacity = Capacity(2)
    first, second, unlimited = (Waiting(pending=PendingAnswers(each)) for each in (capacity, capacity, Capacity()))
    first.wait(5)
    unlimited.wait(5)
    _, d, _ = second.wait(5)
    assert (capacity.taken, unlimited.pending.capacity.taken) == (2, 1)
    d.cancel()
    assert capacity.taken == 1


def test_due() -> None:
    """An answer is due when its wait is over, counted from its acceptance."""
    assert PendingAnswer(Plan(0.25), Clock(), PendingAnswers(Capacity()), 10.0).due == 10.25


def test_answered() -> None:
    """An answer has a measured time and its plan's fault when it is given."""
    answer = PendingAnswer(Plan(0.25, fault="reset"), Clock(), PendingAnswers(Capacity()), 10.0)
    assert (answer.measured, answer.fault) == (None, None)
    assert answer.answered(10.5) == answer.measured == 0.5
    assert answer.fault == "reset"

"""An answer whose turn comes later, as from the state of another process."""

from typing import Any

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import capturedLogs

from latebin.answers.pending import Capacity, PendingAnswers
from latebin.answers.steered import SteeredAnswer
from latebin.core.http.reply import BROKEN, STOPPING, Refused
from latebin.core.plan import Plan, Prepared
from latebin.core.settings import Settings
from latebin.core.steering import GateWait, Steering
from latebin.state.choice import make_state


@attrs.frozen
class Late:
    """An answer that waits for its turn, on a clock that the test moves."""

    gate: GateWait | None = None
    clock: Clock = attrs.field(factory=Clock)
    pending: PendingAnswers = attrs.field(factory=lambda: PendingAnswers(Capacity()))
    taken: "Deferred[tuple[int, int]]" = attrs.field(factory=Deferred)
    planned: list[int | None] = attrs.field(factory=list)

    def wait(self) -> tuple[SteeredAnswer, Deferred[str], list[Any]]:
        prepared = Prepared(None, lambda turn, _: Plan(float(turn)), None, Steering("a", self.gate))
        state = make_state(Settings(), self.clock)
        answer = SteeredAnswer(Plan(0.0), self.clock, self.pending, 0.0, prepared=prepared, state=state)
        answer.take(self.taken, lambda: self.planned.append(answer.turn))
        results: list[Any] = []
        d = deferLater(answer, answer.wait, lambda: "late")
        d.addBoth(results.append)
        return answer, d, results


@pytest.mark.parametrize("gate", [None, GateWait("g", 1, 60.0)])
def test_turn(gate: GateWait | None) -> None:
    """An answer begins its delay when its turn is there, and not before."""
    late = Late(gate)
    answer, _, results = late.wait()
    late.clock.advance(100)
    assert (answer.waits_for, results, len(late.pending)) == ("turn", [], 1)
    late.taken.callback((3, 3))
    late.clock.advance(0)
    assert late.planned == [3]
    late.clock.advance(2.999)
    assert results == []
    late.clock.advance(0.001)
    assert results == ["late"]
    assert answer.answered(late.clock.seconds()) == pytest.approx(3.0)
    assert late.clock.getDelayedCalls() == []


def test_refused() -> None:
    """An answer is a refusal when its turn is refused."""
    late = Late()
    answer, _, results = late.wait()
    late.taken.errback(Refused(STOPPING))
    assert (answer.refusal, results, len(late.pending), late.planned) == (STOPPING, ["late"], 0, [])


def test_failed() -> None:
    """An answer is a plain 500 with a logged reason when its turn fails."""
    late = Late()
    answer, _, _ = late.wait()
    with capturedLogs() as events:
        late.taken.errback(ZeroDivisionError())
    assert answer.refusal == BROKEN
    assert [event["log_failure"].type for event in events] == [ZeroDivisionError]


def test_left() -> None:
    """A client that leaves gives up its turn."""
    late = Late()
    _, d, results = late.wait()
    d.cancel()
    assert (results[0].type, late.taken.called, late.planned, len(late.pending)) == (CancelledError, True, [], 0)
    assert late.clock.getDelayedCalls() == []

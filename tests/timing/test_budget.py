import attrs
import pytest

from latebin.timing.budget import DEBT, TurnBudget
from tests.support.turns import TurnClock


@attrs.define(eq=False)
class Steps:
    """Work of so many steps, each of which takes some time."""

    budget: TurnBudget
    clock: TurnClock
    left: int
    takes: float = 0.0
    log: list["Steps"] = attrs.field(factory=list)

    def step(self) -> None:
        self.log.append(self)
        self.left -= 1
        self.clock.rightNow += self.takes
        if self.left:
            self.budget.enter(self)


@pytest.fixture
def clock() -> TurnClock:
    return TurnClock()


def test_pieces(clock: TurnClock) -> None:
    """A turn makes a bounded number of steps when the clock stands still."""
    budget = TurnBudget(clock, pieces=4)
    work = Steps(budget, clock, 10)
    budget.enter(work)
    done = []
    clock.turns(lambda: done.append(len(work.log)))
    assert done[:3] == [4, 8, 10]


def test_seconds(clock: TurnClock) -> None:
    """A turn makes no further step when its time is over."""
    budget = TurnBudget(clock, pieces=100, seconds=0.25, turn=1)
    work = Steps(budget, clock, 5, takes=0.125)
    budget.enter(work)
    done = []
    clock.turns(lambda: done.append(len(work.log)))
    assert done == [2, 4, 5]


def test_long_pieces(clock: TurnClock) -> None:
    """Turns without a step follow a step that took longer than there was time for."""
    budget = TurnBudget(clock, seconds=0.25, turn=0.5)
    work = Steps(budget, clock, 3, takes=1)
    budget.enter(work)
    done = []
    clock.turns(lambda: done.append(len(work.log)))
    assert done == [1, 1, 2, 2, 3]


def test_very_long_piece(clock: TurnClock) -> None:
    """The turns without a step are bounded when a step took very long."""
    budget = TurnBudget(clock, seconds=0.25, turn=0.5)
    work = Steps(budget, clock, 2, takes=1000)
    budget.enter(work)
    assert clock.turns() == 1 + DEBT // 2 + 1


def test_busy(clock: TurnClock) -> None:
    """Work has an eighth of the time when all else fills the turns."""
    budget = TurnBudget(clock, seconds=0.25, turn=0.5)
    work = Steps(budget, clock, 100, takes=0.125)
    budget.enter(work)

    def turn(others: float) -> int:
        before = len(work.log)
        clock.rightNow += others
        clock.turn()
        return len(work.log) - before

    assert turn(0.25) == 2
    assert [turn(0.5) for _ in range(8)] == [1, 0, 1, 0, 1, 0, 1, 0]
    assert [turn(1) for _ in range(4)] == [1] * 4
    assert turn(0.25) == 2


def test_busy_outside(clock: TurnClock) -> None:
    """Work that begins in a busy turn has to wait for the next."""
    budget = TurnBudget(clock, seconds=0.25, turn=0.5)
    budget.enter(Steps(budget, clock, 1))
    clock.rightNow += 0.5
    clock.turns()
    clock.advance(1)
    budget.begin()
    assert budget.spent()
    budget.enter(Steps(budget, clock, 1))
    clock.turns()
    clock.advance(1)
    budget.begin()
    assert not budget.spent()


def test_in_turn(clock: TurnClock) -> None:
    """Two works get a step each in turn when both wait."""
    budget = TurnBudget(clock, pieces=4)
    log: list[Steps] = []
    first, second = (Steps(budget, clock, 3, log=log) for _ in range(2))
    budget.enter(first)
    budget.enter(second)
    clock.turns()
    assert log == [first, second] * 3


def test_all_share_a_turn(clock: TurnClock) -> None:
    """The budget of a turn is spent for all when one has spent it."""
    budget = TurnBudget(clock, pieces=3)
    budget.begin()
    assert [budget.spent() for _ in range(4)] == [False, False, False, True]
    budget.enter(Steps(budget, clock, 1))
    clock.turn()
    assert not budget.spent()


def test_later(clock: TurnClock) -> None:
    """The budget is whole again when some time has passed, though nothing has waited."""
    budget = TurnBudget(clock, pieces=1, seconds=0.25)
    budget.begin()
    assert not budget.spent()
    assert budget.spent()
    clock.advance(0.5)
    assert budget.spent(), "the same work goes on, and takes long"
    budget.begin()
    assert not budget.spent()


def test_leave(clock: TurnClock) -> None:
    """No timer and no step is left when work leaves."""
    budget = TurnBudget(clock)
    work = Steps(budget, clock, 3)
    budget.enter(work)
    budget.leave(work)
    assert (clock.getDelayedCalls(), work.log) == ([], [])
    budget.leave(work)


def test_failure(clock: TurnClock) -> None:
    """The others get their turns when a step raises."""
    budget = TurnBudget(clock)
    bad, good = Steps(budget, clock, 1), Steps(budget, clock, 1)
    bad.budget = None  # type: ignore[assignment]  # so that the second step raises
    bad.left = 2
    budget.enter(bad)
    budget.enter(good)
    with pytest.raises(AttributeError):
        clock.turn()
    clock.turns()
    assert good.log == [good]

import attrs
import pytest
from twisted.internet.task import Clock

from latebin.timing.activity import REST, Activity, RegularLook


@attrs.define
class Looks:
    """The times of looks, which go on soon or not as the test says."""

    clock: Clock = attrs.field(factory=Clock)
    activity: Activity = attrs.field(factory=Activity)
    soon: bool = False
    times: list[float] = attrs.field(factory=list)
    late: list[float] = attrs.field(factory=list)

    def look(self, late: float) -> bool:
        self.times.append(self.clock.seconds())
        self.late.append(late)
        return self.soon

    def started(self, interval: float = 1.0) -> RegularLook:
        regular = RegularLook(self.clock, self.activity, interval, self.look)
        regular.start()
        return regular


@pytest.fixture
def looks() -> Looks:
    return Looks()


def test_at_its_interval(looks: Looks) -> None:
    """A look follows another at the interval while there is a reason for it."""
    looks.soon = True
    looks.started()
    looks.clock.pump([1] * 3)
    assert looks.times == [1, 2, 3]
    assert not looks.activity.resting


def test_at_rest(looks: Looks) -> None:
    """A look follows another after REST seconds when there is no reason for it."""
    looks.started()
    looks.clock.pump([0.5] * round(4 * REST))
    assert looks.times == [1, 1 + REST]


def test_woken(looks: Looks) -> None:
    """A rest ends with a look after the interval, and begins anew, when something happens."""
    looks.started()
    looks.clock.pump([1, 1.5])
    looks.activity.begin()
    assert not looks.activity.resting
    looks.clock.pump([0.5] * round(4 * REST))
    assert looks.times == [1, 3.5, 3.5 + REST]


def test_how_late(looks: Looks) -> None:
    """A look is given the seconds that it is late, when a rest ended early."""
    looks.started()
    looks.clock.pump([1.25, 1])
    looks.activity.begin()
    looks.clock.advance(1.5)
    assert looks.late == [0.25, 0.5]


@pytest.mark.parametrize("resting", [False, True])
def test_stop(looks: Looks, *, resting: bool) -> None:
    """Nothing is left on the clock, nor to be woken, when a look is stopped."""
    looks.soon = not resting
    regular = looks.started()
    looks.clock.advance(1)
    regular.stop()
    looks.activity.begin()
    assert not looks.clock.getDelayedCalls()


def test_one_that_raises(looks: Looks) -> None:
    """A look is made again after REST seconds when it raises."""

    def fail(_: float) -> bool:
        looks.times.append(looks.clock.seconds())
        raise OSError("nothing to see")

    RegularLook(looks.clock, looks.activity, 1.0, fail).start()
    with pytest.raises(OSError, match="nothing"):
        looks.clock.advance(1)
    with pytest.raises(OSError, match="nothing"):
        looks.clock.advance(REST)
    assert looks.times == [1, 1 + REST]

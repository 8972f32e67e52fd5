from collections.abc import Callable

import attrs
import pytest
from twisted.internet.task import Clock

from latebin.timing.timeouts import Queue, Timeouts


@attrs.define(eq=False)
class Peer:
    """Somebody who is waited for, and what happens when it was for long enough."""

    clock: Clock
    then: Callable[[], object] = lambda: None
    told: list[float] = attrs.field(factory=list)

    def timed_out(self) -> None:
        self.told.append(self.clock.seconds())
        self.then()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> Queue:
    return Timeouts(clock).queue(60)


def run(clock: Clock, seconds: int) -> None:
    for _ in range(seconds):
        clock.advance(1)


def test_each_in_its_time(clock: Clock, queue: Queue) -> None:
    """Whoever is waited for is told when its own time has passed, and once."""
    peers = [Peer(clock) for _ in range(3)]
    for peer in peers:
        queue.enter(peer)
        clock.advance(10)
    run(clock, 200)
    assert [peer.told for peer in peers] == [[60], [70], [80]]
    assert clock.getDelayedCalls() == []


def test_who_leaves(clock: Clock, queue: Queue) -> None:
    """Who has left is not told; who has come back is, when its time has passed since then."""
    gone, back = Peer(clock), Peer(clock)
    queue.enter(gone)
    queue.enter(back)
    queue.leave(gone)
    clock.advance(50)
    queue.leave(back)
    queue.enter(back)
    run(clock, 200)
    assert (gone.told, back.told) == ([], [110])


def test_one_call(clock: Clock, queue: Queue) -> None:
    """However many come and go, there is one delayed call, and it is not touched."""
    peers = [Peer(clock) for _ in range(100)]
    queue.enter(peers[0])
    [call] = clock.getDelayedCalls()
    for peer in peers[1:]:
        queue.enter(peer)
        queue.leave(peer)
    queue.leave(peers[0])
    assert clock.getDelayedCalls() == [call]
    assert call.getTime() == 60


def test_nobody_left(clock: Clock, queue: Queue) -> None:
    """When the time of one who has left has come, and there is no other, nothing more is waited for."""
    peer = Peer(clock)
    queue.enter(peer)
    queue.leave(peer)
    clock.advance(60)
    assert clock.getDelayedCalls() == []
    queue.enter(peer)
    clock.advance(60)
    assert peer.told == [120]


def test_who_comes_while_others_are_told(clock: Clock, queue: Queue) -> None:
    """Who enters, or makes another leave, when one is told delays nobody else."""
    first, second, third = Peer(clock), Peer(clock), Peer(clock)

    def come_back() -> None:
        queue.enter(first)
        queue.leave(second)

    first.then = come_back
    for peer in (first, second):
        queue.enter(peer)
    clock.advance(1)
    queue.enter(third)
    first_told = clock.seconds() + 59
    run(clock, 60)
    assert (first.told, second.told, third.told) == ([first_told], [], [61])
    first.then = lambda: None
    run(clock, 60)
    assert first.told == [60, 120]


def test_one_that_raises(clock: Clock, queue: Queue) -> None:
    """An exception where one is told is whoever's it is that makes delayed calls; the others are told all the same."""

    def fail() -> None:
        raise ValueError("told")

    failing, other = Peer(clock, fail), Peer(clock)
    queue.enter(failing)
    queue.enter(other)
    with pytest.raises(ValueError, match="told"):
        clock.advance(60)
    clock.advance(0)
    assert (failing.told, other.told) == ([60], [60])


def test_periods(clock: Clock) -> None:
    """Those that are waited for less long are told before, and those for as long share a queue."""
    timeouts = Timeouts(clock)
    long, short = Peer(clock), Peer(clock)
    timeouts.queue(60).enter(long)
    timeouts.queue(20).enter(short)
    assert timeouts.queue(60) is timeouts.queue(60.0)
    run(clock, 100)
    assert (long.told, short.told) == ([60], [20])


def test_close(clock: Clock) -> None:
    """No delayed call stays behind, and the next who comes is waited for as ever, also if the last has just left."""
    timeouts = Timeouts(clock)
    queue = timeouts.queue(60)
    peer = Peer(clock, timeouts.close)
    queue.enter(peer)
    queue.leave(peer)
    timeouts.close()
    assert clock.getDelayedCalls() == []
    queue.enter(peer)
    clock.advance(60)
    assert peer.told == [60]
    assert clock.getDelayedCalls() == []

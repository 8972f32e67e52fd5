from collections.abc import Callable

import attrs
import pytest
from twisted.internet.task import Clock

from latebin.timing.timeouts import Queue, Timeouts


@attrs.define(eq=False)
class Peer:
    """An object in a queue, which records its timeouts."""

    clock: Clock
    then: Callable[[], object] = lambda: None
    expired: list[float] = attrs.field(factory=list)

    def timed_out(self) -> None:
        self.expired.append(self.clock.seconds())
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
    """Each object times out once, when its own period has passed."""
    peers = [Peer(clock) for _ in range(3)]
    for peer in peers:
        queue.enter(peer)
        clock.advance(10)
    run(clock, 200)
    assert [peer.expired for peer in peers] == [[60], [70], [80]]
    assert clock.getDelayedCalls() == []


def test_leaving(clock: Clock, queue: Queue) -> None:
    """An object that leaves does not time out, unless it enters again."""
    gone, back = Peer(clock), Peer(clock)
    queue.enter(gone)
    queue.enter(back)
    queue.leave(gone)
    clock.advance(50)
    queue.leave(back)
    queue.enter(back)
    run(clock, 200)
    assert (gone.expired, back.expired) == ([], [110])


def test_one_call(clock: Clock, queue: Queue) -> None:
    """The one delayed call is not touched when objects enter and leave."""
    peers = [Peer(clock) for _ in range(100)]
    queue.enter(peers[0])
    [call] = clock.getDelayedCalls()
    for peer in peers[1:]:
        queue.enter(peer)
        queue.leave(peer)
    queue.leave(peers[0])
    assert clock.getDelayedCalls() == [call]
    assert call.getTime() == 60


def test_empty_queue(clock: Clock, queue: Queue) -> None:
    """The delayed call ends when the queue is empty, until an object enters."""
    peer = Peer(clock)
    queue.enter(peer)
    queue.leave(peer)
    clock.advance(60)
    assert clock.getDelayedCalls() == []
    queue.enter(peer)
    clock.advance(60)
    assert peer.expired == [120]


def test_entering_during_a_timeout(clock: Clock, queue: Queue) -> None:
    """Other timeouts stay on time when a timeout changes the queue."""
    first, second, third = Peer(clock), Peer(clock), Peer(clock)

    def come_back() -> None:
        queue.enter(first)
        queue.leave(second)

    first.then = come_back
    for peer in (first, second):
        queue.enter(peer)
    clock.advance(1)
    queue.enter(third)
    first_due = clock.seconds() + 59
    run(clock, 60)
    assert (first.expired, second.expired, third.expired) == ([first_due], [], [61])
    first.then = lambda: None
    run(clock, 60)
    assert first.expired == [60, 120]


def test_one_that_raises(clock: Clock, queue: Queue) -> None:
    """The other objects time out when a timeout raises, which the clock reports."""

    def fail() -> None:
        raise ValueError("broken")

    failing, other = Peer(clock, fail), Peer(clock)
    queue.enter(failing)
    queue.enter(other)
    with pytest.raises(ValueError, match="broken"):
        clock.advance(60)
    clock.advance(0)
    assert (failing.expired, other.expired) == ([60], [60])


def test_periods(clock: Clock) -> None:
    """Objects with one period share a queue, and a shorter period ends earlier."""
    timeouts = Timeouts(clock)
    long, short = Peer(clock), Peer(clock)
    timeouts.queue(60).enter(long)
    timeouts.queue(20).enter(short)
    assert timeouts.queue(60) is timeouts.queue(60.0)
    run(clock, 100)
    assert (long.expired, short.expired) == ([60], [20])


def test_close(clock: Clock) -> None:
    """No delayed call is left after a close, and the queue can be used again."""
    timeouts = Timeouts(clock)
    queue = timeouts.queue(60)
    peer = Peer(clock, timeouts.close)
    queue.enter(peer)
    queue.leave(peer)
    timeouts.close()
    assert clock.getDelayedCalls() == []
    queue.enter(peer)
    clock.advance(60)
    assert peer.expired == [60]
    assert clock.getDelayedCalls() == []

import gc
import math
import subprocess
import sys

import attrs
import pytest
from twisted.internet.task import Clock

from latebin.timing.garbage import (
    FEW,
    FIRST,
    INTERVAL,
    MANY,
    MARGIN,
    MOST,
    RETURN,
    SLICE,
    SLICES,
    WORTHWHILE,
    GarbageScheduler,
)
from tests.support.process import ROOT, environment


@attrs.define
class Heap:
    """A heap whose garbage, collection time and requests the test sets."""

    clock: Clock
    gathered: int = 0
    takes: float = 0.1
    due: float = math.inf
    requests: int = 0
    blocks: int = 0
    freed: bool = False
    returned: int = 0
    generations: list[int] = attrs.field(factory=list)

    @property
    def collections(self) -> int:
        """The number of full collections."""
        return self.generations.count(2)

    def due_within(self, seconds: float) -> bool:
        return self.due <= seconds

    def collect(self, generation: int) -> None:
        self.generations.append(generation)
        self.gathered = 0
        if generation == 2:
            self.clock.rightNow += self.takes

    def scheduler(self) -> GarbageScheduler:
        return GarbageScheduler(
            self.clock,
            self.due_within,
            lambda: self.requests,
            lambda: self.gathered,
            self.collect,
            lambda: self.blocks,
            lambda: self.freed,
            self.give_back,
        )

    def give_back(self) -> None:
        self.returned += 1
        self.freed = False


@pytest.fixture
def heap() -> Heap:
    return Heap(Clock())


@pytest.fixture
def collector(heap: Heap) -> GarbageScheduler:
    """A scheduler after its first full collection, which has measured 10 us a block."""
    collector = heap.scheduler()
    heap.gathered, heap.blocks = WORTHWHILE, FEW
    collector.look()
    assert heap.generations == [2]
    heap.generations.clear()
    return collector


def test_little_garbage(heap: Heap, collector: GarbageScheduler) -> None:
    """Little garbage is not collected when no answer is due."""
    heap.gathered = WORTHWHILE - 1
    collector.look()
    assert heap.collections == 0


def test_no_answer_is_due(heap: Heap, collector: GarbageScheduler) -> None:
    """Garbage is collected when no answer is due."""
    heap.gathered = WORTHWHILE
    collector.look()
    assert heap.collections == 1


def test_an_answer_is_due_soon(heap: Heap, collector: GarbageScheduler) -> None:
    """A collection is postponed when it would make an answer late."""
    heap.gathered, heap.due = WORTHWHILE, heap.takes * MARGIN
    collector.look()
    assert heap.collections == 0
    heap.due += 0.001
    collector.look()
    assert heap.collections == 1


def test_requests_arrive(heap: Heap, collector: GarbageScheduler) -> None:
    """Garbage is collected when no request has come since the last look."""
    heap.gathered = WORTHWHILE
    for _ in range(3):
        heap.requests += 1
        collector.look()
    assert heap.collections == 0
    collector.look()
    assert heap.collections == 1


def test_slices(heap: Heap, collector: GarbageScheduler) -> None:
    """New objects are collected in slices, older ones less often, when requests never pause."""
    heap.due = 0.0
    for _ in range(2 * SLICES):
        heap.requests += 1
        heap.gathered = SLICE - 1
        collector.look()
        heap.requests += 1
        heap.gathered = SLICE
        collector.look()
    assert heap.generations == 2 * [*[0] * (SLICES - 1), 1]


def test_brief(heap: Heap, collector: GarbageScheduler) -> None:
    """Every tenth slice goes through all objects when these are few."""
    heap.due, heap.blocks = 0.0, 500
    for _ in range(SLICES):
        heap.requests += 1
        heap.gathered = SLICE
        collector.look()
    assert heap.generations == [*[0] * (SLICES - 1), 2]


def test_slices_are_remembered(heap: Heap, collector: GarbageScheduler) -> None:
    """Objects that slices have left are collected when no request comes any more."""
    for _ in range(WORTHWHILE // SLICE):
        heap.requests += 1
        heap.gathered = SLICE
        assert collector.look()
    assert heap.collections == 0
    collector.look()
    assert heap.collections == 1
    assert not collector.look()


def test_returns_memory(heap: Heap, collector: GarbageScheduler) -> None:
    """Freed memory is returned when the service is quiet and no answer is due."""
    heap.freed, heap.requests = True, 1
    collector.look()
    heap.due = RETURN
    collector.look()
    assert heap.returned == 0
    heap.due += 0.001
    collector.look()
    collector.look()
    assert heap.returned == 1


def test_returns_memory_behind_many_requests(heap: Heap, collector: GarbageScheduler) -> None:
    """Memory is returned once when many requests have come since the last time."""
    heap.requests = MANY
    for _ in range(3):
        collector.look()
    assert heap.returned == 1


def test_too_much_garbage(heap: Heap, collector: GarbageScheduler) -> None:
    """Everything is collected when too many blocks are new, even if answers are due."""
    heap.gathered, heap.due, heap.requests, heap.blocks = SLICE, 0.0, 1, FEW + MOST
    collector.look()
    assert heap.collections == 1


def test_looks_regularly(heap: Heap, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start disables CPython's schedule, freezes and then looks regularly."""
    done: list[str] = []
    monkeypatch.setattr(gc, "disable", lambda: done.append("disable"))
    monkeypatch.setattr(gc, "freeze", lambda: done.append("freeze"))
    heap.scheduler().start()
    assert (done, heap.collections) == (["disable", "freeze"], 0)
    heap.gathered = WORTHWHILE
    heap.clock.advance(INTERVAL)
    assert heap.collections == 1


def test_before_the_first_collection(heap: Heap) -> None:
    """The first collection waits when an answer is due within MARGIN times its assumed time."""
    first = heap.scheduler()
    heap.gathered, heap.due = WORTHWHILE, FIRST * MARGIN
    first.look()
    assert heap.collections == 0
    heap.due += 0.001
    first.look()
    assert heap.collections == 1


@pytest.mark.parametrize("reason", ["requests", "garbage"])
def test_goes_on_looking(heap: Heap, collector: GarbageScheduler, reason: str) -> None:
    """The interval goes on when requests come or garbage is left."""
    heap.gathered, heap.due = 0, 0.0
    assert not collector.look()
    if reason == "requests":
        heap.requests += 1
    else:
        heap.gathered = WORTHWHILE
    assert collector.look()


def test_counts_while_disabled() -> None:
    """CPython counts new objects when its collector is disabled, too."""
    script = (
        "import gc; from latebin.timing.garbage import _gathered; gc.disable(); gc.collect(); before = _gathered(); "
        "kept = [[] for _ in range(50_000)]; print(_gathered() - before)"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(), cwd=ROOT, timeout=60)
    assert int(done.stdout) == pytest.approx(50_000, rel=0.01)

"""The state in the memory of one process.

Nothing here has a timer of its own: what is too old is forgotten by the requests that come later.
"""

import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from itertools import islice
from math import inf
from typing import Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from latebin.core.http.reply import Problem, Refused
from latebin.core.language import draw
from latebin.core.steering import GateWait, PoolWait
from latebin.state.interfaces import (
    Counted,
    Gates,
    GateStatus,
    Journal,
    Keys,
    KeyStatus,
    Place,
    Pools,
    PoolStatus,
    Waiter,
)
from latebin.state.seed_counter import SeedCounter

MOST_KEYS: Final = 10_000
MOST_GATES: Final = 10_000
MOST_POOLS: Final = 1_000

MOST_COUNTED: Final = 100
"""Pairs of seed and expression that are counted for one key."""

MOST_WATCHES: Final = 1_000
"""Requests that wait at once until so many answers wait at a gate."""


def too_many(thing: str, most: int, remedy: str) -> Refused:
    """Make the refusal of one more key, gate or pool."""
    return Refused(
        Problem(
            429,
            f"There are as many {thing}s as there may be, {most}.",
            parameter=thing,
            accepted=f"a known {thing}, or {remedy}",
            headers=((b"Retry-After", b"1"),),
        )
    )


def too_many_counted() -> Refused:
    """Make the refusal of one more seed of a key."""
    accepted = f"at most {MOST_COUNTED} pairs of a seed and a delay"
    return Refused(Problem(429, "The key has too many seeds.", parameter="seed", accepted=accepted))


def line_full(wait: PoolWait) -> Refused:
    """Make the refusal of an answer for which a pool has no place in line."""
    return Refused(
        Problem(
            503,
            "The line of the pool is full; try again later.",
            parameter="queue",
            accepted=f"at most {wait.queue} in line",
            headers=((b"Retry-After", b"1"),),
        )
    )


@attrs.define(eq=False)
class _Key:
    last: float
    turn: int = 0
    counts: dict[Counted, int] = attrs.field(factory=dict)

    def count(self, counted: Counted) -> int:
        if counted not in self.counts and len(self.counts) == MOST_COUNTED:
            raise too_many_counted()
        found = self.counts[counted] = self.counts.get(counted, 0) + 1
        return found


class MemoryKeys:
    """The turns of keys and of seeds; a key is forgotten after some time.

    Args:
        clock: the clock of that time.
        lifetime: seconds from the last request of a key until it is forgotten.
    """

    def __init__(self, clock: IReactorTime, lifetime: float) -> None:
        self._clock = clock
        self._lifetime = lifetime
        self._keys: OrderedDict[str, _Key] = OrderedDict()
        # Before this moment no key is too old.
        self._old_at = -inf
        self._seeds: dict[str, SeedCounter] = {}

    def take(self, key: str | None, style: str, counted: Counted | None) -> tuple[int, int]:
        if key is None:
            if counted is None:
                return 1, 1
            return 1, self._seeds.setdefault(style, SeedCounter()).next(*counted)
        now = self._clock.seconds()
        if now >= self._old_at:
            self._forget_old(now)
        found = self._keys.get(key)
        if found is None:
            if len(self._keys) == MOST_KEYS:
                raise too_many("key", MOST_KEYS, "DELETE /control/keys/KEY to forget one")
            found = self._keys[key] = _Key(now)
        else:
            self._keys.move_to_end(key)
        # First what may be refused: a refused request takes no turn.
        n = None if counted is None else found.count(counted)
        found.last = now
        found.turn += 1
        return found.turn, found.turn if n is None else n

    def forget(self, key: str) -> bool:
        self._forget_old(self._clock.seconds())
        return self._keys.pop(key, None) is not None

    def status(self, key: str) -> KeyStatus | None:
        now = self._clock.seconds()
        self._forget_old(now)
        found = self._keys.get(key)
        return None if found is None else KeyStatus(key, found.turn, now - found.last)

    def all(self) -> Iterator[KeyStatus]:
        now = self._clock.seconds()
        self._forget_old(now)
        return (KeyStatus(key, each.turn, now - each.last) for key, each in self._keys.items())

    def _forget_old(self, now: float) -> None:
        # The keys are in the order of their last requests.
        keys = self._keys
        self._old_at = now + self._lifetime
        while keys:
            first = next(iter(keys))
            old_at = keys[first].last + self._lifetime
            if old_at > now:
                self._old_at = old_at
                return
            del keys[first]


@attrs.define(eq=False)
class GatePlace:
    """The place of an answer at a gate.

    Attributes:
        waiting: whether the answer waits.
    """

    _gate: "_Gate"
    _waiter: Waiter
    seed: int | None
    n: int
    waiting: bool = True

    def leave(self) -> None:
        if self.waiting:
            self.waiting = False
            self._gate.left(self)

    def go(self) -> bool:
        """Let the answer go on, unless it has left; return whether it goes."""
        if not self.waiting:
            return False
        self.waiting = False
        self._waiter.passed()
        return True


class _Gate:
    """One gate, with its line in the order of arrival."""

    def __init__(self, name: str, clock: IReactorTime, emptied: Callable[["_Gate"], None]) -> None:
        self.name = name
        self.open = False
        self.touched = clock.seconds()
        self.line: dict[GatePlace, None] = {}
        self.watches: dict[Deferred[int], int] = {}
        self.wait = GateWait(name)
        self._clock = clock
        self._emptied = emptied
        self._going: deque[GatePlace] = deque()

    @property
    def used(self) -> bool:
        """Whether anything waits here."""
        return bool(self.line or self.watches or self._going)

    def arrive(self, wait: GateWait, waiter: Waiter, n: int) -> GatePlace:
        self.wait, self.touched = wait, self._clock.seconds()
        place = GatePlace(self, waiter, wait.seed, n, not self.open)
        if place.waiting:
            self.line[place] = None
            self._notify()
            if wait.size is not None and len(self.line) >= wait.size:
                self._let_go(self._ordered(list(islice(self.line, wait.size))))
        return place

    def release(self, count: int | None) -> int:
        """Let as many go, those that come first in the order of the gate."""
        return self._let_go(self._ordered(list(self.line))[:count])

    def _let_go(self, chosen: list[GatePlace]) -> int:
        """Let these go, one in each turn of the reactor."""
        for place in chosen:
            del self.line[place]
        begun, self._going = self._going, deque([*self._going, *chosen])
        if chosen and not begun:
            self._clock.callLater(0, self._let_one_go)
        return len(chosen)

    def left(self, place: GatePlace) -> None:
        self.line.pop(place, None)
        self._settle()

    def watch(self, waiting: int) -> Deferred[int]:
        watch: Deferred[int] = Deferred(self._unwatch)
        self.watches[watch] = waiting
        self._notify()
        return watch

    def _unwatch(self, watch: Deferred[int]) -> None:
        del self.watches[watch]
        self._settle()

    def _notify(self) -> None:
        waiting = len(self.line)
        for watch in [watch for watch, least in self.watches.items() if least <= waiting]:
            del self.watches[watch]
            watch.callback(waiting)

    def _let_one_go(self) -> None:
        """Let the next one go, and the others in later turns of the reactor."""
        while self._going and not self._going.popleft().go():
            pass
        if self._going:
            self._clock.callLater(0, self._let_one_go)
        self._settle()

    def _settle(self) -> None:
        if not self.used:
            self._emptied(self)

    def _ordered(self, places: list[GatePlace]) -> list[GatePlace]:
        if self.wait.order == "lifo":
            places.reverse()
        elif self.wait.order == "random" and places:
            first = places[0]
            uniforms = draw.unseeded(random.SystemRandom().random)
            if first.seed is not None:
                uniforms = draw.seeded("order", first.seed, self.name, first.n)
            places = [place for _, place in sorted(zip(uniforms, places, strict=False), key=lambda pair: pair[0])]
        return places


class MemoryGates:
    """The gates of one process.

    Args:
        clock: the clock whose turns let answers go.
        lifetime: seconds that an open gate is kept after its last request.
    """

    def __init__(self, clock: IReactorTime, lifetime: float) -> None:
        self._clock = clock
        self._lifetime = lifetime
        self._gates: dict[str, _Gate] = {}
        self._watches = 0

    def arrive(self, wait: GateWait, waiter: Waiter, n: int) -> Place:
        return self._make(wait.name).arrive(wait, waiter, n)

    def release(self, name: str, count: int | None) -> int:
        found = self._find(name)
        return 0 if found is None else found.release(count)

    def open(self, name: str, *, open: bool) -> int:  # noqa: A002  # as the interface has it
        if not open and self._find(name) is None:
            return 0
        gate = self._make(name)
        gate.open, gate.touched = open, self._clock.seconds()
        went = gate.release(None) if open else 0
        self._emptied(gate)
        return went

    def until(self, name: str, waiting: int) -> Deferred[int]:
        if sum(len(gate.watches) for gate in self._gates.values()) >= MOST_WATCHES:
            raise too_many("gate", MOST_WATCHES, "wait for one gate after the other")
        return self._make(name).watch(waiting)

    def status(self, name: str) -> GateStatus:
        found = self._find(name)
        return GateStatus(name, 0, open=False) if found is None else _status(found)

    def all(self) -> Iterator[GateStatus]:
        self._forget_old()
        return (_status(gate) for gate in self._gates.values() if gate.line or gate.open)

    def _find(self, name: str) -> _Gate | None:
        found = self._gates.get(name)
        if found is not None and self._is_old(found):
            del self._gates[name]
            return None
        return found

    def _make(self, name: str) -> _Gate:
        found = self._find(name)
        if found is not None:
            return found
        if len(self._gates) >= MOST_GATES:
            self._forget_old()
            if len(self._gates) >= MOST_GATES:
                raise too_many("gate", MOST_GATES, "one that nothing waits at any longer")
        made = self._gates[name] = _Gate(name, self._clock, self._emptied)
        return made

    def _is_old(self, gate: _Gate) -> bool:
        return not gate.used and gate.touched + self._lifetime <= self._clock.seconds()

    def _forget_old(self) -> None:
        for gate in list(filter(self._is_old, self._gates.values())):
            del self._gates[gate.name]

    def _emptied(self, gate: _Gate) -> None:
        """Forget a closed gate at which nothing waits; a new one is the same."""
        if not gate.open and not gate.used and self._gates.get(gate.name) is gate:
            del self._gates[gate.name]


def _status(gate: _Gate) -> GateStatus:
    return GateStatus(gate.name, len(gate.line), gate.open)


@attrs.define(eq=False)
class PoolPlace:
    """The place of an answer in a pool: in line, and then in service.

    Attributes:
        waiting: whether it is in line.
    """

    _pool: "_Pool"
    waiter: Waiter
    waiting: bool = True
    _left: bool = False

    def leave(self) -> None:
        if not self._left:
            self._left = True
            self._pool.left(self)


@attrs.define(eq=False)
class _Pool:
    wait: PoolWait
    touched: float
    busy: int = 0
    line: dict[PoolPlace, None] = attrs.field(factory=dict)

    def arrive(self, waiter: Waiter) -> PoolPlace:
        queue = self.wait.queue
        if self.busy < self.wait.servers and not self.line:
            self.busy += 1
            return PoolPlace(self, waiter, waiting=False)
        if queue is not None and len(self.line) >= queue:
            raise line_full(self.wait)
        place = PoolPlace(self, waiter)
        self.line[place] = None
        return place

    def left(self, place: PoolPlace) -> None:
        if place.waiting:
            del self.line[place]
        else:
            self.busy -= 1
            self.serve()

    def serve(self) -> None:
        """Let the line into service, first come first served."""
        while self.line and self.busy < self.wait.servers:
            place = next(iter(self.line))
            del self.line[place]
            place.waiting = False
            self.busy += 1
            place.waiter.passed()


class MemoryPools:
    """The pools of one process.

    Args:
        clock: the clock of their age.
        lifetime: seconds that an empty pool is kept after its last request.
    """

    def __init__(self, clock: IReactorTime, lifetime: float) -> None:
        self._clock = clock
        self._lifetime = lifetime
        self._pools: dict[str, _Pool] = {}

    def arrive(self, wait: PoolWait, waiter: Waiter) -> Place:
        now = self._clock.seconds()
        found = self._pools.get(wait.name)
        if found is None:
            self._make_room(now)
            found = self._pools[wait.name] = _Pool(wait, now)
        found.touched = now
        found.wait = wait
        # There may be more servers than before.
        found.serve()
        return found.arrive(waiter)

    def all(self) -> Iterator[PoolStatus]:
        self._forget_old(self._clock.seconds())
        for name, pool in self._pools.items():
            yield PoolStatus(name, pool.busy, len(pool.line))

    def _make_room(self, now: float) -> None:
        if len(self._pools) >= MOST_POOLS:
            self._forget_old(now)
            if len(self._pools) >= MOST_POOLS:
                raise too_many("pool", MOST_POOLS, "one that is not used any longer")

    def _forget_old(self, now: float) -> None:
        for name, pool in list(self._pools.items()):
            if not pool.busy and not pool.line and pool.touched + self._lifetime <= now:
                del self._pools[name]


@attrs.frozen(eq=False)
class MemoryState:
    """The state of a service that is one process."""

    keys: Keys
    gates: Gates
    pools: Pools
    journal: Journal
    peers: None = None

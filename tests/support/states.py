"""States that a test moves by hand, in memory and in Redis."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from latebin.core.http.reply import Problem
from latebin.core.settings import Settings
from latebin.state.choice import make_state
from latebin.state.interfaces import PoolStatus
from latebin.state.redis.state import RedisState, make_redis_state
from tests.support.pumped import PumpedStore
from tests.support.redis import RedisServer

if TYPE_CHECKING:
    from latebin.state.redis.connection import Store

T = TypeVar("T")

EXAMPLES = 30
"""Random runs of a machine."""

FUTURE = 9 * 10**15
"""Microseconds of a sign of life that stays the last one."""


@attrs.define(eq=False)
class Waiter:
    """An answer that waits, and what happened to it."""

    got: list[str] = attrs.field(factory=list)

    def passed(self) -> None:
        self.got.append("passed")

    def end(self, problem: Problem) -> None:
        self.got.append(str(problem.status))


class World:
    """All processes that have a state in common; here, the memory of one."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.members: list[Any] = [make_state(Settings(), self.clock)]

    def settle(self) -> None:
        """Let everything arrive that is under way."""
        while self.clock.getDelayedCalls() and self.clock.getDelayedCalls()[0].getTime() <= self.clock.seconds():
            self.clock.advance(0)

    def end(self) -> None:
        """Close all connections."""

    def figures(self, number: int) -> list[PoolStatus]:
        """Return the figures of pools, as a process has them."""
        return list(self.members[number].pools.all())

    def result(self, result: T | Deferred[T]) -> T:
        """Return a result that may have to arrive first."""
        self.settle()
        if not isinstance(result, Deferred):
            return result
        results: list[T] = []
        result.addCallback(results.append)
        [found] = results
        return found


class RedisMember:
    """One process with its state in Redis."""

    def __init__(self, store: PumpedStore, state: RedisState) -> None:
        self.store = store
        self.membership = state.membership
        self.gates, self.pools = state.gates, state.pools
        self.journal, self.peers = state.journal, state.peers


class RedisWorld(World):
    """Several processes with one Redis, which is empty at first.

    Attributes:
        messages_first: whether messages arrive before replies that were sent earlier.
    """

    def __init__(self, server: RedisServer, members: int = 2) -> None:
        server.ask("FLUSHALL")
        self.clock = Clock()
        self.server = server
        self.messages_first = False
        self.members = [self._member() for _ in range(members)]
        self.settle()

    def settle(self) -> None:
        moved = True
        while moved:
            moved = sum(self._move(member.store) for member in self.members) > 0
            calls = self.clock.getDelayedCalls()
            if any(call.getTime() <= self.clock.seconds() for call in calls):
                self.clock.advance(0)
                moved = True

    def _move(self, store: PumpedStore) -> bool:
        ways = (store.messages, store.replies) if self.messages_first else (store.replies, store.messages)
        return any(way() for way in ways)

    def give_up(self, number: int) -> None:
        """Have a process count as absent, and another one give up what it had."""
        for member in self.members:
            self.server.ask("ZADD", "latebin:instances", FUTURE, member.store.instance)
        self.server.ask("ZADD", "latebin:instances", 1, self.members[number].store.instance)
        # As if there had been signs of life all the time.
        self.server.ask("DEL", "latebin:beat", "latebin:grace")
        self.members[number - 1].membership.beat()
        self.settle()

    def figures(self, number: int) -> list[PoolStatus]:
        """Return the figures of pools, after a sign of life that finds every process alive."""
        for member in self.members:
            self.server.ask("ZADD", "latebin:instances", "XX", FUTURE, member.store.instance)
        self.members[number].membership.beat()
        self.settle()
        found: list[PoolStatus] = self.members[number].pools.all()
        return found

    def kept(self) -> set[bytes]:
        """Return the keys that Redis has beside those of living processes."""
        always = {b"generation", b"stamp", b"beat", b"instances"}
        return {each.removeprefix(b"latebin:") for each in self.server.ask("KEYS", "*")} - always

    def end(self) -> None:
        for number in range(len(self.members)):
            self.close(number)

    def close(self, number: int) -> None:
        member = self.members[number]
        member.membership.stop()
        member.store.close()

    def _member(self) -> RedisMember:
        store = PumpedStore(self.server)
        return RedisMember(store, make_redis_state(Settings(), self.clock, cast("Store", store)))


@contextmanager
def world(make: Callable[[], World]) -> Iterator[World]:
    """Make a world, and close its connections at the end."""
    made = make()
    try:
        yield made
    finally:
        made.end()


class SharedMachine(RuleBasedStateMachine):
    """A machine over processes that have a state in common."""

    shared: World


def run_machine(machine: type[SharedMachine], make: Callable[[], World]) -> None:
    """Run a machine, each time with other processes."""

    class Here(machine):  # type: ignore[misc,valid-type]  # a class that the caller gives
        def __init__(self) -> None:
            super().__init__()
            self.shared = make()

    run_state_machine_as_test(Here, settings=settings(max_examples=EXAMPLES, stateful_step_count=25, deadline=None))

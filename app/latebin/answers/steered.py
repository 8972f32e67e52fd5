"""Answers that wait at a gate or in a line before their delay."""

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any, Final, Literal

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from latebin.answers.pending import PendingAnswer
from latebin.core.http.reply import Problem, Refused, problem_of
from latebin.core.plan import Plan, Prepared
from latebin.core.steering import GateWait, PoolWait, Steering
from latebin.state.interfaces import Place, State, Taken

log = Logger()

For = Literal["turn", "gate", "queue", "delay"]
"""The reason for which an answer waits."""

UNPLANNED: Final = Plan(0.0)
"""The plan of an answer whose turn is not taken yet."""


@attrs.define(eq=False)
class SteeredAnswer(PendingAnswer):
    """An answer whose test steers it: with a key, at a gate, in a pool.

    It waits for its turn, at the gate, in the line of the pool, and then for its delay. So it is never early. The
    memory of this process has the turn at once. At each of them it is one delayed call of the clock. The delayed call
    of a gate lets the answer go on by itself; that of a line never comes.

    Attributes:
        prepared: the arguments of the request, and what they ask for.
        state: the keys, the gates and the pools.
        turn: the number of the request among those of its key, or else of its seed; None without either.
        written: when bytes of the answer last left, in seconds of the clock; 0 before the answer.
    """

    prepared: Prepared = attrs.field(kw_only=True)
    state: State = attrs.field(kw_only=True)
    turn: int | None = attrs.field(default=None, init=False)
    written: float = attrs.field(default=0.0, init=False)
    _waits_for: For = attrs.field(default="turn", init=False)
    _n: int = attrs.field(default=1, init=False)
    _taking: Deferred[None] | None = attrs.field(default=None, init=False)
    _place: Place | None = attrs.field(default=None, init=False)
    _since: float = attrs.field(default=0.0, init=False)

    @property
    def steering(self) -> Steering:
        """The key, the gate and the pool of the request."""
        return self.prepared.steering or Steering()

    @property
    def waits_for(self) -> str:
        return self._waits_for

    @property
    def due(self) -> float:
        """When the answer is due; infinite before its delay begins."""
        return self._since + self.plan.wait if self._waits_for == "delay" else inf

    def take(self, taken: Taken, planned: Callable[[], object]) -> None:
        """Take the turn of the request, and plan its answer.

        Args:
            taken: the turn.
            planned: is called when the plan is there; for the memory of this process, that is at once.

        Raises:
            Refused: the arguments of the request contradict each other.
        """
        # A Deferred is an Awaitable, whose abstract class takes long to be asked for an instance.
        if isinstance(taken, tuple):
            self._plan(taken, planned)
        else:
            taking = taken.addCallback(self._plan_later, planned).addErrback(self._refused)
            if not taking.called:
                self._taking = taking

    def _plan(self, taken: tuple[int, int], planned: Callable[[], object]) -> None:
        turn, self._n = taken
        self.plan = self.prepared.plan or self.prepared.draw(*taken)
        self.turn = self.plan.turn if self.steering.key is None else turn
        planned()

    def _plan_later(self, taken: tuple[int, int], planned: Callable[[], object]) -> None:
        self._taking = None
        self._plan(taken, planned)
        if self._go is not None:
            self._start(self.clock.seconds())

    def _refused(self, failure: Failure) -> None:
        """End the answer whose turn could not be taken."""
        self._taking = None
        if failure.check(CancelledError):
            return
        if not failure.check(Refused):
            log.failure("no turn could be taken", failure)
        problem = problem_of(failure.value)
        if self._go is None:
            self.refusal = problem
        else:
            self.end(problem)

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object) -> IDelayedCall:  # noqa: A002  # the interface's name
        self._go = partial(callable, *args, **kwargs)
        self.number = self.registry.enter(self)
        if self.refusal is not None:
            self._end_soon(self.refusal)
        elif self._taking is None:
            self._start(self.accepted)
        else:
            self._wait(inf, self._due)
        return self

    def answered(self, now: float) -> float:
        if self._waits_for in {"gate", "queue"}:
            # It was let go before its turn came.
            self._note(now)
            self._waits_for, self._since = "delay", now
        self.written = now
        self.measured = now - self._since
        return self.measured

    def writes(self) -> None:
        self.written = self.clock.seconds()

    def passed(self) -> None:
        """Go on behind the gate or the line."""
        self._go_on(self.clock.seconds())

    def _start(self, now: float) -> None:
        """Begin to wait, with the turn that is taken at last."""
        steering = self.steering
        if steering.gate is not None:
            self._come_to_gate(steering.gate, now)
        elif steering.pool is not None:
            self._come_to_pool(steering.pool, now)
        else:
            self._begin_delay(now)

    def _come_to_gate(self, gate: GateWait, now: float) -> None:
        self._waits_for, self._since = "gate", now
        try:
            self._place = self.state.gates.arrive(gate, self, self._n)
        except Refused as error:
            self._end_soon(error.problem)
            return
        if self._place.waiting:
            self._wait(gate.within, self._expired)
        else:
            self._go_on(now)

    def _expired(self) -> None:
        """Go on without the gate."""
        self._go_on(self.clock.seconds(), ';desc="expired"')

    def _go_on(self, now: float, how: str = "") -> None:
        pool = self.steering.pool if self._waits_for == "gate" else None
        self._note(now, how)
        if pool is None:
            self._begin_delay(now)
        else:
            self._come_to_pool(pool, now)

    def _come_to_pool(self, pool: PoolWait, now: float) -> None:
        self._waits_for, self._since = "queue", now
        try:
            self._place = self.state.pools.arrive(pool, self)
        except Refused as error:
            self._end_soon(error.problem)
            return
        if self._place.waiting:
            self._wait(inf, self._due)
        else:
            self._go_on(now)

    def _begin_delay(self, now: float) -> None:
        self._waits_for, self._since = "delay", now
        self._wait(self.plan.wait, self._due)

    def _wait(self, seconds: float, then: Callable[[], object]) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = self.clock.callLater(seconds, then)

    def _end_soon(self, problem: Problem) -> None:
        """End in the next turn: `deferLater` has not returned yet."""
        self.refusal = problem
        self._wait(0.0, self._due)

    def _note(self, now: float, how: str = "") -> None:
        """Note the time that the answer waited, and leave the gate.

        A place in a pool is kept until the delay is over.
        """
        self.held += f"{self._waits_for};dur={(now - self._since) * 1000:.3f}{how}, "
        if self._waits_for == "gate":
            self._leave_place()

    def _leave_place(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.leave()

    def _leave(self, end: int) -> None:
        super()._leave(end)
        taking, self._taking = self._taking, None
        if taking is not None:
            taking.cancel()
        if self._place is not None:
            self._leave_place()

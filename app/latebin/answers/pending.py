"""The pending answers: what each waits for, and how many there may be."""

from collections.abc import Callable
from functools import partial
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from latebin.core.http.reply import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latebin.answers.preparation import Preparation
    from latebin.core.http.upstream_url import Target
    from latebin.core.plan import Plan


_CALLED: Final = -1

_CANCELLED: Final = -2


@attrs.define(eq=False)
class Capacity:
    """The number of answers that may be pending at once, in all styles together.

    Attributes:
        most: the limit; infinite for no limit.
        taken: how many answers are pending.
        ids: the ids of the answers, which no two have in common.
    """

    most: float = inf
    taken: int = attrs.field(default=0, init=False)
    ids: "Iterator[int]" = attrs.field(factory=lambda: count(1), init=False)


class Endable(Protocol):
    """An answer that waits for an upstream, which only ends it."""

    def end(self, problem: Problem, /) -> None: ...


@attrs.define(eq=False)
class PendingAnswers:
    """The registry of one style's pending answers, by their ids.

    Attributes:
        capacity: the limit that each pending answer counts towards.
        forwarding: the requests that wait for an upstream, by the ids of their answers; they are not pending any more.
    """

    capacity: Capacity
    _pending: "dict[int, PendingAnswer]" = attrs.field(factory=dict, init=False)
    forwarding: "dict[int, Endable]" = attrs.field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._pending)

    def enter(self, answer: "PendingAnswer") -> int:
        """Register an answer that begins to wait.

        Returns:
            The answer's id, which no other answer of this service ever has.
        """
        number = next(self.capacity.ids)
        self._pending[number] = answer
        self.capacity.taken += 1
        return number

    def leave(self, number: int) -> None:
        """Remove an answer that no longer waits."""
        del self._pending[number]
        self.capacity.taken -= 1

    def release(self, number: int) -> None:
        """Let an answer go now, as planned, without the rest of its wait.

        Raises:
            KeyError: no pending answer has this id.
        """
        self._pending[number].release()

    def end(self, number: int, problem: Problem) -> None:
        """Let an answer go now as a refusal, in the place of the planned answer.

        Args:
            number: the answer's id.
            problem: what the client gets. An answer that has sent its headers is broken off instead.

        Raises:
            KeyError: no pending answer has this id, and none waits for an upstream.
        """
        (self._pending.get(number) or self.forwarding[number]).end(problem)

    def due_by(self, moment: float) -> bool:
        """Return whether an answer is due by a moment, in seconds of the service's clock.

        With one delay for all, the first answer in the registry decides. A search through thousands of answers takes
        milliseconds, but it goes past the first only when no answer is late by that much.
        """
        return any(answer.due <= moment for answer in self._pending.values())


@implementer(IReactorTime, IDelayedCall)
@attrs.define(eq=False)
class PendingAnswer:
    """One answer from its acceptance to its end, which is the clock of its `deferLater`.

    `deferLater(answer, answer.wait, ...)` asks this clock for the one delayed call that it ever has, which is the
    answer itself. So this class decides what an answer waits for, and no style changes with it. Here it is time alone;
    `latebin.answers.steered` has the answers that wait for more.

    An answer is an object beside the request. CPython keeps attributes within an instance only as long as its class has
    at most thirty names (`SHARED_KEYS_MAX_SIZE`), and Twisted's request has 25.

    Attributes:
        plan: how the request is answered; requests that ask for the same may share it.
        clock: the clock that measures the wait, in seconds.
        registry: the registry that has the answer while it waits.
        accepted: when the request was accepted, in seconds of the clock.
        target: the place that a forwarded request is passed on to; None for a request that is answered here.
        preparation: the content that is still made; None for a plan that has it.
        measured: seconds from the acceptance to the answer, without the time at a gate or in a line; None before the
            answer.
        held: the time at a gate and in a line, as `Server-Timing` has it; empty without them.
        number: the id in the registry; 0 before the answer waits.
        refusal: the problem to answer with instead, once `end` has set it.
        hanging: whether the answer hangs on purpose, and never ends by itself.
        end_stream: ends the answer behind its last event; None unless it is a stream without end.
    """

    plan: "Plan"
    clock: IReactorTime
    registry: PendingAnswers
    accepted: float
    target: "Target | None" = None
    preparation: "Preparation | None" = None
    measured: float | None = attrs.field(default=None, init=False)
    refusal: Problem | None = attrs.field(default=None, init=False)
    hanging: bool = attrs.field(default=False, init=False)
    end_stream: Callable[[], object] | None = attrs.field(default=None, init=False)
    held: str = attrs.field(default="", init=False)
    number: int = attrs.field(default=0, init=False)
    _ended: int = attrs.field(default=0, init=False)
    _call: IDelayedCall | None = attrs.field(default=None, init=False)
    _go: Callable[[], object] | None = attrs.field(default=None, init=False)

    @property
    def wait(self) -> float:
        """Seconds that the plan waits."""
        return self.plan.wait

    @property
    def turn(self) -> int | None:
        """The number of the request among those of its seed; None without a seed."""
        return self.plan.turn

    @property
    def waits_for(self) -> str:
        """The reason for which the answer waits."""
        return "delay"

    @property
    def due(self) -> float:
        """When the answer is due, in seconds of the clock."""
        return self.accepted + self.plan.wait

    @property
    def fault(self) -> str | None:
        """The fault that took the place of the answer; None before or without it."""
        return None if self.measured is None else self.plan.fault

    def answered(self, now: float) -> float:
        """Note that the answer begins now, in seconds of the clock.

        Returns:
            Seconds since the acceptance.
        """
        self.measured = now - self.accepted
        return self.measured

    def writes(self) -> None:
        """Note that bytes of the answer leave now, or that its connection is cut."""

    def release(self) -> None:
        """Let the answer go now, as planned."""
        self._waiting().cancel()
        self._due()

    def end(self, problem: Problem) -> None:
        """Let the answer go now, as a refusal."""
        self.refusal = problem
        self.release()

    def seconds(self) -> float:
        return self.clock.seconds()

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object) -> IDelayedCall:  # noqa: A002  # the interface's name
        """Begin to wait; IReactorTime's method, which `deferLater` calls once."""
        self._go = partial(callable, *args, **kwargs)
        self.number = self.registry.enter(self)
        self._call = self.clock.callLater(delay, self._due)
        return self

    def getDelayedCalls(self) -> list[IDelayedCall]:
        return [self] if self.active() else []

    def getTime(self) -> float:
        return self._waiting().getTime()

    def cancel(self) -> None:
        """Stop waiting: the client has left, or the answer's Deferred was cancelled."""
        self._waiting().cancel()
        self._leave(_CANCELLED)

    def delay(self, secondsLater: float) -> None:
        self._waiting().delay(secondsLater)

    def reset(self, secondsFromNow: float) -> None:
        self._waiting().reset(secondsFromNow)

    def active(self) -> bool:
        return self._call is not None

    def _waiting(self) -> IDelayedCall:
        if self._call is None:
            raise AlreadyCancelled if self._ended == _CANCELLED else AlreadyCalled
        return self._call

    def _due(self) -> None:
        if self.preparation is not None and self.refusal is None and not self.preparation.done:
            # The content is late, and has a share of each turn: the answer looks for it as often.
            self._call = self.clock.callLater(0, self._due)
            return
        go = self._go
        self._leave(_CALLED)
        if go is not None:
            go()

    def _leave(self, end: int) -> None:
        self.registry.leave(self.number)
        self._ended = end
        # The Deferred refers to this object, to cancel it: a reference back would make a cycle of the two.
        self._call = self._go = None
        if self.preparation is not None:
            self.preparation.stop()

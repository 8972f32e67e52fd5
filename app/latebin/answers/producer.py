"""The body of an answer, written piece by piece, as bytes or as events."""

from abc import ABC, abstractmethod
from time import time
from typing import TYPE_CHECKING, Final, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from latebin.answers.interfaces import ServedRequest, is_closing, note_write
from latebin.core.faults import Place
from latebin.core.plan import Plan
from latebin.core.stream import COMMENT

if TYPE_CHECKING:
    from latebin.answers.pending import PendingAnswer
    from latebin.core.http.body import Body
    from latebin.core.stream import Stream
    from latebin.timing.budget import TurnBudget


PIECE: Final = 128 * 1024
"""Bytes written at once: more than Twisted buffers before it asks a producer to pause.

So the transport pauses the producer after each piece, and resumes it when the piece has left. A connection that many
answers share sets a size of its own.
"""

SMALL: Final = 16 * 1024
"""Bytes of the largest body that is written at once, whether or not the client reads."""


WRITES: Final = 16
"""Writes in a turn of the reactor, so that an answer in thousands of pieces makes no other late."""

LOOKED: Final = 256
"""Late pieces that are added up in one write, when each has a gap of its own."""

SILENCE: Final = 15.0
"""Seconds after which a stream of server-sent events sends a comment (HTML, section 9.2.7)."""


@implementer(IPushProducer)
class TimedProducer(ABC):
    """A body that is written piece by piece, as time and the client allow.

    A piece is written when it is due and the client has read the pieces before it. When several are due at once, each
    but the first needs room in the budget of the turn, which all connections share. So does each that has waited for
    the client.

    Args:
        request: the request whose answer this is.
        plan: the answer's plan: the body, its pieces and their times.
        clock: the clock that the pieces are timed by.
    """

    def __init__(self, request: ServedRequest, plan: Plan, clock: IReactorTime) -> None:
        self._sent: Deferred[bytes] | None = None
        self._request = request
        self._plan = plan
        self._clock = clock
        # A plain `twisted.web.server.Site` has none.
        self._budget: TurnBudget | None = getattr(request.site, "budget", None)
        self._started = clock.seconds()
        self._paused = False
        self._call: IDelayedCall | None = None

    def start(self) -> Deferred[bytes]:
        """Write what is due, and the rest later.

        Returns:
            A Deferred that fires with no bytes when the transport has taken the whole body. Cancelling the Deferred
            stops the writing.
        """
        sent = self._sent = Deferred(lambda _: self.stopProducing())
        self._request.registerProducer(self, streaming=True)
        self._produce()
        return sent

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        """Write on in a turn that has room, as many clients may read at once."""
        self._paused = False
        if self._budget is None:
            self._produce()
            return
        self._budget.begin()
        if self._budget.spent():
            self._budget.enter(self)
        else:
            self._produce()

    def stopProducing(self) -> None:
        """Write no more: the client has left, or the answer was cancelled."""
        self._paused = True
        self._sent = None
        self._wait_no_more()
        self._leave()
        # A client that has left has taken the channel with it.
        if self._request.channel is not None:
            self._request.unregisterProducer()

    @abstractmethod
    def _due(self) -> float | None:
        """Return the seconds from the start to the next piece; None after the last."""

    @abstractmethod
    def _write(self) -> None:
        """Write the next piece."""

    def step(self) -> None:
        """Write one piece, in a turn that has room for it."""
        self._produce(most=1)

    def _produce(self, most: int = WRITES) -> None:
        """Write what is due, as far as the client reads and the turn has room."""
        number = 0
        while not self._paused:
            due = self._due()
            if due is None:
                self._leave()
                self._request.unregisterProducer()
                self._finish()
                return
            wait = self._started + due - self._clock.seconds()
            if wait > 0:
                self._later(wait)
                return
            if number == most or (number and self._spent(number)):
                # While it writes, more may become due, without an end.
                self._go_on()
                return
            note_write(self._request)
            self._write()
            number += 1

    def _spent(self, number: int) -> bool:
        """Take a further piece from the budget; return whether it has to wait."""
        if self._budget is None:
            return False
        if number == 1:
            self._budget.begin()
        return self._budget.spent()

    def _go_on(self) -> None:
        """Write further pieces in a later turn."""
        if self._budget is None:
            self._later(0.0)
        else:
            self._budget.enter(self)

    def _leave(self) -> None:
        if self._budget is not None:
            self._budget.leave(self)

    def _finish(self) -> None:
        # The Deferred refers to this object, to cancel it: a reference back would make a cycle of the two.
        sent, self._sent = self._sent, None
        if sent is not None:
            sent.callback(b"")

    def _later(self, wait: float) -> None:
        if self._call is None or not self._call.active():
            self._call = self._clock.callLater(wait, self._wake)

    def _wait_no_more(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()

    def _wake(self) -> None:
        self._call = None
        self._produce()


class Delivery(TimedProducer):
    """A body of bytes.

    Args:
        request: the request whose answer this is.
        plan: the answer's plan.
        clock: the clock that the pieces are timed by.
        size: how many bytes of the body to write; None for all of them.

    Attributes:
        reached: whether the writing reached that number of bytes.
    """

    reached = True

    def __init__(self, request: ServedRequest, plan: Plan, clock: IReactorTime, size: int | None = None) -> None:
        super().__init__(request, plan, clock)
        self._body = cast("Body", plan.body)
        self._piece: int = getattr(request.channel, "piece", PIECE)
        self._size = self._body.size if size is None else size
        self._pieces = plan.pieces()
        self._ahead = next(self._pieces, None)
        self._number = 0
        self._at = self._end = 0
        self._next = 0.0

    def _due(self) -> float | None:
        if self._at == self._size:
            return None
        # Pieces of no bytes have no time of their own.
        while self._at == self._end and self._ahead is not None:
            self._end, self._next = self._ahead
            self._look_ahead()
        return self._next

    def _write(self) -> None:
        """Write what is due, in parts; the remainder of a large piece goes first.

        So the last part has the full size, and the transport asks for a pause after it.
        """
        # When the reactor is late, pieces that were due apart are one, since each write has its cost; chunks stay.
        if not self._plan.chunked:
            self._catch_up(self._clock.seconds() - self._started)
        end = min(self._end, self._size)
        start, self._at = self._at, self._at + ((end - self._at) % self._piece or min(self._piece, end - self._at))
        self._request.write(self._body.piece(start, self._at))

    def _look_ahead(self) -> None:
        self._ahead = next(self._pieces, None)
        self._number += 1

    def _catch_up(self, now: float) -> None:
        """Make one piece of those that are due.

        Args:
            now: seconds from the start.
        """
        if self._ahead is None or self._ahead[1] > now:
            return
        # The count is rounded: the last of these pieces are looked at.
        sure = self._plan.due(now) - 2
        if sure > self._number:
            self._pieces, self._number = self._plan.pieces(sure), sure
            self._ahead = next(self._pieces, None)
        for _ in range(LOOKED):
            if self._ahead is None or self._ahead[1] > now:
                return
            self._end = self._ahead[0]
            self._look_ahead()


class EventStream(TimedProducer):
    """A body of events, in which silence is broken by comments.

    When the service stops, a stream without end is ended behind an event: the client misses none, and comes back.

    Args:
        request: the request whose answer this is.
        clock: the clock that the events are timed by.
        answer: the answer that the stream is.
        place: the part of the body to write; None for all of it.

    Attributes:
        reached: whether the writing reached that part of the body.
    """

    def __init__(
        self, request: ServedRequest, answer: "PendingAnswer", clock: IReactorTime, place: Place | None = None
    ) -> None:
        plan = answer.plan
        super().__init__(request, plan, clock)
        # The first event is due when the answer is, which a release can bring forward.
        self._started = min(answer.due, self._started)
        self._answer = answer
        self._accepted = answer.accepted
        self._events = cast("Stream", plan.stream)
        self._place = place
        self.reached = place is not None and not place.amount
        self._number = self._events.first
        self._bytes = 0
        self._next = 0.0
        self._last = clock.seconds()
        self._ending = False
        if not self._events.count:
            self._ending = is_closing(request)
            answer.end_stream = self._end

    def _end(self) -> None:
        self._ending = True
        self._wait_no_more()
        self._produce()

    def _leave(self) -> None:
        super()._leave()
        # It refers to this object, which refers to the answer: the two would be a cycle.
        self._answer.end_stream = None

    def _due(self) -> float | None:
        if self.reached or 0 < self._events.count < self._number:
            return None
        if self._ending and self._number > self._events.first:
            return None
        silent = self._last + SILENCE - self._started
        return min(self._next, silent) if self._events.kind == "sse" else self._next

    def _write(self) -> None:
        now = self._last = self._clock.seconds()
        due = self._started + self._next
        if due > now:
            self._request.write(COMMENT)
            return
        event = self._events.event(self._number, due - self._accepted, now - self._accepted, time())
        self._request.write(self._up_to_the_place(event))
        self._next += self._plan.between(self._number)
        self._number += 1

    def _up_to_the_place(self, event: bytes) -> bytes:
        """Cut an event where the part ends that is to be written."""
        self._bytes += len(event)
        if self._place is None:
            return event
        if self._place.unitless:
            self.reached = self._number - self._events.first + 1 >= self._place.amount
            return event
        over = self._bytes - self._place.amount
        self.reached = over >= 0
        return event[: len(event) - max(over, 0)]


def sender(
    request: ServedRequest, plan: Plan, clock: IReactorTime, place: Place | None = None
) -> Delivery | EventStream:
    """Make the producer of an answer's body, or of a part of it.

    Args:
        request: the request that is answered; not a HEAD.
        plan: the answer's plan, with a body.
        clock: the clock that the pieces are timed by.
        place: the part of the body to write; None for all of it.
    """
    if plan.stream is None:
        # Before an upstream, the place is one of the upstream's body, and a refusal by chance can be shorter.
        size = None if place is None or plan.body is None else min(place.amount, plan.body.size)
        return Delivery(request, plan, clock, size)
    return EventStream(request, cast("PendingAnswer", request.pending_answer), clock, place)

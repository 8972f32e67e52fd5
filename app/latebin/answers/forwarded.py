"""A request that waits for its upstream, and can be ended meanwhile."""

from typing import TYPE_CHECKING, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from latebin.answers.interfaces import ServedRequest, abort
from latebin.core.http.reply import Problem, Refused

if TYPE_CHECKING:
    from latebin.answers.pending import Endable

T = TypeVar("T")


@attrs.define(eq=False)
class ForwardedAnswer:
    """The answer of an upstream, from the request on to its end.

    Attributes:
        request: the client's request.
        sent: a Deferred that fires when the answer is sent; cancelling it closes the connection to the upstream.
        registry: the forwarded answers by their ids.
        number: the id of this one.
    """

    request: ServedRequest
    sent: Deferred[bytes]
    registry: "dict[int, Endable]"
    number: int
    _problem: Problem | None = attrs.field(default=None, init=False)

    def start(self) -> Deferred[bytes]:
        """Register the answer until it is over.

        Returns:
            `sent`, which fails with `Refused` after `end`.
        """
        self.registry[self.number] = self
        return self.sent.addBoth(self._over)

    def end(self, problem: Problem) -> None:
        """End the wait with a problem; break off an answer that has begun."""
        if self.request.startedWriting:
            self.request.broken = True
            abort(self.request)
            return
        self._problem = problem
        self.sent.cancel()

    def _over(self, result: T) -> T:
        del self.registry[self.number]
        if self._problem is not None and isinstance(result, Failure):
            raise Refused(self._problem)
        return result

"""The predictions that take long, which are made between the turns of the reactor."""

from collections import deque
from collections.abc import Generator
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from latebin.answers.interfaces import ServedRequest
from latebin.answers.service import Service
from latebin.core.http.reply import Problem, Refused

MOST: Final = 16
"""The most predictions that wait for one another."""

FULL: Final = Problem(503, "Too many simulations are under way; try again later.", headers=((b"Retry-After", b"1"),))

Work = Generator[None, None, None]
"""A long prediction or a simulation, which yields behind each piece."""


class Simulations:
    """The simulations and long predictions of a service, one after the other.

    Args:
        clock: the clock whose turns make the pieces.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._line: deque[tuple[Work, Deferred[None]]] = deque()

    def run(self, work: Work) -> Deferred[None]:
        """Do some work.

        Returns:
            A Deferred that fires when the work is done; cancel it to give up.

        Raises:
            Refused: 503, if too much waits.
        """
        if len(self._line) >= MOST:
            raise Refused(FULL)
        done: Deferred[None] = Deferred()
        self._line.append((work, done))
        if len(self._line) == 1:
            self._clock.callLater(0, self._slice)
        return done

    def _slice(self) -> None:
        work, done = self._line[0]
        over = done.called or next(work, self) is self
        if over:
            self._line.popleft()
        # Before the callback, which may ask for more work.
        if self._line:
            self._clock.callLater(0, self._slice)
        if over and not done.called:
            done.callback(None)


class PredictionResource(Resource):
    """The prediction of a style, before which the work is done that it needs.

    Args:
        below: the resource of the style, which answers.
        service: the service of the style.
        simulations: the simulations of all styles.
    """

    def __init__(self, below: IResource, service: Service, simulations: Simulations) -> None:
        super().__init__()
        self.isLeaf = below.isLeaf
        self._below = below
        self._service = service
        self._simulations = simulations

    def getChildWithDefault(self, path: bytes, request: ServedRequest) -> IResource:
        found: IResource = self._below.getChildWithDefault(path, request)
        return found

    def render(self, request: ServedRequest) -> Any:  # noqa: ANN401  # as the style renders
        work = self._service.work(request)
        if work is None:
            return self._below.render(request)
        try:
            done = self._simulations.run(work)
        except Refused as error:
            return error.problem.reply().start(request)
        request.notifyFinish().addErrback(lambda _: done.cancel())
        done.addCallback(lambda _: self._answer(request))
        done.addErrback(lambda failure: failure.trap(CancelledError))
        return NOT_DONE_YET

    def _answer(self, request: ServedRequest) -> None:
        # Behind the prediction there may be a simulation.
        rest = self.render(request)
        if rest is not NOT_DONE_YET:
            request.write(rest)
            request.finish()

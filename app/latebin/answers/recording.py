"""The record of a request with a key, from its acceptance to its end."""

from collections.abc import Sequence
from time import time
from typing import TYPE_CHECKING, Final, cast

import attrs
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IReactorTime
from twisted.internet.main import CONNECTION_LOST
from twisted.python.failure import Failure

from latebin.answers.interfaces import ServedRequest
from latebin.answers.steered import SteeredAnswer
from latebin.core.http.reply import Problem
from latebin.core.journal import MAX_TEXT, Asked, End, Ended, LeftBy
from latebin.core.parameters import split_query
from latebin.core.steering import KEY
from latebin.state.interfaces import Journal, Record

if TYPE_CHECKING:
    from latebin.core.ends import End as CauseOfEnd


_OURS: Final = {"answered", "refused", "fault"}
"""The ends that the service decides, not the client."""


def begin(request: ServedRequest, style: str, journal: Journal, key: str, accepted: float) -> Record:
    """Write a request into the journal of its key.

    Args:
        request: the request.
        style: the style that answers.
        journal: the journals.
        key: its key.
        accepted: when it was accepted, in seconds of the service's clock.
    """
    # Under a plain `Site` the request is Twisted's own, which does not have the two attributes.
    number = getattr(request, "request_id", b"")
    asked = Asked(number, style, request.method[:MAX_TEXT], request.uri[:MAX_TEXT], time(), accepted)
    return journal.begin(key, asked, getattr(request, "connection", request.channel))


def watch(request: ServedRequest, answer: SteeredAnswer, record: Record, clock: IReactorTime) -> None:
    """Note the end of a request when it comes."""
    request.notifications.append(_Watch(request, answer, record, clock))


@attrs.define(eq=False)
class _Watch:
    """The end of a request, as it is noted.

    Twisted's request calls one of the two methods, as it does with the Deferreds of `notifyFinish`. A Deferred would
    cost three times as much, and nothing here needs one.

    An answer ends before its last bytes are written. So the gap to the next request is never shorter than the time that
    the client waited between the two.
    """

    _request: ServedRequest
    _answer: SteeredAnswer
    _record: Record
    _clock: IReactorTime

    def callback(self, _: None) -> None:
        """Note that the request is finished."""
        self._end("refused" if self._answer.measured is None else "answered", None)

    def errback(self, reason: Failure | BaseException) -> None:
        """Note that the connection is lost."""
        if isinstance(reason, Failure):
            self._end(*_lost(self._request, self._answer, reason))
        else:
            # The answer is dismissed for another, which ends when it is finished.
            self._request.notifications.append(self)

    def _end(self, ended: Ended, left_by: LeftBy | None) -> None:
        request, answer = self._request, self._answer
        measured = None if answer.measured is None else round(answer.measured * 1000, 3)
        status = request.code if request.startedWriting else None
        ours = ended in _OURS or getattr(request, "broken", False)
        at = answer.written if ours and answer.written else self._clock.seconds()
        self._record.end(End(ended, at, status, measured, left_by))


def refused(problem: Problem, now: float) -> End:
    """Make the end of a request that is refused at once."""
    return End("refused", now, problem.status)


def given_key(fields: Sequence[tuple[str, str]], query: bytes) -> str | None:
    """Find the key of a request whose parameters are refused.

    The result is None without a key, with two, and with a wrong one.

    Args:
        fields: names and texts of the parameters beside the query.
        query: the query; empty where parameters are not read from it.
    """
    every = [*fields, *(split_query(query) if b"key" in query else ())]
    keys = [text for name, text in every if name == "key"]
    return keys[0] if len(keys) == 1 and KEY.fullmatch(keys[0]) else None


def _lost(request: ServedRequest, answer: SteeredAnswer, failure: Failure) -> tuple[Ended, LeftBy | None]:
    """Return how a request ended whose connection was lost, and how its client left."""
    # Under a plain `Site` the request is Twisted's own, which has neither attribute.
    cause = cast("CauseOfEnd", getattr(request, "end", "left"))
    if getattr(request, "broken", False):
        return "broken", None
    # A fault that hangs waits for the client to leave.
    if answer.fault is not None and not answer.hanging:
        return "fault", None
    if cause == "goaway":
        return "reset", "GOAWAY"
    if cause != "left" or failure.check(ConnectionAborted):
        return "broken", None
    if failure.check(ConnectionDone) or failure.value is CONNECTION_LOST:
        # Twisted's own TLS gives CONNECTION_LOST for FIN and for RST, if there was no close_notify before.
        return "left", None if failure.value is CONNECTION_LOST else "FIN"
    return "reset", _reset_by(request, str(failure.value))


def _reset_by(request: ServedRequest, reason: str) -> LeftBy:
    if request.clientproto != b"HTTP/2":
        return "RST"
    # Both stacks report the reset of a stream by these words alone; a lost connection has no such words.
    if "GOAWAY" in reason:
        return "GOAWAY"
    return "RST_STREAM" if "stream" in reason.lower() else "RST"

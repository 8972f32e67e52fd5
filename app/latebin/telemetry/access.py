"""The access log: one event for each answer and each disconnect, in every style."""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from latebin.answers.interfaces import ServedRequest

NAMESPACE: Final = "latebin.access"

_FORMAT: Final = "{{style}} {{method}} {{target}} {{status}} {} sent={{sent}}B {{address}} {{request_id}}{{turn}}"

FORMAT: Final = _FORMAT.format("asked={asked_ms}ms measured={measured_ms}ms")
"""The text of an event, for any observer that formats it."""

UNPROMISED: Final = _FORMAT.format("asked=- measured=-")
"""The same for a request without a pending answer."""


class AccessLog:
    """The end of each request, as an event for the observers of `twisted.logger`.

    An event has, beside the library's own keys:

    - `style`, `method`, `path` and `query`.
    - `status`: a number, the fault that ended the answer, `broken` if an upstream ended it, or one of
      `latebin.core.ends.ENDS`.
    - `code`: the status that was sent, also if the answer did not become whole; 0 if none was sent.
    - `ended`: how an incomplete answer ended, as in `status`; None for a whole one.
    - `n`: the turn of a key, or else of a seed; None without either. `turn` is the same as text.
    - `asked_ms` and `measured_ms`: None for a request without a pending answer. After a disconnect, the time until it
      is the measured one.
    - `sent`: bytes of body.
    - `address` and `request_id`.

    All that a caller sent is escaped: an event holds printable ASCII only.

    An event goes straight to the publisher. `Logger.info` would check each time that its level is one of the levels,
    which takes longer than all the rest.

    Args:
        clock: the clock that measures the answers.
        publish: the function that the events go to.
    """

    def __init__(self, clock: IReactorTime, publish: Callable[[LogEvent], None] = globalLogPublisher) -> None:
        self._clock = clock
        self._publish = publish

    def answered(self, request: ServedRequest) -> None:
        """Log an answer that was given."""
        self._emit(request, request.code, None)

    def left(self, request: ServedRequest) -> None:
        """Log a connection that was lost before the answer was whole, with its end."""
        answer = request.pending_answer
        fault = None if answer is None else answer.fault
        ended = "broken" if request.broken else fault or request.end
        # The code is 200 before any status is set.
        self._emit(request, request.code if request.startedWriting else 0, ended)

    def _emit(self, request: ServedRequest, code: int, ended: str | None) -> None:
        target = _printable(request.uri)
        path, _, query = target.partition("?")
        asked = measured = n = None
        answer = request.pending_answer
        if answer is not None:
            seconds = self._clock.seconds() - answer.accepted if answer.measured is None else answer.measured
            asked, measured, n = answer.plan.asked_ms, round(seconds * 1000, 3), answer.turn
        self._publish(
            {
                "log_time": time.time(),
                "log_level": LogLevel.info,
                "log_namespace": NAMESPACE,
                "log_format": UNPROMISED if answer is None else FORMAT,
                "style": request.style,
                "method": _printable(request.method),
                "target": target,
                "path": path,
                "query": query,
                "status": ended or code,
                "code": code,
                "ended": ended,
                "asked_ms": asked,
                "measured_ms": measured,
                "sent": request.sentLength,
                "address": getattr(request.client, "host", None),
                "request_id": request.request_id.decode("ascii"),
                "n": n,
                "turn": "" if n is None else f" n={n}",
            }
        )


@lru_cache(maxsize=256)
def _printable(text: bytes) -> str:
    """Write a part of a request as one word; a space would begin another field."""
    if text.isascii() and b"\\" not in text and b" " not in text and (plain := text.decode("ascii")).isprintable():
        return plain or "-"
    return text.decode("latin-1").encode("unicode_escape").decode("ascii").replace(" ", r"\x20")

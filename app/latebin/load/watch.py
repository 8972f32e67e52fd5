"""A reader of streams, which finds out whether a proxy holds events back."""

import http.client
import json
import ssl
from collections.abc import Callable, Sequence
from math import isfinite
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import attrs

from latebin.load.schedule import RunError
from latebin.load.target import parse

if TYPE_CHECKING:
    from socket import socket

HELD: Final = 0.1
"""Seconds that an event must be held back to count as buffered; jitter of a network is below that."""

TOGETHER: Final = 0.002
"""Seconds between two arrivals that belong to one burst."""

MAX_LINE: Final = 1024**2
"""Bytes of the longest line that is read; a longer one is not an event of this service."""

ROOM: Final = 64 * 1024


class WatchError(Exception):
    """The reason why a stream cannot be watched."""


@attrs.frozen
class Arrival:
    """One event of a stream, as it left and as it came.

    Attributes:
        number: the event's number, as the service counts.
        due: seconds from the acceptance of the request to the moment when the event was to leave.
        left: seconds to the moment when it left.
        came: seconds from the sending of the request to the moment when the event came.
    """

    number: int
    due: float
    left: float
    came: float


@attrs.frozen
class Burst:
    """Events that left at different times, and came at once.

    Attributes:
        number: how many events.
        held: seconds that the first of them was held back.
    """

    number: int
    held: float


@attrs.frozen
class Watched:
    """A stream that was watched.

    Attributes:
        arrivals: its events, in the order of their arrival.
        whole: whether the stream came to its end; otherwise it broke off, or the time for watching was up.
        broken: why it broke off; empty where it did not.
    """

    arrivals: Sequence[Arrival]
    whole: bool = True
    broken: str = ""

    def held(self) -> list[float]:
        """Return the seconds that each event was held back, compared with the least delayed one.

        The clocks of both ends need not agree: the least time between leaving and coming counts as the time of the way.
        """
        least = min((each.came - each.left for each in self.arrivals), default=0.0)
        return [each.came - each.left - least for each in self.arrivals]

    def burst(self) -> Burst | None:
        """Return the burst whose first event was held back longest; None without any."""
        held = self.held()
        worst: Burst | None = None
        start = 0
        for stop in range(1, len(held) + 1):
            if stop < len(held) and self.arrivals[stop].came - self.arrivals[stop - 1].came <= TOGETHER:
                continue
            spread = self.arrivals[stop - 1].left - self.arrivals[start].left
            found = Burst(stop - start, max(held[start:stop]))
            if min(spread, found.held) >= HELD and (worst is None or found.held > worst.held):
                worst = found
            start = stop
        return worst


def watch(
    url: str,
    *,
    longest: float,
    most: int,
    context: ssl.SSLContext | None = None,
    clock: Callable[[], float] = monotonic,
) -> Watched:
    """Read a stream of this service, directly or through a proxy.

    Args:
        url: `http` or `https`.
        longest: seconds after which the watching ends.
        most: the number of events after which it ends.
        context: how to check the certificate of an `https` URL; None for the system's own way.
        clock: seconds of a clock that never goes back.

    Raises:
        WatchError: nothing answers, or the answer is not a stream of this service.
    """
    connection, target = _connection(url, longest, context)
    try:
        sent = clock()
        connection.request("GET", target, headers={"Accept": "text/event-stream, application/x-ndjson"})
        # The response keeps the socket open, also when the connection has let go of it.
        line: socket = connection.sock
        response = connection.getresponse()
        _check(response)

        def in_time() -> bool:
            """Return whether there is time left, which is how long the next read may take."""
            left = sent + longest - clock()
            if left > 0:
                line.settimeout(left)
            return left > 0

        return _read(response, most, in_time, lambda: clock() - sent)
    except (OSError, http.client.HTTPException) as error:
        raise WatchError(f"{url}: {_reason(error)}") from error
    finally:
        connection.close()


def _connection(url: str, longest: float, context: ssl.SSLContext | None) -> tuple[http.client.HTTPConnection, str]:
    try:
        target = parse(url, 0.0)
    except RunError as error:
        raise WatchError(str(error)) from None
    if target.secure:
        return http.client.HTTPSConnection(target.host, target.port, timeout=longest, context=context), target.resource
    return http.client.HTTPConnection(target.host, target.port, timeout=longest), target.resource


def _reason(error: Exception) -> str:
    """Return the text of an error, which a server may have chosen, for a terminal."""
    text = str(error) or type(error).__name__
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _check(response: http.client.HTTPResponse) -> None:
    """Refuse an answer that can be no stream of this service.

    Raises:
        WatchError: with the reason.
    """
    location, coding = response.getheader("Location"), response.getheader("Content-Encoding", "identity")
    if response.status != http.client.OK:
        where = "" if location is None else f": it redirects to {location!r}"
        raise WatchError(f"the answer has status {response.status}, not 200{where}")
    if coding.lower() != "identity":
        raise WatchError(f"the answer is compressed ({coding!r}), though nothing asked for that")


def _read(
    response: http.client.HTTPResponse, most: int, in_time: Callable[[], bool], elapsed: Callable[[], float]
) -> Watched:
    arrivals: list[Arrival] = []
    rest = b""
    while len(arrivals) < most and in_time():
        try:
            data = response.read1(ROOM)
        except TimeoutError:
            break
        except (OSError, http.client.HTTPException) as error:
            return _events(arrivals, broken=_reason(error))
        came = elapsed()
        if not data:
            missing = response.length or 0
            return _events(arrivals, whole=not missing, broken=f"{missing} bytes are missing" if missing else "")
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > MAX_LINE:
            raise WatchError("the answer is not a stream of this service: a line is too long")
        arrivals.extend(each for each in (_arrival(line, came) for line in lines) if each is not None)
    return _events(arrivals[:most])


def _events(arrivals: Sequence[Arrival], *, whole: bool = False, broken: str = "") -> Watched:
    if not arrivals:
        raise WatchError("no event of this service came: expected type=sse, type=ndjson, /sse or /jsonl")
    return Watched(arrivals, whole, broken)


def _arrival(line: bytes, came: float) -> Arrival | None:
    """Read a line; None for any that is not an event, such as a comment."""
    try:
        members: Any = json.loads(line.removeprefix(b"data:"))
        number = members["n"] if "n" in members else members["id"] + 1
        arrival = Arrival(int(number), members["due_ms"] / 1000, members["left_ms"] / 1000, came)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    # JSON as Python reads it may be infinite.
    return arrival if isfinite(arrival.due) and isfinite(arrival.left) else None

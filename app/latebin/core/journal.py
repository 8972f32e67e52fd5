"""The journal of a key: its requests, their ends, and a summary of its client."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final, Literal

import attrs

MOST_ENTRIES: Final = 10_000
"""Entries of all keys together."""

MOST_OF_KEY: Final = 1_000
"""Entries of one key."""

MAX_TEXT: Final = 400
"""The most bytes that are kept of a method, or of a target."""

Ended = Literal["answered", "left", "reset", "fault", "refused", "broken"]

ENDED: Final[dict[Ended, str]] = {
    "answered": "a whole answer was sent; `status` is its status",
    "left": "the client closed its connection before that (FIN)",
    "reset": "the client reset its connection or its stream before that",
    "fault": "the fault that was asked for took the place of the answer",
    "refused": "a problem took the place of the planned answer",
    "broken": "an upstream or the service broke the answer off",
}
"""The ends of a request, each with its meaning."""

LeftBy = Literal["FIN", "RST", "RST_STREAM", "GOAWAY"]

LEFT_BY: Final[tuple[LeftBy, ...]] = "FIN", "RST", "RST_STREAM", "GOAWAY"
"""The ways in which a client leaves, as the transport shows them."""

FAILED: Final = 400
"""The least status of an answer that a client may take for a failure."""

NOISE_MS: Final = 10.0
NOISE: Final = 0.05
"""Two times are the same if they differ by at most NOISE_MS, or by this share of the greater one."""

GROWTH: Final = 1.5
"""The factor by which later back-offs exceed earlier ones, if they grow."""

LEAST_FOR_GROWTH: Final = 2
LEAST_FOR_JITTER: Final = 3
"""Back-offs that are enough to judge."""


@attrs.define(eq=False)
class Asked:
    """A request as it came, never changed; a frozen class would take longer to make.

    Attributes:
        id: its X-Request-ID.
        style: the style that answers.
        method: its method, cut to MAX_TEXT bytes.
        target: its target, cut likewise.
        at: the time of day when it came, in seconds since 1970.
        accepted: the same in seconds of the service's clock.
    """

    id: bytes
    style: str
    method: bytes
    target: bytes
    at: float
    accepted: float


@attrs.define(eq=False)
class End:
    """The end of a request, never changed.

    Attributes:
        ended: its kind, one of ENDED.
        at: when it ended, in seconds of the service's clock: for an answer, before its last bytes left.
        status: the status that was sent; None if none was.
        measured_ms: the measured delay; None if the request ended before its answer.
        left_by: the way in which the client left, one of LEFT_BY; None if it did not, or if the transport hides it.
    """

    ended: Ended
    at: float
    status: int | None = None
    measured_ms: float | None = None
    left_by: LeftBy | None = None


@attrs.define(eq=False)
class Entry:
    """One request in the journal of its key.

    Attributes:
        asked: the request as it came.
        overlaps: how many requests of the key were pending when it came.
        gap_ms: the time since the request before it ended; None for the first, and while that one is pending.
        connection: the number of its connection among those of the key.
        n: its turn among the requests of the key; None without one.
        asked_ms: the delay that it asked for; None for a request without a plan.
        end: its end; None while it is pending.
    """

    asked: Asked
    overlaps: int
    gap_ms: float | None
    connection: int
    n: int | None = None
    asked_ms: float | None = None
    end: End | None = None

    @property
    def left_after_ms(self) -> float | None:
        """The time from the acceptance until the client left; None if it did not."""
        if self.end is None or self.end.ended not in {"left", "reset"}:
            return None
        return round((self.end.at - self.asked.accepted) * 1000, 3)

    @property
    def failed(self) -> bool:
        """Whether there was no answer, or one with a status of 400 or more."""
        return self.end is not None and (self.end.ended != "answered" or (self.end.status or 0) >= FAILED)

    def as_json(self) -> dict[str, Any]:
        """Return the entry with the names and units of the documents."""
        asked, end = self.asked, self.end
        path, _, query = asked.target.decode("latin-1").partition("?")
        return {
            "n": self.n,
            "id": asked.id.decode("latin-1"),
            "style": asked.style,
            "method": asked.method.decode("latin-1"),
            "path": path,
            "query": query,
            "at": datetime.fromtimestamp(asked.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "asked_ms": self.asked_ms,
            "measured_ms": None if end is None else end.measured_ms,
            "status": None if end is None else end.status,
            "ended": None if end is None else end.ended,
            "left_after_ms": self.left_after_ms,
            "left_by": None if end is None else end.left_by,
            "gap_ms": self.gap_ms,
            "overlaps": self.overlaps,
            "connection": self.connection,
        }


@attrs.frozen
class Kept:
    """The journal of one key.

    Attributes:
        entries: its requests in the order of acceptance.
        complete: whether these are all.
    """

    entries: Sequence[Entry] = ()
    complete: bool = True

    @property
    def ended(self) -> int:
        """How many of the requests have ended."""
        return sum(entry.end is not None for entry in self.entries)

    def as_json(self) -> dict[str, Any]:
        """Return the journal with its summary."""
        return {
            "requests": [entry.as_json() for entry in self.entries],
            "summary": summary(self.entries),
            "complete": self.complete,
        }

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield the requests, and behind them a note if some were dropped."""
        for entry in self.entries:
            yield entry.as_json()
        if not self.complete:
            yield {"complete": False}


def summary(entries: Sequence[Entry]) -> dict[str, Any]:
    """Summarise the behaviour of a client.

    A figure is None where there is too little to judge by.

    The back-offs of the client are the gaps behind failures, in the longest series of requests without a success.

    Args:
        entries: the requests of a key, in the order of acceptance.
    """
    gaps = [entry.gap_ms for entry in entries if entry.gap_ms is not None]
    back_offs = _back_offs(entries)
    return {
        "attempts": len(entries),
        "least_gap_ms": min(gaps, default=None),
        "median_gap_ms": _middle(gaps) if gaps else None,
        "greatest_gap_ms": max(gaps, default=None),
        "timeout_ms": _timeout([left for entry in entries if (left := entry.left_after_ms) is not None]),
        "backoff_grows": grows(back_offs),
        "backoff_jittered": is_jittered(back_offs),
    }


def grows(back_offs: Sequence[float]) -> bool | None:
    """Return whether back-offs in ms grow.

    They do if the median of the later half is at least GROWTH times that of the earlier half. Of an odd number, the
    middle one counts for neither half. With fewer than two, the result is None.
    """
    if len(back_offs) < LEAST_FOR_GROWTH:
        return None
    half = len(back_offs) // 2
    earlier, later = _middle(back_offs[:half]), _middle(back_offs[-half:])
    return later >= max(earlier * GROWTH, earlier + NOISE_MS)


def is_jittered(back_offs: Sequence[float]) -> bool | None:
    """Return whether back-offs in ms follow no rule.

    The rules are a constant difference and a constant factor, up to a greatest one that repeats. A first back-off below
    NOISE_MS is left out, because some clients try again at once. With fewer than three others, the result is None.
    """
    rest = list(back_offs[1:] if back_offs and back_offs[0] < NOISE_MS else back_offs)
    if len(rest) < LEAST_FOR_JITTER:
        return None
    if _same(rest[-1], rest[-2]) and _same(rest[-1], max(rest)):
        # The greatest one may be less than the rule leads to.
        greatest = rest[-1]
        while rest and _same(rest[-1], greatest):
            rest.pop()
    triples = list(zip(rest, rest[1:], rest[2:], strict=False))
    by_difference = all(_same(c, 2 * b - a) for a, b, c in triples)
    by_factor = all(a > 0 and _same(c, b * b / a) for a, b, c in triples)
    return not (by_difference or by_factor)


def _back_offs(entries: Sequence[Entry]) -> list[float]:
    """Return the gaps in the longest series of requests of which each follows a failure."""
    longest: list[float] = []
    series: list[float] = []
    for before, entry in pairwise(entries):
        if not before.failed or entry.gap_ms is None:
            series = []
            continue
        series.append(entry.gap_ms)
        if len(series) > len(longest):
            longest = series
    return list(longest)


def _timeout(left: Sequence[float]) -> float | None:
    """Return the timeout in ms that a client seems to have.

    It is the median of the times after which the client left, if at least half of these are about the same.
    """
    if not left:
        return None
    middle = _middle(left)
    return middle if 2 * sum(_same(each, middle) for each in left) >= len(left) else None


def _middle(values: Sequence[float]) -> float:
    # The standard library's `statistics` takes longer to import than all the rest of this.
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else round((ordered[half - 1] + ordered[half]) / 2, 3)


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= max(NOISE_MS, NOISE * max(one, other))

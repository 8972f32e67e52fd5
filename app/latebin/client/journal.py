"""The journal of a key, as `/control/journal` shows it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One request of the client under test.

    Attributes:
        n: its turn among the requests of the key; None without one.
        id: its X-Request-ID.
        style: the style that answered.
        method: its method.
        path: its path.
        query: its query.
        at: the time of day when it came, as ISO 8601 has it.
        asked_ms: the delay that it asked for; None for a request without a plan.
        measured_ms: the measured delay; None if the request ended before its answer.
        status: the status that was sent; None if none was.
        ended: its end, such as `answered` or `left`; None while it is pending.
        left_after_ms: the time until the client left; None if it did not.
        left_by: the way in which the client left, such as `FIN`; None if it did not.
        gap_ms: the time since the request before it ended.
        overlaps: how many requests of the key were pending when it came.
        connection: the number of its connection among those of the key.
    """

    n: int | None = None
    id: str = ""
    style: str = ""
    method: str = ""
    path: str = ""
    query: str = ""
    at: str = ""
    asked_ms: float | None = None
    measured_ms: float | None = None
    status: int | None = None
    ended: str | None = None
    left_after_ms: float | None = None
    left_by: str | None = None
    gap_ms: float | None = None
    overlaps: int = 0
    connection: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """The behaviour of a client.

    A figure is None where there is too little to judge by.

    Attributes:
        attempts: how many requests there are.
        least_gap_ms: the least time between the end of a request and the next request.
        median_gap_ms: the median of these times.
        greatest_gap_ms: the greatest of these times.
        timeout_ms: the timeout that the client seems to have.
        backoff_grows: whether the back-off grows.
        backoff_jittered: whether the back-off is jittered.
    """

    attempts: int = 0
    least_gap_ms: float | None = None
    median_gap_ms: float | None = None
    greatest_gap_ms: float | None = None
    timeout_ms: float | None = None
    backoff_grows: bool | None = None
    backoff_jittered: bool | None = None


@dataclass(frozen=True, slots=True)
class Journal:
    """The requests with a key, and a summary of them.

    Attributes:
        requests: the requests in the order of acceptance.
        summary: the behaviour of the client.
        complete: whether these are all requests; false if some were dropped.
    """

    requests: tuple[JournalEntry, ...]
    summary: Summary
    complete: bool

    @classmethod
    def read(cls, members: Mapping[str, Any]) -> "Journal":
        """Read a journal from its JSON."""
        requests = tuple(known(JournalEntry, each) for each in members["requests"])
        return cls(requests, known(Summary, members["summary"]), members["complete"])


def known(kind: type[T], members: Mapping[str, Any]) -> T:
    """Make a dataclass of its own members alone, which a newer service exceeds."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]  # each kind is a dataclass
    return kind(**{name: value for name, value in members.items() if name in names})

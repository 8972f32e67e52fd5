"""Access logs as traces: the time of each request, of which a trace is made."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

import attrs

_MILLI: Final = 1e-3

_OURS: Final = re.compile(r" (\S+) asked=\S+ measured=([0-9.]+)ms ")

_ENVOY: Final = re.compile(
    r'^\[[^\]]+\] "[^"]*" [0-9]+ \S+ (?:\S+ \S+ "[^"]*" )?[0-9]+ [0-9]+ (?P<total>[0-9]+) (?P<upstream>[0-9]+|-)(?: |$)'
)
"""Envoy's default format: the duration and the upstream's time in milliseconds stand behind two numbers of bytes."""

_HAPROXY: Final = re.compile(r" -?[0-9]+/-?[0-9]+/-?[0-9]+/(?P<upstream>-?[0-9]+)/(?P<total>\+?-?[0-9]+) [0-9-]+ ")
"""HAProxy's `option httplog`: TR/Tw/Tc/Tr/Ta in milliseconds, -1 for a step that was not reached."""

_COMBINED: Final = re.compile(r'"[A-Z]+ \S+ HTTP/[0-9.]+" [0-9]{3} [0-9-]+')

_NAMED: Final = {
    "total": re.compile(r"\b(?:request_time|rt)[=:]\"?([0-9]+\.[0-9]+)"),
    "upstream": re.compile(r"\b(?:upstream_response_time|urt|uct_urt)[=:]\"?([0-9]+\.[0-9]+)"),
}
"""The variables of nginx, as its documentation and its users name them in a format."""

_LAST: Final = re.compile(r"[\s\"]([0-9]+\.[0-9]{3})\"?(?:\s+\"?([0-9]+\.[0-9]{3}|-)\"?)?\s*$")
"""`$request_time`, and perhaps `$upstream_response_time`, at the end of a line of nginx."""


@attrs.define
class Found:
    """The times of an access log, with an account of its lines.

    Attributes:
        seconds: the times in the order of the log.
        taken: how many lines were taken, by the format that they have.
        skipped: how many were not, by the reason.
    """

    seconds: list[float] = attrs.field(factory=list)
    taken: Counter[str] = attrs.field(factory=Counter)
    skipped: Counter[str] = attrs.field(factory=Counter)


def times(lines: Iterable[str], *, upstream: bool = False, most: int) -> Found:
    """Read the times of requests from a log of nginx, HAProxy, Envoy, or this service.

    Args:
        lines: the lines of the log.
        upstream: whether to take the upstream's own time where a format has both, and not the time of the request.
        most: the most times to take; further lines are counted as skipped.
    """
    found = Found()
    for line in lines:
        kind, seconds = _time(line, "upstream" if upstream else "total")
        if seconds is None:
            found.skipped[kind] += 1
        elif len(found.seconds) == most:
            found.skipped[f"beyond {most} times"] += 1
        else:
            found.taken[kind] += 1
            found.seconds.append(seconds)
    return found


def _time(line: str, which: str) -> tuple[str, float | None]:
    """Return the format and the seconds of a line, or the reason and None."""
    if not line.strip():
        return "blank", None
    for found in _formats(line, which):
        return found
    return ("without a time" if _COMBINED.search(line) else "not a request of a known format"), None


def _formats(line: str, which: str) -> Iterator[tuple[str, float | None]]:
    if line.startswith("{"):
        yield from _json(line, which)
    if ours := _OURS.search(line):
        yield _whole("latebin", float(ours[2]) if ours[1].isdigit() else -1)
    if envoy := _ENVOY.search(line):
        text = envoy[which]
        yield ("without a time of the upstream", None) if text == "-" else _whole("Envoy", float(text))
    if haproxy := _HAPROXY.search(line):
        # A plus marks a time up to the last byte that was logged before the end (`option logasap`).
        yield _whole("HAProxy", float(haproxy[which].lstrip("+")))
    if named := _NAMED[which].search(line):
        yield "nginx", float(named[1])
    if (last := _LAST.search(line)) and _COMBINED.search(line):
        text = last[1] if which == "total" or last[2] is None else last[2]
        yield ("without a time of the upstream", None) if text == "-" else ("nginx", float(text))


def _json(line: str, which: str) -> Iterator[tuple[str, float | None]]:
    """Read a line of JSON, as this service and nginx with `escape=json` write it."""
    try:
        members: Any = json.loads(line)
        if isinstance(members.get("measured_ms"), int | float):
            yield _whole("latebin", -1 if members.get("ended") else members["measured_ms"])
        for name in ("upstream_response_time", "request_time") if which == "upstream" else ("request_time",):
            if name in members:
                yield "nginx", float(members[name])
    except (ValueError, TypeError, AttributeError):
        return


def _whole(kind: str, milliseconds: float) -> tuple[str, float | None]:
    return (kind, milliseconds * _MILLI) if milliseconds >= 0 else ("not answered", None)

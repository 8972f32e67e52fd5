"""Access logs as traces: the time of each request, of which a trace is made."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

import attrs

_MILLI: Final = 1e-3

_NUMBER: Final = r"[0-9]{1,12}(?:\.[0-9]{1,9})?"

_OURS: Final = re.compile(rf" (\S+) asked=\S+ measured=({_NUMBER})ms ")

_ENVOY: Final = re.compile(
    r'^\[[^\]]+\] "[^"]*" [0-9]+ \S+ (?:\S+ \S+ "[^"]*" )?[0-9]+ [0-9]+ '
    r"(?P<total>[0-9]{1,12}) (?P<upstream>[0-9]{1,12}|-)(?: |$)"
)
"""Envoy's default format: the duration and the upstream's time in milliseconds stand behind two numbers of bytes."""

_HAPROXY: Final = re.compile(
    r" -?[0-9]+/-?[0-9]+/-?[0-9]+/(?P<upstream>-?[0-9]{1,12})/(?P<total>\+?-?[0-9]{1,12}) [0-9-]+ "
)
"""HAProxy's `option httplog`: TR/Tw/Tc/Tr/Ta in milliseconds, -1 for a step that was not reached."""

_COMBINED: Final = re.compile(r'"[A-Z]+ \S+ HTTP/[0-9.]+" [0-9]{3} [0-9-]+')

_WITHOUT: Final = re.compile(r'" [0-9]{3} [0-9-]+ "[^"]*" "[^"]*"\s*$')
"""The end of a line in the combined format, whose last text is the name of the client's program."""

_QUOTED: Final = re.compile(r'([=:]?)"(?:[^"\\]|\\.)*"')
"""A text that a client may have chosen, such as a request line; the value of a name is not one."""

_TIME: Final = r"[0-9]{1,12}\.[0-9]{3}"

_TIMES: Final = rf"(?:{_TIME}|-)(?:(?:, | : )(?:{_TIME}|-))*"
"""The times of each upstream that nginx has asked for one request."""

_NAMED: Final = {
    "total": re.compile(rf'\b(?:request_time|rt)[=:]"?({_TIME})(?![0-9])'),
    "upstream": re.compile(rf'\b(?:upstream_response_time|urt|uct_urt)[=:]"?({_TIMES})(?![0-9])'),
}
"""The variables of nginx, as its documentation and its users name them in a format."""

_LAST: Final = re.compile(
    rf'(?<!\.[0-9]{{3}})(?<!\.[0-9]{{3}}")(?<!,)(?<! :)\s(?P<q>"?)(?P<total>{_TIME})(?P=q)'
    rf'(?:\s+(?P<p>"?)(?P<upstream>{_TIMES})(?P=p))?\s*$'
)
"""`$request_time`, and perhaps `$upstream_response_time`, at the end of a line of nginx; of three, none is known."""

LONGEST: Final = 1e9
"""Seconds of the longest time, as of any delay."""


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
    for kind, seconds in _formats(line, which):
        return (kind, seconds) if seconds is None or seconds <= LONGEST else ("longer than any delay", None)
    return ("without a time" if _COMBINED.search(line) else "not a request of a known format"), None


def _formats(line: str, which: str) -> Iterator[tuple[str, float | None]]:
    if line.startswith("{"):
        yield from _json(line, which)
    if envoy := _ENVOY.search(line):
        text = envoy[which]
        yield _NO_UPSTREAM if text == "-" else _whole("Envoy", float(text))
    bare = _QUOTED.sub(lambda text: text[0] if text[1] else '""', line)
    if ours := _OURS.search(bare):
        yield _whole("latebin", float(ours[2]) if ours[1].isdigit() else -1)
    if haproxy := _HAPROXY.search(bare):
        # A plus marks a time up to the last byte that was logged before the end (`option logasap`).
        yield _whole("HAProxy", float(haproxy[which].lstrip("+")))
    if named := _NAMED[which].search(bare):
        yield _nginx(named[1])
    if _COMBINED.search(line) and not _WITHOUT.search(line) and (last := _LAST.search(line)):
        yield _nginx(last[which] or last["total"])


def _nginx(text: str) -> tuple[str, float | None]:
    """Add up the times of the upstreams; a dash is one without an answer."""
    times = [float(each) for each in re.findall(_NUMBER, text)]
    return ("nginx", sum(times)) if times else _NO_UPSTREAM


def _json(line: str, which: str) -> Iterator[tuple[str, float | None]]:
    """Read a line of JSON, as this service and nginx with `escape=json` write it."""
    try:
        members: Any = json.loads(line)
    except (ValueError, RecursionError):
        return
    upstream = which == "upstream"
    if "measured_ms" in members:
        yield from _member("latebin", -1 if members.get("ended") else members["measured_ms"], _MILLI)
    # Names that an operator of Envoy chooses, as Istio has them.
    if members.keys() >= {"duration", "response_flags"}:
        yield from _member("Envoy", members.get("upstream_service_time") if upstream else members["duration"], _MILLI)
    if upstream and "upstream_response_time" in members:
        yield from _upstreams(members["upstream_response_time"])
    if "request_time" in members:
        yield from _member("nginx", members["request_time"], 1.0)


def _upstreams(value: object) -> Iterator[tuple[str, float | None]]:
    if isinstance(value, str):
        yield _nginx(value)
    else:
        yield from _member("nginx", value, 1.0)


def _member(kind: str, value: object, unit: float) -> Iterator[tuple[str, float | None]]:
    """Read a number, or the text of one, in a unit of seconds."""
    if value in (None, "", "-"):
        yield _NO_UPSTREAM
    elif isinstance(value, str) and re.fullmatch(_NUMBER, value):
        yield kind, float(value) * unit
    elif isinstance(value, int | float) and not isinstance(value, bool) and value == value:  # noqa: PLR0124  # no NaN
        yield (kind, min(value, 2 * LONGEST / unit) * unit) if value >= 0 else ("not answered", None)


_NO_UPSTREAM: Final = ("without a time of the upstream", None)


def _whole(kind: str, milliseconds: float) -> tuple[str, float | None]:
    return (kind, milliseconds * _MILLI) if milliseconds >= 0 else ("not answered", None)

"""The log on standard output: each event as text or as a JSON object."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, Final, Protocol, cast

from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    eventAsText,
    formatEvent,
)
from zope.interface import provider

from latebin.telemetry.access import NAMESPACE

_ACCESS: Final = (
    "style",
    "method",
    "path",
    "query",
    "status",
    "asked_ms",
    "measured_ms",
    "sent",
    "address",
    "request_id",
    "ended",
    "n",
)
"""The keys of an access event that are written, all but one unchanged."""

_START: Final = ("urls", "port", "scenario")
"""The keys of an event about an endpoint that serves, which are written beside its message."""


class File(Protocol):
    """The log as an observer sees it."""

    def write(self, text: str, /) -> object: ...


def formatter(log_format: str, worker: int | None = None) -> Callable[[LogEvent], str]:
    """Return a function that formats an event as whole lines.

    Args:
        log_format: one of `latebin.core.settings.LOG_FORMATS`.
        worker: the number of this process among several, for JSON.
    """
    return as_text if log_format == "text" else partial(as_json, worker=worker)


def dropped(count: int) -> LogEvent:
    """Make the event that reports the number of dropped events."""
    return {
        "log_time": time.time(),
        "log_level": LogLevel.warn,
        "log_namespace": __name__,
        "log_format": "{dropped} log {lines} dropped",
        "dropped": count,
        "lines": "line was" if count == 1 else "lines were",
    }


def observer(file: File, written: Callable[[LogEvent], str]) -> ILogObserver:
    """Return an observer that writes the service's events, and the libraries' warnings and errors.

    Args:
        file: where to write; every event is one `write` of whole lines.
        written: formats an event.
    """

    # FilteringLogObserver and FileLogObserver together do the same, and take a microsecond more for each answer.
    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        namespace = event["log_namespace"]
        if namespace != NAMESPACE:
            least = LogLevel.info if namespace.startswith("latebin.") else LogLevel.warn
            if event["log_level"] < least:
                return
        file.write(written(event))

    return cast("ILogObserver", observe)


def as_text(event: LogEvent) -> str:
    """Write an event as text, with the id of its request and its traceback.

    A line that continues an event begins with a tab, so that a line break in a text cannot forge an event.
    """
    if event["log_namespace"] == NAMESPACE:
        # As the event's own format has it: the library's formatter takes ten times as long, for every answer.
        asked, measured = event["asked_ms"], event["measured_ms"]
        times = "asked=- measured=-" if asked is None else f"asked={asked}ms measured={measured}ms"
        return (
            f"{_time(event)} {event['style']} {event['method']} {event['target']} {event['status']} {times} "
            f"sent={event['sent']}B {event['address']} {event['request_id']}{event['turn']}\n"
        )
    about = f"{event['request_id']}: " if "request_id" in event else ""
    text = eventAsText(event, includeTimestamp=False, includeSystem=False).rstrip()
    if not text.isprintable():
        text = "".join(map(_printable, text))
    return f"{_time(event)} {about}{text}\n"


def _printable(character: str) -> str:
    if character.isprintable() or character == "\t":
        return character
    return "\n\t" if character == "\n" else character.encode("unicode_escape").decode("ascii")


def as_json(event: LogEvent, worker: int | None = None) -> str:
    """Write an event as one JSON object in one line.

    An access event has the keys that `latebin.telemetry.access.AccessLog` documents; any other has `message`, and
    `request_id` if it is about a request. All have `time` (RFC 3339, UTC), `level` and `namespace`; with several
    workers, `worker` is the number of the one that writes.
    """
    level, namespace = event["log_level"].name, event["log_namespace"]
    fields: dict[str, Any] = {"time": _time(event), "level": level, "namespace": namespace}
    if worker is not None:
        fields["worker"] = worker
    if namespace == NAMESPACE:
        fields |= {key: event[key] for key in _ACCESS}
        # Always a number, for stores of logs that give each key one type.
        fields["status"] = event["code"]
    else:
        if "log_failure" in event:
            fields["message"] = eventAsText(event, includeTimestamp=False, includeSystem=False)
        else:
            fields["message"] = formatEvent(event)
        if "urls" in event:
            fields |= {key: event[key] for key in _START}
        if "request_id" in event:
            fields["request_id"] = event["request_id"]
    return json.dumps(fields) + "\n"


def _time(event: LogEvent) -> str:
    milliseconds = int(event["log_time"] * 1000)
    return f"{_date(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")

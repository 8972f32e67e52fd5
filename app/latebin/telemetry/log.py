"""What the service writes to its standard output: a line an event, as text or as a JSON object."""

import fcntl
import io
import json
import os
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, Final, TextIO, cast

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
)
"""The keys of an access event that are written as they are."""


class Lines(io.TextIOBase):
    """A file that several processes write whole texts to, each text uninterrupted by another's.

    write(2) promises that of a pipe for PIPE_BUF bytes alone, pipe(7), which a traceback or a long URL is above. So
    the texts are kept apart by a record lock, fcntl(2): it belongs to a process, and is free again when that has died.

    Args:
        descriptor: of the file, which is not closed.
        lock: of another file, which the processes have in common; None where there is one process.
    """

    def __init__(self, descriptor: int, lock: int | None = None) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lock = lock

    def write(self, text: str) -> int:
        """Write a text at once, and completely."""
        data = text.encode("utf-8", "backslashreplace")
        if self._lock is None:
            self._write(data)
        else:
            fcntl.lockf(self._lock, fcntl.LOCK_EX)
            try:
                self._write(data)
            finally:
                fcntl.lockf(self._lock, fcntl.LOCK_UN)
        return len(text)

    def _write(self, data: bytes) -> None:
        written = os.write(self._descriptor, data)
        while written < len(data):
            written += os.write(self._descriptor, memoryview(data)[written:])


def observer(file: TextIO | Lines, log_format: str, worker: int | None = None) -> ILogObserver:
    """Write what the service says, and of what the libraries say whatever is a warning or worse.

    Args:
        file: where to write; every event is one `write` of whole lines.
        log_format: one of `latebin.core.settings.LOG_FORMATS`.
        worker: the number of this process among several, for JSON to tell.
    """
    written = as_text if log_format == "text" else partial(as_json, worker=worker)

    # FilteringLogObserver and FileLogObserver together do the same, and take a microsecond more for each answer.
    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event["log_namespace"] == NAMESPACE or _worth_writing(event):
            file.write(written(event))

    return cast("ILogObserver", observe)


def _worth_writing(event: LogEvent) -> bool:
    own = event["log_namespace"].startswith("latebin.")
    return bool(event["log_level"] >= (LogLevel.info if own else LogLevel.warn))


def as_text(event: LogEvent) -> str:
    """Write an event for a person to read: with the id of the request it is about, and its traceback behind it."""
    if event["log_namespace"] == NAMESPACE:
        return f"{_time(event)} {_access(event)}\n"
    about = f"{event['request_id']}: " if "request_id" in event else ""
    return f"{_time(event)} {about}{eventAsText(event, includeTimestamp=False, includeSystem=False)}\n"


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
    else:
        fields["message"] = _message(event)
        if "request_id" in event:
            fields["request_id"] = event["request_id"]
    return json.dumps(fields) + "\n"


def _access(event: LogEvent) -> str:
    """Say what the event's own format says; the library's formatter takes ten times as long, for every answer."""
    asked, measured = event["asked_ms"], event["measured_ms"]
    times = "asked=- measured=-" if asked is None else f"asked={asked}ms measured={measured}ms"
    return (
        f"{event['style']} {event['method']} {event['target']} {event['status']} {times} sent={event['sent']}B "
        f"{event['address']} {event['request_id']}"
    )


def _message(event: LogEvent) -> str:
    if "log_failure" in event:
        return eventAsText(event, includeTimestamp=False, includeSystem=False)
    return formatEvent(event)


def _time(event: LogEvent) -> str:
    milliseconds = int(event["log_time"] * 1000)
    return f"{_date(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")

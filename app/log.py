"""What the service writes to its standard output: a line an event, as text or as a JSON object."""

import json
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
    formatEvent,
)

_ACCESS: Final = ("style", "method", "path", "query", "status", "asked_ms", "measured_ms", "sent", "address")
"""The keys of an access event that are written as they are."""


def observer(file: TextIO, log_format: str) -> ILogObserver:
    """Write what the service says, and of what the libraries say whatever is a warning or worse.

    Args:
        file: where to write; every event is one `write` of whole lines.
        log_format: one of `app.settings.LOG_FORMATS`.
    """
    levels = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)
    levels.setLogLevelForNamespace("app", LogLevel.info)
    return FilteringLogObserver(FileLogObserver(file, {"text": as_text, "json": as_json}[log_format]), [levels])


def as_text(event: LogEvent) -> str:
    """Write an event for a person to read, with its traceback behind it if it has one."""
    return f"{_time(event)} {eventAsText(event, includeTimestamp=False, includeSystem=False)}\n"


def as_json(event: LogEvent) -> str:
    """Write an event as one JSON object in one line.

    An access event has the keys that `app.access.AccessLog` documents; any other has `message`. All have `time` (RFC
    3339, UTC), `level` and `namespace`.
    """
    level, namespace = event["log_level"].name, event["log_namespace"]
    fields: dict[str, Any] = {"time": _time(event), "level": level, "namespace": namespace}
    if namespace == "app.access":
        fields |= {key: event[key] for key in _ACCESS}
    else:
        fields["message"] = _message(event)
    return json.dumps(fields) + "\n"


def _message(event: LogEvent) -> str:
    if "log_failure" in event:
        return eventAsText(event, includeTimestamp=False, includeSystem=False)
    return formatEvent(event)


def _time(event: LogEvent) -> str:
    return datetime.fromtimestamp(event["log_time"], UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

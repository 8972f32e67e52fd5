"""What the service writes to its standard output: a line an event, as text or as a JSON object."""

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, TextIO

from constantly import NamedConstant
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    LogEvent,
    LogLevel,
    PredicateResult,
    eventAsText,
    formatEvent,
)
from zope.interface import provider

from app.access import NAMESPACE

_ACCESS: Final = ("style", "method", "path", "query", "status", "asked_ms", "measured_ms", "sent", "address")
"""The keys of an access event that are written as they are."""


def observer(file: TextIO, log_format: str) -> ILogObserver:
    """Write what the service says, and of what the libraries say whatever is a warning or worse.

    Args:
        file: where to write; every event is one `write` of whole lines.
        log_format: one of `app.settings.LOG_FORMATS`.
    """
    lines = FileLogObserver(file, {"text": as_text, "json": as_json}[log_format])
    return FilteringLogObserver(lines, [_worth_writing])


@provider(ILogFilterPredicate)
def _worth_writing(event: LogEvent) -> NamedConstant:
    # LogLevelFilterPredicate takes the namespace apart for each event, which is a fifth of what an answer's line costs.
    ours = event["log_namespace"].startswith("app.") and event["log_level"] >= LogLevel.info
    return PredicateResult.yes if ours or event["log_level"] >= LogLevel.warn else PredicateResult.no


def as_text(event: LogEvent) -> str:
    """Write an event for a person to read, with its traceback behind it if it has one."""
    if event["log_namespace"] == NAMESPACE:
        return f"{_time(event)} {_access(event)}\n"
    return f"{_time(event)} {eventAsText(event, includeTimestamp=False, includeSystem=False)}\n"


def as_json(event: LogEvent) -> str:
    """Write an event as one JSON object in one line.

    An access event has the keys that `app.access.AccessLog` documents; any other has `message`. All have `time` (RFC
    3339, UTC), `level` and `namespace`.
    """
    level, namespace = event["log_level"].name, event["log_namespace"]
    fields: dict[str, Any] = {"time": _time(event), "level": level, "namespace": namespace}
    if namespace == NAMESPACE:
        fields |= {key: event[key] for key in _ACCESS}
    else:
        fields["message"] = _message(event)
    return json.dumps(fields) + "\n"


def _access(event: LogEvent) -> str:
    """Say what the event's own format says; the library's formatter takes ten times as long, for every answer."""
    return (
        f"{event['style']} {event['method']} {event['target']} {event['status']} asked={event['asked']} "
        f"measured={event['measured']} sent={event['sent']}B {event['address']}"
    )


def _message(event: LogEvent) -> str:
    if "log_failure" in event:
        return eventAsText(event, includeTimestamp=False, includeSystem=False)
    return formatEvent(event)


def _time(event: LogEvent) -> str:
    second, fraction = divmod(event["log_time"], 1)
    return f"{_date(int(second))}.{int(fraction * 1000):03d}Z"


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")

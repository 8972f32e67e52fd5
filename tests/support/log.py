"""The log, as events and as lines."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from twisted.logger import LogEvent

from latebin.testing.process import Process
from tests.support.process import until

KEYS = ("style", "method", "path", "query", "status", "asked_ms", "measured_ms", "sent", "address")


def accesses(events: Sequence[LogEvent]) -> list[tuple[Any, ...]]:
    return [tuple(event[key] for key in KEYS) for event in events if event["log_namespace"] == "latebin.access"]


def records(lines: str) -> list[Any]:
    """Read a log in JSON, as far as its lines are whole."""
    return [json.loads(line) for line in lines.splitlines(keepends=True) if line.endswith("\n")]


def notable(lines: str) -> list[Any]:
    """Read from a log in JSON its access events, its warnings and its errors."""
    return [each for each in records(lines) if each["namespace"] == "latebin.access" or each["level"] != "info"]


def following(process: Process, path: str | None = None) -> Callable[[int], list[Any]]:
    """Return a function that waits for a number of records.

    The function returns the notable records that were written since this one was called.

    Args:
        process: a service whose log is in JSON.
        path: the path of the records; None for all records.
    """
    offset = len(process.log())

    def found() -> list[Any]:
        return [each for each in notable(process.log()[offset:]) if path is None or each.get("path") == path]

    def logged(count: int) -> list[Any]:
        until(lambda: len(found()) >= count)
        return found()

    return logged

import io
import json
import re

import pytest
from twisted.logger import Logger, LogPublisher
from twisted.python.failure import Failure

from latebin.telemetry.log import as_json, as_text, dropped, formatter, observer

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def written(log_format: str, namespace: str = "latebin.test") -> tuple[Logger, io.StringIO]:
    file = io.StringIO()
    return Logger(namespace, observer=LogPublisher(observer(file, formatter(log_format)))), file


def test_text() -> None:
    """An event is a line with its time, in UTC."""
    log, file = written("text")
    log.info("serving {what}", what="late")
    assert re.fullmatch(f"{TIME} serving late\n", file.getvalue())


def test_json() -> None:
    """As JSON, an event is an object in one line, its message formatted."""
    log, file = written("json")
    log.warn("two\nlines")
    event = json.loads(file.getvalue())
    assert re.fullmatch(TIME, event.pop("time"))
    assert event == {"level": "warn", "namespace": "latebin.test", "message": "two\nlines"}
    assert file.getvalue().count("\n") == 1


def test_traceback() -> None:
    """A failure brings its traceback along, in either format."""
    for log_format in ("text", "json"):
        log, file = written(log_format)
        log.failure("broken", Failure(ZeroDivisionError("late")))
        assert "ZeroDivisionError: late" in file.getvalue()


def test_libraries_are_quiet() -> None:
    """Of the libraries, what is less than a warning is not written."""
    log, file = written("text", "twisted.web")
    log.info("starting")
    log.warn("stumbling")
    assert "starting" not in file.getvalue()
    assert "stumbling" in file.getvalue()


def test_access_as_json() -> None:
    """An access event is written with its keys, and with no message beside them."""
    log, file = written("json", "latebin.access")
    fields = {
        "style": "klein",
        "method": "GET",
        "path": "/delayed",
        "query": "",
        "status": 0,
        "asked_ms": 5000.0,
        "measured_ms": None,
        "sent": 0,
        "address": "127.0.0.1",
        "request_id": "a-1",
        "ended": "left",
        "n": None,
    }
    log.info("text", **{**fields, "status": "left", "code": 0})
    event = json.loads(file.getvalue())
    del event["time"]
    assert event == {"level": "info", "namespace": "latebin.access", **fields}


def test_start_as_json() -> None:
    """The line of an endpoint has its URLs and its port in JSON."""
    log, file = written("json")
    log.info("serving {a}", a="b", urls=("http://a:1/b",), port=1, scenario=None)
    event = json.loads(file.getvalue())
    assert (event["message"], event["urls"], event["port"], event["scenario"]) == (
        "serving b",
        ["http://a:1/b"],
        1,
        None,
    )


def test_request_id() -> None:
    """An event that is about a request has its id, in either format."""
    log, file = written("json")
    log.warn("late", request_id="a-1")
    log.warn("later")
    assert [json.loads(line).get("request_id") for line in file.getvalue().splitlines()] == ["a-1", None]
    log, file = written("text")
    log.warn("late", request_id="a-1")
    assert re.fullmatch(f"{TIME} a-1: late\n", file.getvalue())


def test_worker() -> None:
    """As JSON, an event of one of several workers has its number."""
    file = io.StringIO()
    Logger("latebin.test", observer=LogPublisher(observer(file, formatter("json", 3)))).info("here")
    assert json.loads(file.getvalue())["worker"] == 3


def test_continuation() -> None:
    """A text with a line break forges no event when the log is text."""
    log, file = written("text")
    log.warn("asked for {what}", what="a\n2026-11-22T23:04:05.981Z klein GET / 200\r\x1b[2J\x1e\u2028b")
    first, second = file.getvalue().splitlines()
    assert first.endswith("asked for a")
    assert second == "\t" + r"2026-11-22T23:04:05.981Z klein GET / 200\r\x1b[2J\x1e\u2028b"


@pytest.mark.parametrize(("count", "said"), [(1, "1 log line was dropped"), (7, "7 log lines were dropped")])
def test_dropped(count: int, said: str) -> None:
    """The notice has the number of lines when some were dropped."""
    assert as_text(dropped(count)).endswith(f"Z {said}\n")
    event = json.loads(as_json(dropped(count)))
    assert (event["level"], event["namespace"], event["message"]) == ("warn", "latebin.telemetry.log", said)

import io
import json
import os
import re
import subprocess
import sys
import tempfile

from twisted.logger import Logger, LogPublisher
from twisted.python.failure import Failure

from latebin.telemetry.log import observer
from tests.support.process import environment

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def written(log_format: str, namespace: str = "latebin.test") -> tuple[Logger, io.StringIO]:
    file = io.StringIO()
    return Logger(namespace, observer=LogPublisher(observer(file, log_format))), file


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
        "status": "left",
        "asked_ms": 5000.0,
        "measured_ms": None,
        "sent": 0,
        "address": "127.0.0.1",
        "request_id": "a-1",
    }
    log.info("text", **fields)
    event = json.loads(file.getvalue())
    del event["time"]
    assert event == {"level": "info", "namespace": "latebin.access", **fields}


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
    Logger("latebin.test", observer=LogPublisher(observer(file, "json", 3))).info("here")
    assert json.loads(file.getvalue())["worker"] == 3


WRITE = """
import sys
from latebin.telemetry.log import Lines
lines = Lines(sys.stdout.fileno(), int(sys.argv[1]))
for _ in range(50):
    lines.write(sys.argv[2] * 100_000 + "\\n")
"""


def test_lines_are_whole() -> None:
    """Lines stay whole when processes write lines longer than their shared pipe holds."""
    with tempfile.TemporaryFile() as lock:
        reading, writing = os.pipe()
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITE, str(lock.fileno()), letter],
                stdout=writing,
                pass_fds=[lock.fileno()],
                env=environment(),
            )
            for letter in "ab"
        ]
        os.close(writing)
        with os.fdopen(reading) as pipe:
            lines = list(pipe)
    assert [writer.wait() for writer in writers] == [0, 0]
    assert sorted(lines) == ["a" * 100_000 + "\n"] * 50 + ["b" * 100_000 + "\n"] * 50

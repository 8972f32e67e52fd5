import json
import re
from typing import Any

import attrs
import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs, formatEvent

from latebin.core.endpoints import PREFIXES
from latebin.telemetry.access import AccessLog
from latebin.telemetry.log import as_json, as_text
from tests.support.log import accesses
from tests.support.wire import House


def test_answered(house: House, style: str) -> None:
    """An answer is one event, with what was promised and what was measured."""
    prefix = PREFIXES[style]
    with capturedLogs() as events:
        house.wire().send(f"GET {prefix}/delayed?delay=250ms HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        house.clock.advance(0.25)
    path = f"{prefix}/delayed"
    assert accesses(events) == [(style, "GET", path, "delay=250ms", 200, 250.0, 250.0, 52, "127.0.0.1")]


def test_left(house: House, style: str) -> None:
    """A client that left is one event, with how long it waited."""
    with capturedLogs() as events:
        wire = house.wire()
        wire.send(f"GET {PREFIXES[style]}/delayed HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        house.clock.advance(1.5)
        wire.leave()
    path = f"{PREFIXES[style]}/delayed"
    assert accesses(events) == [(style, "GET", path, "", "left", 5000.0, 1500.0, 0, "127.0.0.1")]


@pytest.mark.parametrize(
    ("query", "code", "ended"),
    [
        ("delay=1s&fault=truncate", 200, "truncate"),
        ("delay=1s&fault=badchunk&status=503", 503, "badchunk"),
        ("delay=1s&fault=close&status=503", 0, "close"),
        ("delay=1s&fault=garbage", 0, "garbage"),
        ("delay=9s", 0, "left"),
        ("delay=9s&at=body&status=418", 418, "left"),
        ("delay=1s&status=418", 418, None),
    ],
)
def test_status_is_a_number(house: House, prefix: str, query: str, code: int, ended: str | None) -> None:
    """The status in JSON is the sent one when the answer ends early."""
    with capturedLogs() as events:
        wire = house.wire()
        wire.send(f"GET {prefix}/delayed?{query} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        house.clock.advance(1)
        wire.leave()
    [line] = [json.loads(as_json(event)) for event in events if event["log_namespace"] == "latebin.access"]
    assert (line["status"], line["ended"], line["n"]) == (code, ended, None)


def test_turn_of_a_seed(house: House, prefix: str) -> None:
    """Answer and log have the turn when the request has a seed."""
    with capturedLogs() as events:
        wire = house.wire()
        for query in ("delay=0&seed=7", "delay=0..0&seed=7", "delay=0&seed=7", "delay=0&seed=7&n=9", "delay=0..0"):
            wire.send(f"GET {prefix}/delayed?{query} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            house.clock.advance(0)
    assert re.findall(rb"Latebin-Turn: ([0-9]+)\r\n", wire.received) == [b"1", b"1", b"2", b"9"]
    found = [event for event in events if event["log_namespace"] == "latebin.access"]
    assert [json.loads(as_json(event))["n"] for event in found] == [1, 1, 2, 9, None]
    assert [as_text(event).rpartition(" ")[2].startswith("n=") for event in found] == [True] * 4 + [False]


def test_refused(house: House, style: str) -> None:
    """A refusal is an event as well, in which nothing was promised."""
    with capturedLogs() as events:
        house.wire().send(f"GET {PREFIXES[style]}/delayed/soon HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    [(_, _, _, _, status, asked, measured, _, _)] = accesses(events)
    assert (status, asked, measured) == (400, None, None)


@pytest.mark.parametrize(
    ("delay", "times"), [("250ms", "asked=250.0ms measured=250.0ms"), ("soon", "asked=- measured=-")]
)
def test_text(house: House, prefix: str, delay: str, times: str) -> None:
    """An event's line is the text that the event itself has for any observer."""
    with capturedLogs() as events:
        house.wire().send(f"GET {prefix}/delayed/{delay} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        house.clock.advance(0.25)
    [event] = [event for event in events if event["log_namespace"] == "latebin.access"]
    assert times in formatEvent(event)
    assert as_text(event).partition(" ")[2] == formatEvent(event) + "\n"


def test_site(house: House) -> None:
    """An answer of neither style is in the log as the site's."""
    with capturedLogs() as events:
        house.wire().send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [access[0] for access in accesses(events)] == ["site"]


@attrs.define
class Requested:
    """A request as the log sees it, whose method and target HTTP/1.1 would refuse."""

    method: bytes
    uri: bytes
    style: str = "klein"
    code: int = 404
    sentLength: int = 0  # Twisted's name
    client: object = None
    request_id: bytes = b"a-1"
    pending_answer: None = None


@pytest.mark.parametrize(
    ("method", "target", "said"),
    [
        (b"GET", b"/a 200 asked=0ms", r"GET /a\x20200\x20asked=0ms 404"),
        (b"GET /b 200", b"/a", r"GET\x20/b\x20200 /a 404"),
        (b"", b"/a?", "- /a? 404"),
        (b"GET", b"", "GET - 404"),
        (b"G\tT", b"/\n\xe2\x80\xa8", r"G\tT /\n\xe2\x80\xa8 404"),
    ],
)
def test_no_field_is_forged(method: bytes, target: bytes, said: str) -> None:
    """A line keeps its fields when a method or target is empty or has spaces."""
    events: list[LogEvent] = []
    request: Any = Requested(method, target)
    AccessLog(Clock(), events.append).answered(request)
    assert as_text(events[0]).partition(" ")[2] == f"klein {said} asked=- measured=- sent=0B None a-1\n"


def test_escaped(house: House) -> None:
    """Nothing that a caller sends reaches the log as a control character."""
    with capturedLogs() as events:
        house.wire().send(b"GET /a\x9b31m\\?\x85 HTTP/1.1\r\nHost: a\r\n\r\n")
    [(_, _, path, query, *_)] = accesses(events)
    assert (path, query) == (r"/a\x9b31m\\", r"\x85")

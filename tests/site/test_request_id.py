import re
from typing import Any

import pytest
from twisted.logger import capturedLogs, formatEvent

from latebin.compare.contract import Case
from latebin.site.factory import ServiceSite
from tests.support.wire import House

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"

SPAN = b"00f067aa0ba902b7"

MADE = re.compile(rb"[0-9a-f]{32}")


def test_every_site_has_ids_of_its_own(house: House) -> None:
    """Two processes that serve the same do not make the same ids."""
    sites = house.site, ServiceSite(house.root, house.clock)
    origins = {site.assign(None, None)[:20] for site in sites}
    assert len(origins) == 2


def identity(answer: bytes) -> bytes:
    """Give the only id that an answer has."""
    [found] = re.findall(rb"\r\nX-Request-Id: (.*?)\r\n", answer.partition(b"\r\n\r\n")[0] + b"\r\n")
    return bytes(found)


TARGETS = ("/delayed/0", "/delayed/soon", "/nothing", "/delay/0", "/drip?duration=0", "/predict", "/via/nowhere")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "BREW", "get"])
def test_returned(house: House, style: str, target: str, method: str) -> None:
    """Every answer of either style returns the id that was given."""
    wire = house.wire()
    wire.send(Case("", target, method=method, headers=("X-Request-ID: a-1",)).request(style))
    house.clock.advance(0)
    assert identity(wire.received) == b"a-1"


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/openapi.json", "/compare", "/%ff", "/a%2Fb", "*"])
def test_returned_by_the_site(house: House, path: str) -> None:
    """So does what belongs to neither style, and what is refused before there is one."""
    wire = house.wire()
    wire.send(f"OPTIONS {path} HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: a-1\r\n\r\n".encode())
    assert identity(wire.received) == b"a-1"


@pytest.mark.parametrize("query", ["at=body", "status=503", "fault=truncate", "fault=hang", "chunks=3&over=1s"])
def test_returned_by_what_is_asked_for(house: House, style: str, query: str) -> None:
    """So does every answer that was asked for, as soon as it has headers."""
    wire = house.wire()
    wire.send(Case("", f"/delayed?delay=1s&{query}", headers=("X-Request-ID: a-1",)).request(style))
    house.clock.advance(1)
    assert identity(wire.received) == b"a-1"
    wire.leave()


def test_returned_where_the_service_failed(house: House, style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer and the log have the id when the service fails."""
    monkeypatch.setattr(type(house.service(style)), "answer", lambda *_: 1 / 0)
    wire = house.wire()
    with capturedLogs() as events:
        wire.send(Case("", "/delayed/0", headers=("X-Request-ID: a-1",)).request(style))
        house.clock.advance(0)
    assert wire.received.startswith(b"HTTP/1.1 500 ")
    assert identity(wire.received) == b"a-1"
    assert [event["request_id"] for event in events if "log_failure" in event] == ["a-1"]


def test_made(house: House, style: str) -> None:
    """Each request of a connection gets its own id when it brings none."""
    wire = house.wire()
    for _ in range(2):
        wire.send(Case("", "/delayed/0").request(style))
        house.clock.advance(0)
    ids = re.findall(rb"\r\nX-Request-Id: (.*?)\r\n", wire.received)
    assert len(set(ids)) == 2
    assert all(map(MADE.fullmatch, ids))


def test_traced(house: House, style: str) -> None:
    """A request that is traced has the id of its trace."""
    wire = house.wire()
    parent = (b"00-%b-%b-01" % (TRACE, SPAN)).decode()
    wire.send(Case("", "/delayed/0", headers=("X-Request-ID: <script>", f"traceparent: {parent}")).request(style))
    house.clock.advance(0)
    assert identity(wire.received) == TRACE


def test_logged(house: House, style: str) -> None:
    """The log has the id of an answer, and of a client that left."""
    with capturedLogs() as events:
        wire = house.wire()
        wire.send(Case("", "/delayed/0").request(style))
        house.clock.advance(0)
        wire.send(Case("", "/delayed", headers=("X-Request-ID: a-2",)).request(style))
        wire.leave()
    logged: list[Any] = [(event["status"], event["request_id"]) for event in events if "request_id" in event]
    assert logged == [(200, identity(wire.received).decode()), ("left", "a-2")]
    texts = [formatEvent(event) for event in events if "request_id" in event]
    assert [text.rpartition(" ")[2] for text in texts] == [request_id for _, request_id in logged]

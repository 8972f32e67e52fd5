import json
import re
from http.client import HTTPConnection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import capturedLogs, formatEvent

from latebin.compare.contract import Case
from latebin.core.http.request_id import PATTERN, RequestIds
from latebin.site.factory import ServiceSite
from tests.support.process import serving
from tests.support.wire import House

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"

SPAN = b"00f067aa0ba902b7"

MADE = re.compile(rb"[0-9a-f]{32}")


def identities() -> RequestIds:
    return RequestIds("0123456789abcdef0123")


def made(given: list[bytes] | None = None, parents: list[bytes] | None = None) -> bool:
    """Tell whether an id is a new one."""
    return identities().assign(given, parents) == b"0123456789abcdef0123000000000000"


@given(st.from_regex(PATTERN.encode(), fullmatch=True))
def test_given(value: bytes) -> None:
    """An id of 1 to 128 letters, digits, dots, underscores and dashes is taken as it is."""
    assert identities().assign([value], None) == value


@given(st.binary(max_size=200))
def test_harmless(value: bytes) -> None:
    """Whatever is given, an id is one that a header and a log can hold."""
    assert re.fullmatch(PATTERN.encode(), identities().assign([value], [value]))


@pytest.mark.parametrize(
    "values", [[], [b""], [b"a b"], [b"a\n"], [b"a,b"], [b"\xe9"], ["٣".encode()], [b"a" * 129], [b"a", b"a"]]
)
def test_not_given(values: list[bytes]) -> None:
    """What is too long, has any other character, or is there twice is no id; then the trace may have one."""
    assert made(values)
    assert identities().assign(values, [b"00-%b-%b-01" % (TRACE, SPAN)]) == TRACE


def test_given_before_traced() -> None:
    """An id that is given for the request counts more than that of its trace."""
    assert identities().assign([b"a"], [b"00-%b-%b-01" % (TRACE, SPAN)]) == b"a"


@pytest.mark.parametrize(
    "parent",
    [
        b"00-%b-%b-01",
        b"00-%b-%b-00",
        b"00-%b-%b-ff",
        b"01-%b-%b-01",
        b"fe-%b-%b-01-",
        b"cc-%b-%b-01-what the future will be like",
    ],
)
def test_trace(parent: bytes) -> None:
    """The id of a trace is taken, of later versions too, whatever these add."""
    assert identities().assign(None, [parent % (TRACE, SPAN)]) == TRACE


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        b"00-%b-%b-01" % (TRACE.upper(), SPAN),
        b"00-%b-%b-01" % (TRACE, SPAN.upper()),
        b"00-%b-%b-01" % (b"0" * 32, SPAN),
        b"00-%b-%b-01" % (TRACE, b"0" * 16),
        b"00-%b-%b-0" % (TRACE, SPAN),
        b"00-%b-%b-0g" % (TRACE, SPAN),
        b"00-%b-%b-01-" % (TRACE, SPAN),
        b"00-%b-%b-01-more" % (TRACE, SPAN),
        b"01-%b-%b-01.more" % (TRACE, SPAN),
        b"01-%b-%b-012" % (TRACE, SPAN),
        b"ff-%b-%b-01" % (TRACE, SPAN),
        b"0G-%b-%b-01" % (TRACE, SPAN),
        b"00-%b-%b" % (TRACE, SPAN),
        b"00_%b_%b_01" % (TRACE, SPAN),
    ],
)
def test_no_trace(parent: bytes) -> None:
    """What is no parent of a trace (W3C Trace Context, sections 3.2 and 4.1) gives no id."""
    assert made(None, [parent])


def test_two_parents() -> None:
    """Of two traces, neither is taken."""
    parent = b"00-%b-%b-01" % (TRACE, SPAN)
    assert made(None, [parent, parent])


def test_every_id_is_another() -> None:
    """No id is made twice, in one process or in two."""
    one, other = identities(), RequestIds("0123456789abcdef0124")
    ids = [each.assign(None, None) for _ in range(1000) for each in (one, other)]
    assert len(set(ids)) == len(ids)
    assert all(map(MADE.fullmatch, ids))


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
    """So does the answer that the service failed, and the log has the id beside the reason."""
    monkeypatch.setattr(type(house.service(style)), "answer", lambda *_: 1 / 0)
    wire = house.wire()
    with capturedLogs() as events:
        wire.send(Case("", "/delayed/0", headers=("X-Request-ID: a-1",)).request(style))
        house.clock.advance(0)
    assert wire.received.startswith(b"HTTP/1.1 500 ")
    assert identity(wire.received) == b"a-1"
    assert [event["request_id"] for event in events if "log_failure" in event] == ["a-1"]


def test_made(house: House, style: str) -> None:
    """A request that brings none has an id of its own; one connection's requests have different ones."""
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


def test_process(prefix: str) -> None:
    """Over a real connection too an answer and its line in the log have the same id, in every worker."""
    with serving("--log-format", "json", "--workers", "2") as process:
        answers = [ids_of(process.port, f"{prefix}/delayed/0") for _ in range(10)]
        _, output = process.stop()
    returned = [identity for answer in answers for identity in answer]
    logged = [event["request_id"] for event in map(json.loads, output.splitlines()) if "request_id" in event]
    assert sorted(logged) == sorted(returned)
    assert len(set(returned)) == 11
    assert returned.count("a-1") == 10


def ids_of(port: int, target: str) -> list[str]:
    """Ask on one connection without an id, and then with one."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    given: tuple[dict[str, str], ...] = ({}, {"X-Request-ID": "a-1"})
    found: list[str] = []
    for headers in given:
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        response.read()
        found.append(response.getheader("X-Request-ID", ""))
    connection.close()
    return found

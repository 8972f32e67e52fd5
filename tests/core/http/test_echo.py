"""The echo of a request and the dripped bytes, held against httpbin."""

import json
import re
import time
from http.client import HTTPConnection
from io import BytesIO
from typing import Any

import pytest
import treq
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import threads
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.web.test.requesthelper import DummyChannel
from werkzeug.sansio.utils import get_current_url

from latebin.answers.form import reading
from latebin.answers.form_fields import MAX_PARTS
from latebin.answers.request_body import KeptBody
from latebin.compare.contract import Case
from latebin.core.endpoints import PREFIXES
from latebin.core.http.echo import MAX_BODY, Content, EchoedRequest, Upload, echoing
from latebin.core.http.reply import Refused
from latebin.core.parameters import DRIP, read_query
from latebin.core.plan import plan_drip, plan_echo
from latebin.core.settings import Settings
from latebin.overrides.request import Request
from latebin.site.factory import ServiceSite
from latebin.site.root import root
from latebin.timing.piecewise import complete
from tests.support.sockets import BOUND, asynchronous, served
from tests.support.turns import pieces
from tests.support.wire import House, Wire

MULTIPART = "multipart/form-data; boundary=abc"

URLENCODED = "application/x-www-form-urlencoded"


escapes = st.binary(min_size=1, max_size=4).map(lambda raw: "".join(f"%{byte:02X}" for byte in raw))

queries = st.lists(escapes | st.text("az09&=+;/?:@!$'()*,-._~\"<>[]{}|^`", max_size=4), max_size=6).map("".join)

pairs = st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=8)), max_size=4)


def members(
    target: bytes = b"/delay/1",
    headers: tuple[tuple[bytes, bytes], ...] = (),
    content: Content | None = None,
    *,
    client: str | None = "192.0.2.1",
    secure: bool = False,
) -> Any:
    return json.loads(
        complete(echoing(EchoedRequest(target, headers, content or Content(), client, "192.0.2.2:8080", secure)))
    )


def form(*parts: tuple[bytes, bytes]) -> bytes:
    lines = [b"--abc\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % part for part in parts]
    return b"".join([*lines, b"--abc--\r\n"])


def refusal(content_type: str, body: bytes) -> int:
    with pytest.raises(Refused) as refused:
        complete(reading(content_type, body))
    return refused.value.problem.status


def test_members() -> None:
    """An echo has the members of httpbin, sorted, each on its own line."""
    text = complete(
        echoing(EchoedRequest(b"/delay/1", (), Content(), "192.0.2.1", "192.0.2.2:8080", secure=False))
    ).decode()
    assert re.findall(r'^  "(\w+)"', text, re.MULTILINE) == [
        "args", "data", "files", "form", "headers", "origin", "url",
    ]  # fmt: skip
    assert text.endswith("}\n")


def test_args() -> None:
    """An argument is a list when its name is repeated; empty values are kept."""
    args = members(b"/delay/1?a=1&b=&a=2&c&d=x+y%26&%C3%BC=%C3%9F&e=%FF")["args"]
    assert args == {"a": ["1", "2"], "b": "", "c": "", "d": "x y&", "\u00fc": "\u00df", "e": "%FF"}


def test_headers() -> None:
    """Header names are in title case, and values of one name are joined."""
    found = members(headers=((b"x-b3-TRACEID", b"1"), (b"X-Two", b"1"), (b"x-two", b"2"), (b"DNT", b"\xfc")))["headers"]
    assert found == {"X-B3-Traceid": "1", "X-Two": "1,2", "Dnt": "\u00fc"}


def test_headers_of_proxies() -> None:
    """The headers that proxies add are shown when the query has `show_env`."""
    headers = ((b"Via", b"1.1 proxy"), (b"X-Request-Id", b"7"), (b"Accept", b"*/*"))
    assert members(headers=headers)["headers"] == {"Accept": "*/*"}
    assert members(b"/delay/1?show_env=1", headers)["headers"] == {
        "Accept": "*/*",
        "Via": "1.1 proxy",
        "X-Request-Id": "7",
    }


def test_origin() -> None:
    """The origin is the address of the connection, or null for a UNIX socket."""
    assert members(headers=((b"X-Forwarded-For", b"192.0.2.7"),))["origin"] == "192.0.2.1"
    assert members(client=None)["origin"] is None


@pytest.mark.parametrize(
    ("headers", "secure", "url"),
    [
        ((), False, "http://192.0.2.2:8080/delay/1"),
        (((b"Host", b""),), False, "http://192.0.2.2:8080/delay/1"),
        (((b"Host", b"Example.org:80"),), False, "http://example.org/delay/1"),
        (((b"Host", b"example.org:443"),), False, "http://example.org:443/delay/1"),
        (((b"Host", b"example.org:443"),), True, "https://example.org/delay/1"),
        (((b"Host", b"a"), (b"X-Forwarded-Proto", b"https")), False, "http://a/delay/1"),
    ],
)
def test_url(headers: tuple[tuple[bytes, bytes], ...], secure: bool, url: str) -> None:  # noqa: FBT001  # a parameter
    """The URL is made from the Host header and the connection."""
    assert members(headers=headers, secure=secure)["url"] == url


@given(queries)
def test_url_as_httpbin_writes_it(query: str) -> None:
    """The URL has the same escapes as the one that Werkzeug builds for httpbin."""
    target = f"/delay/1?{query}".encode()
    expected = get_current_url("http", "a", "", "delay/1", query.encode())
    assert members(target, ((b"Host", b"a"),))["url"] == expected


@given(st.binary(max_size=60), pairs, st.binary(max_size=20))
def test_any_request(target: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """Any request is echoed in ASCII, with a body that can be recovered."""
    text = complete(echoing(EchoedRequest(target, headers, Content(body), None, "a:1", secure=False)))
    assert text.isascii()
    data = json.loads(text)["data"]
    assert data.encode() == body or data.startswith("data:application/octet-stream;base64,")


def test_data() -> None:
    """A body without fields is text when it is UTF-8, otherwise a data URL."""
    assert members(content=Content("\u00fc".encode()))["data"] == "\u00fc"
    assert members(content=Content(b"\xff"))["data"] == "data:application/octet-stream;base64,/w=="


def test_files() -> None:
    """A file is text when it is UTF-8, otherwise a data URL of its type."""
    files = {"a": Upload("text/plain", b"hello"), "b": Upload("image/png", b"\xff"), "c": Upload("", b"\xff")}
    assert members(content=Content(files=files))["files"] == {
        "a": "hello",
        "b": "data:image/png;base64,/w==",
        "c": "data:application/octet-stream;base64,/w==",
    }


@pytest.mark.parametrize("content_type", [URLENCODED, "Application/X-WWW-Form-Urlencoded; charset=utf-8"])
def test_urlencoded_form(content_type: str) -> None:
    """A urlencoded form has fields and no data."""
    assert complete(reading(content_type, b"a=1&b=x+y&a=2&c")) == Content(
        b"", (("a", "1"), ("a", "2"), ("b", "x y"), ("c", ""))
    )


def test_multipart_form() -> None:
    """A multipart form has fields and files, and the first file when names are equal."""
    parts = form(
        (b'name="a"', b"1"), (b'name="f"; filename="x"', b"first"), (b'name="f"; filename="y"', b"second"),
        (b'name="g"; filename=""', b"\xff"),
    )  # fmt: skip
    assert complete(reading(MULTIPART, parts)) == Content(
        b"", (("a", "1"),), {"f": Upload("", b"first"), "g": Upload("", b"\xff")}
    )


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("", b"a=1"),
        ("text/plain", b"a=1"),
        ("multipart/form-data", b"a=1"),
        (MULTIPART, b""),
        (";;;", b"a=1"),
    ],
)
def test_not_a_form(content_type: str, body: bytes) -> None:
    """A body is data when its Content-Type is not that of a complete form."""
    assert complete(reading(content_type, body)) == Content(body)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (MULTIPART, b"none"),
        (MULTIPART, form((b'name="a"', b"1"))[:-9]),
        (MULTIPART, form((b"", b"1"))),
        (MULTIPART, form((b'filename="x"', b"1"))),
        ('multipart/form-data; boundary="\u00fc"', b"x"),
        (URLENCODED, b"\xff=1"),
    ],
)
def test_malformed_form(content_type: str, body: bytes) -> None:
    """A malformed form is a 400, where httpbin shows an empty form."""
    assert refusal(content_type, body) == 400


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (URLENCODED, b"a=1&" * MAX_PARTS),
        (MULTIPART, form(*[(b'name="a"', b"1")] * (MAX_PARTS + 1))),
        (MULTIPART, form((b'name="a"', b"1" * 500_001))),
    ],
)
def test_form_is_bounded(content_type: str, body: bytes) -> None:
    """A form is a 413 when it has too many parts or long fields."""
    assert refusal(content_type, body) == 413


@given(st.text(max_size=30), st.binary(max_size=60) | st.binary(max_size=60).map(lambda raw: b"--abc\r\n" + raw))
def test_any_body(parameter: str, body: bytes) -> None:
    """Any body under any Content-Type is parsed or refused."""
    for content_type in (
        parameter,
        f"multipart/form-data; {parameter}",
        MULTIPART,
        URLENCODED,
    ):
        try:
            found = complete(reading(content_type, body))
        except Refused:
            continue
        complete(echoing(EchoedRequest(b"/", (), found, None, "a:1", secure=False)))


def test_drip_in_bounded_pieces() -> None:
    """The pieces are bounded when the number of bytes is at its limit."""
    plan = plan_drip(read_query(b"numbytes=99999999", DRIP, Settings()))
    assert plan.body is not None
    assert (plan.body.size, plan.chunks) == (10 * 1024**2, 10_000)


@pytest.mark.parametrize(("longest", "wait"), [(600.0, 10.0), (7.0, 7.0)])
def test_seconds_are_cut(longest: float, wait: float) -> None:
    """A delay above ten seconds is cut to ten seconds or to the longest delay."""
    plan = plan_echo("3600", b"{}", Settings(max_delay=longest))
    assert (plan.wait, plan.cut) == (wait, True)


def test_seconds_that_are_not_cut() -> None:
    """A delay of exactly ten seconds is not cut."""
    plan = plan_echo("10", b"{}", Settings())
    assert (plan.wait, plan.cut) == (10.0, False)


def test_bytes_over_time(house: House, style: str) -> None:
    """The bytes leave evenly, from the delay to one interval before the end."""
    wire = house.wire()
    wire.send(Case("", "/drip?numbytes=4&duration=4&delay=1").request(style))
    arrived = []
    for _ in range(5):
        arrived.append(wire.received.count(b"*"))
        house.clock.advance(1)
    assert arrived == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("target", ["/delay/3", "/drip?delay=3", "/drip?numbytes=2"])
def test_leaving(house: House, style: str, target: str) -> None:
    """No timer is left when a client leaves before or during its answer."""
    with capturedLogs() as events:
        wire = house.wire()
        wire.send(Case("", target).request(style))
        house.clock.advance(0)
        wire.leave()
    assert len(house.service(style).pending) == 0
    assert house.clock.getDelayedCalls() == []
    assert [event["status"] for event in events if event["log_namespace"] == "latebin.access"] == ["left"]
    assert not [event for event in events if event["log_level"] >= LogLevel.warn]


def narrow(max_body: int) -> tuple[Clock, Wire]:
    clock, settings = Clock(), Settings(max_body=max_body)
    return clock, Wire(ServiceSite(root(settings, clock), clock, Clock(), settings), clock)


@pytest.mark.parametrize(("size", "status"), [(100, b"200"), (101, b"413"), (100_000, b"413")])
def test_body_is_bounded(style: str, size: int, status: bytes) -> None:
    """A body is refused and its connection closed when it exceeds the limit."""
    clock, wire = narrow(max_body=100)
    wire.send(Case("", "/delay/1", method="POST", body=b"x" * size).request(style))
    clock.advance(1)
    assert re.findall(rb"^HTTP/1.1 (\d+)", wire.received, re.MULTILINE) == [status]
    assert wire.connected == (status == b"200")


def test_chunked_body_is_bounded(style: str) -> None:
    """A chunked body is refused when it exceeds the limit."""
    _, wire = narrow(max_body=4)
    head = f"POST {PREFIXES[style]}/delay/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    wire.send(head + b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")
    assert wire.received.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("target", ["/delay/1", "/raw/delay/1", "/%64elay/1?a", "/delay/1/2"])
def test_kept_body(house: House, target: str) -> None:
    """A body is kept up to one byte beyond the limit when it is echoed."""
    kept = house.site.body(target.encode(), None)
    for _ in range(3):
        kept.write(b"x" * 10 * 1024**2)
    kept.seek(0)
    assert len(kept.read()) == MAX_BODY + 1


@pytest.mark.parametrize("target", ["/delayed/1", "/raw/delayed", "/drip", "/", "/raw/raw/delay/1", "/x?/delay/1"])
def test_dropped_body(house: House, target: str) -> None:
    """A body is dropped when its endpoint does not use it."""
    dropped = house.site.body(target.encode(), None)
    dropped.write(b"x")
    dropped.seek(0)
    assert dropped.read() == b""


def test_body_over_http2(house: House) -> None:
    """A body is kept when it comes over HTTP/2, where the channel is a stream."""
    stream: Any = DummyChannel()
    stream.site, stream.command, stream.path = house.site, b"POST", b"/delay/1"
    request = Request(stream)
    request.gotLength(1)
    assert isinstance(request.content, KeptBody)


@asynchronous
async def test_treq(prefix: str) -> None:
    """A real client gets its form, its files and its own address back."""
    async with served() as service:
        url = service.url(f"{prefix}/delay/10ms?a=1")
        files: Any = {"f": ("hello.txt", BytesIO(b"hello"))}
        response = await treq.post(url, data={"b": "2"}, files=files, pool=service.pool, timeout=BOUND)
        found = await treq.json_content(response)
    assert (found["args"], found["form"], found["files"]) == ({"a": "1"}, {"b": "2"}, {"f": "hello"})
    assert (found["url"], found["origin"]) == (url, "127.0.0.1")
    assert found["headers"]["Host"] == f"127.0.0.1:{service.port}"


def ask(port: int, path: str) -> tuple[int, str | None, bytes, float]:
    connection = HTTPConnection("127.0.0.1", port, timeout=BOUND)
    started = time.monotonic()
    connection.request("GET", path)
    response = connection.getresponse()
    answer = response.status, response.getheader("Content-Length"), response.read(), time.monotonic() - started
    connection.close()
    return answer


@asynchronous
async def test_http_client(prefix: str) -> None:
    """A real client reads the requested number of bytes over the requested time."""
    async with served() as service:
        path = f"{prefix}/drip?numbytes=5&duration=0.5&code=418&delay=0.1"
        status, length, body, took = await threads.deferToThread(ask, service.port, path)
    assert (status, length, body) == (418, "5", b"*****")
    assert took >= 0.5


def test_head(house: House, style: str) -> None:
    """HEAD has the headers of GET, as late, and no body."""
    lengths = []
    for method in ("GET", "HEAD"):
        wire = house.wire()
        wire.send(Case("", "/delay/1", method=method).request(style))
        house.clock.advance(1)
        headers, _, body = wire.received.partition(b"\r\n\r\n")
        lengths.append((re.findall(rb"Content-Length: (\d+)", headers), len(body) if method == "GET" else body))
    [[echo], length], [[same], nothing] = lengths
    assert int(echo) == int(same) == length
    assert nothing == b""


LARGE: dict[str, tuple[bytes, str, bytes]] = {
    "parameters": (b"a&" * 8000, "", b""),
    "parameters with escapes": (b"&".join(b"a%d=%%ff" % number for number in range(1600)), "", b""),
    "parameters with NUL": (b"a=%00&" * 2000, "", b""),
    "fields": (b"", URLENCODED, b"&".join(b"a%d=%s" % (number, b"%ff" * 300) for number in range(1000))),
    "parts": (b"", MULTIPART, form(*((b'name="n%d"' % number, b"x") for number in range(1000)))),
    "files": (b"", MULTIPART, form(*((b'name="n%d"; filename="f"' % n, b"\xff" * 500) for n in range(1000)))),
}
"""By name: a query, a Content-Type and a body."""


@pytest.mark.parametrize("kind", LARGE)
def test_pieces(kind: str) -> None:
    """No piece of the work is large when a request has thousands of parts."""
    query, content_type, body = LARGE[kind]
    read, content = pieces(reading(content_type, body))
    request = EchoedRequest(b"/delay/0?" + query, [(b"Host", b"a")], content, None, "a", secure=False)
    described, _ = pieces(echoing(request))
    counted = [*read, *described]
    assert max(counted) < 15_000

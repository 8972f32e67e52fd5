"""The duties of a gateway (RFC 9110, section 7.6), tried over sockets."""

import re
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from zope.interface import implementer

from latebin.core.endpoints import PREFIXES
from tests.support.sockets import Client, asynchronous, connect, served, until
from tests.support.upstream import MEGABYTE, ask, before, both, send, upstream

TIMEOUT = 5.0


@pytest.fixture(params=["via", "scenario"])
def seen(request: pytest.FixtureRequest, style: str) -> str:
    """The client's path of the upstream's root, by either way to it."""
    return PREFIXES[style] + {"via": "/via/up", "scenario": "/as/web"}[request.param]


CHOSEN = {"scenarios": {"web": "upstream=up"}}


def head(client: Client) -> list[str]:
    """Return the status line and the headers of the last answer."""
    return client.data.decode("latin-1").rpartition("\r\n\r\n")[0].rpartition("HTTP/1.1 ")[2].split("\r\n")


def reason(client: Client) -> str:
    """Return the reason of a 502."""
    assert client.data.startswith(b"HTTP/1.1 502 ")
    [found] = re.findall(
        r'"detail": "The upstream gave no answer that can be passed on: ([^"]*)\."', client.data.decode()
    )
    return str(found)


@asynchronous
async def test_as_it_is(seen: str) -> None:
    """Status, reason and long headers pass, and headers that Connection names do not."""
    long = b"x" * 60_000
    async with both(**CHOSEN) as (up, service):
        client = await ask(service, f"{seen}/")
        lines = b"X-Long: " + long + b"\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\nhi"
        (await up.asked()).transport.write(b"HTTP/1.1 999 Quite Odd\r\n" + lines)
        await until(lambda: client.data.endswith(b"hi"))
        client.transport.abortConnection()
    status, *lines_back = head(client)
    assert status == "999 Quite Odd"
    assert f"X-Long: {long.decode()}" in lines_back
    assert not any(line.startswith(("X-Hop", "Connection: X-Hop")) for line in lines_back)


@asynchronous
async def test_interim(seen: str) -> None:
    """An interim answer is passed on at once, and a 100 is not."""
    async with both(**CHOSEN) as (up, service):
        client = await ask(service, f"{seen}/")
        peer = await up.asked()
        peer.transport.write(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
        )
        await until(lambda: b"\r\n\r\n" in client.data)
        assert client.data == b"HTTP/1.1 103 Early Hints\r\nLink: <%b/a.css>; rel=preload\r\n\r\n" % seen.encode()
        peer.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await until(lambda: b"HTTP/1.1 204 " in client.data)
        client.transport.abortConnection()


@asynchronous
@pytest.mark.parametrize("takes", [True, False])
async def test_trailers(seen: str, takes: bool) -> None:  # noqa: FBT001  # one column of the table
    """Trailers are passed on to a client that takes them, and dropped for another."""
    async with both(**CHOSEN) as (up, service):
        client = await ask(service, f"{seen}/", *["TE: trailers"] * takes)
        peer = await up.asked()
        assert (b"\r\nTE: trailers\r\nConnection: TE\r\n" in peer.data) == takes
        peer.transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
        peer.transport.write(b"2\r\nhi\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n")
        await until(lambda: client.data.endswith(b"\r\n\r\n") and b"hi" in client.data)
        assert client.data.endswith(b"2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n" if takes else b"2\r\nhi\r\n0\r\n\r\n")
        client.transport.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: client.data.endswith(b'{"status": "ok"}\n'))
        client.transport.abortConnection()


@asynchronous
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_length_of_nothing(seen: str, method: str) -> None:
    """A 204 loses the length that its upstream gives, and a 304 keeps it."""
    for status, kept in ((204, False), (304, True)):
        async with both(**CHOSEN) as (up, service):
            client = await send(service, f"{method} {seen}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            (await up.asked()).transport.write(b"HTTP/1.1 %d X\r\nContent-Length: 9\r\n\r\n" % status)
            await until(lambda: b"\r\n\r\n" in client.data)  # noqa: B023  # awaited within the loop
            client.transport.abortConnection()
        assert ("Content-Length: 9" in head(client)) == kept


@asynchronous
async def test_mapped(seen: str) -> None:
    """References to the upstream and the paths of cookies are mapped to the client's paths."""
    async with both(path="/base", **CHOSEN) as (up, service):
        client = await ask(service, f"{seen}/x")
        there = f"http://127.0.0.1:{up.port}/base/next?a=b"
        lines = [f"Location: {there}", "Content-Location: /base/x", "Set-Cookie: a=1; Path=/; Domain=127.0.0.1"]
        answer = "\r\n".join(["HTTP/1.1 302 Found", *lines, "Content-Length: 0", "", ""])
        (await up.asked()).transport.write(answer.encode())
        await until(lambda: b"\r\n\r\n" in client.data)
        client.transport.abortConnection()
    assert {f"Location: {seen}/next?a=b", f"Content-Location: {seen}/x", f"Set-Cookie: a=1; Path={seen}/"} <= {
        *head(client)
    }


@asynchronous
async def test_slash(seen: str) -> None:
    """A path without the first slash is redirected at once, with its query."""
    async with both(**CHOSEN) as (up, service):
        client = await send(service, f"DELETE {seen}?a=/b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        await client.lost
        assert up.peers == []
    assert head(client)[0].startswith("308 ")
    assert f"Location: {seen}/?a=/b" in head(client)


@asynchronous
async def test_default_scenario() -> None:
    """Paths need no mapping on a whole service, and an authority is dropped."""
    async with both(**CHOSEN, default_scenario="web") as (up, service):
        client = await ask(service, "/index?a", "Connection: close")
        peer = await up.asked()
        assert peer.data.startswith(b"GET /index?a HTTP/1.1\r\n")
        location = f"Location: http://127.0.0.1:{up.port}/next\r\nSet-Cookie: a=1; Path=/\r\n"
        peer.transport.write(f"HTTP/1.1 302 Found\r\n{location}Content-Length: 0\r\n\r\n".encode())
        await client.lost
    assert {"Location: /next", "Set-Cookie: a=1; Path=/"} <= {*head(client)}


@asynchronous
@pytest.mark.parametrize(
    ("method", "given", "expected"),
    [("OPTIONS", "5", "4"), ("TRACE", "1", "0"), ("GET", "0", "0"), ("OPTIONS", "x", "x")],
)
async def test_max_forwards(seen: str, method: str, given: str, expected: str) -> None:
    """Max-Forwards is counted down for OPTIONS and TRACE alone."""
    async with both(**CHOSEN) as (up, service):
        client = await send(service, f"{method} {seen}/ HTTP/1.1\r\nHost: a\r\nMax-Forwards: {given}\r\n\r\n".encode())
        assert f"\r\nMax-Forwards: {expected}\r\n".encode() in (await up.asked()).data
        client.transport.abortConnection()


@asynchronous
async def test_last_recipient(seen: str) -> None:
    """OPTIONS and TRACE are answered here when they are to be forwarded no further."""
    async with both(**CHOSEN) as (up, service):
        last = "HTTP/1.1\r\nHost: a\r\nCookie: secret=1\r\nMax-Forwards: 0\r\nConnection: close\r\n\r\n"
        client = await send(service, f"OPTIONS {seen}/ {last}".encode())
        await client.lost
        assert {"Allow: OPTIONS, TRACE"} <= {*head(client)}
        client = await send(service, f"TRACE {seen}/ {last}".encode())
        await client.lost
        assert up.peers == []
    assert b"\r\nContent-Type: message/http\r\n" in client.data
    assert f"\r\n\r\nTRACE {seen}/ HTTP/1.1\r\n".encode() in client.data
    assert b"secret" not in client.data


@asynchronous
@pytest.mark.parametrize("method", ["PROPFIND", "m-search", "!#$%&'*+-.^_`|~09aZ"])
async def test_any_method(seen: str, method: str) -> None:
    """Every token is passed on as a method."""
    async with both(**CHOSEN) as (up, service):
        client = await send(service, f"{method} {seen}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert (await up.asked()).data.startswith(f"{method} / HTTP/1.1\r\n".encode())
        client.transport.abortConnection()


@asynchronous
async def test_connect(seen: str) -> None:
    """CONNECT is refused, for it asks for a tunnel."""
    async with both(**CHOSEN) as (up, service):
        client = await send(service, f"CONNECT {seen}/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        await client.lost
        assert up.peers == []
    assert head(client)[0].startswith("405 ")


@asynchronous
async def test_kept_host(seen: str) -> None:
    """The upstream gets the client's Host when that is chosen, and may refer to it."""
    async with both(**CHOSEN, upstream_host="keep") as (up, service):
        client = await ask(service, f"{seen}/")
        peer = await up.asked()
        assert b"\r\nHost: here\r\n" in peer.data
        peer.transport.write(b"HTTP/1.1 302 Found\r\nLocation: http://here/x\r\nContent-Length: 0\r\n\r\n")
        await until(lambda: b"\r\n\r\n" in client.data)
        client.transport.abortConnection()
    assert f"Location: {seen}/x" in head(client)


@asynchronous
@pytest.mark.parametrize("value", ["a\x01", "\x0bb", "a\x7fb"])
async def test_control_character(seen: str, value: str) -> None:
    """A request is refused when a header of it has a control character."""
    async with both(**CHOSEN) as (_, service):
        client = await ask(service, f"{seen}/", "X-Tab: a\tb", f"X-Odd: {value}", "Connection: close")
        await client.lost
    assert head(client)[0] == "400 Bad Request"
    assert b'"parameter": "X-Odd"' in client.data


@asynchronous
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", "it closed the connection before its answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "it closed the connection in the middle of its headers"),
        (b"HTTP/1.1 200 OK\r\nA: a\x00\r\n\r\n", "one of its headers contains a control character"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "it has Content-Length headers that differ",
        ),
        (b"SSH-2.0-OpenSSH\r\n", "it does not speak HTTP/1"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "it switched to another protocol without being asked"),
    ],
)
async def test_reason(seen: str, answer: bytes, expected: str) -> None:
    """A refusal has the real reason, in the answer and in the log."""
    with capturedLogs() as events:
        async with both(**CHOSEN) as (up, service):
            client = await send(service, f"POST {seen}/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            peer = await up.asked()
            peer.transport.write(answer)
            peer.transport.loseConnection()
            await client.lost
    assert reason(client) == expected
    assert [event["reason"] for event in events if event["log_level"] == LogLevel.warn] == [expected]


@asynchronous
async def test_endless_headers(seen: str) -> None:
    """An upstream that sends headers without end is refused before much of them has come."""
    async with both(**CHOSEN) as (up, service):
        client = await ask(service, f"{seen}/", "Connection: close")
        peer = await up.asked()
        sent = 0

        def flooded() -> bool:
            nonlocal sent
            if not peer.gone and sent < 300 * MEGABYTE:
                peer.transport.write(b"HTTP/1.1 200 OK\r\n" * (not sent) + (b"A: " + b"x" * 1000 + b"\r\n") * 1000)
                sent += MEGABYTE
            return bool(client.data)

        await until(flooded)
        await client.lost
        await until(lambda: peer.gone)
    assert reason(client) == "its headers are too large"
    assert sent < 50 * MEGABYTE


@asynchronous
async def test_malformed_chunk(seen: str) -> None:
    """An answer with a malformed chunk breaks off, as the log says."""
    with capturedLogs() as events:
        async with both(**CHOSEN) as (up, service):
            client = await ask(service, f"{seen}/")
            peer = await up.asked()
            peer.transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
            await until(lambda: b"hi" in client.data)
            peer.transport.write(b"nonsense\r\n")
            await client.lost
            await until(lambda: any("status" in event for event in events))
    assert not client.data.endswith(b"0\r\n\r\n")
    assert [event["status"] for event in events if "status" in event] == ["broken"]
    [warning] = [event["reason"] for event in events if event["log_level"] == LogLevel.warn]
    assert warning == "a chunk of its body is malformed"


def due(clock: Clock) -> float:
    """Return when the upstream is given up, which is the first that happens."""
    return min(call.getTime() for call in clock.getDelayedCalls())


@asynchronous
async def test_stall(seen: str) -> None:
    """An upstream is given up when it is silent, and not while bytes come."""
    clock = Clock()
    with capturedLogs() as events:
        async with both(clock=clock, upstream_timeout=TIMEOUT, **CHOSEN) as (up, service):
            client = await ask(service, f"{seen}/")
            await until(lambda: service.pending() == 1)
            clock.advance(0)
            peer = await up.asked()
            for piece in (b"HTTP/1.1 ", b"103 Early Hints\r\n\r\n", b"HTTP/1.1 200 OK\r\nA", b": b\r\n"):
                clock.advance(TIMEOUT - 1)
                before_it = due(clock)
                peer.transport.write(piece)
                await until(lambda: due(clock) > before_it)  # noqa: B023  # awaited
            peer.transport.write(b"Content-Length: 9\r\n\r\nhi")
            await until(lambda: client.data.endswith(b"hi"))
            clock.advance(TIMEOUT)
            await client.lost
            await until(lambda: peer.gone and any("status" in event for event in events))
    assert [event["status"] for event in events if "status" in event] == ["broken"]
    assert [event["reason"] for event in events if event["log_level"] == LogLevel.warn] == ["it sent nothing for 5 s"]


@asynchronous
async def test_slow_client_is_not_a_stall(seen: str) -> None:
    """An upstream is not given up while its answer waits for the client."""
    clock, size = Clock(), 16 * MEGABYTE
    async with both(clock=clock, upstream_timeout=TIMEOUT, **CHOSEN) as (up, service):
        client = await connect(service)
        client.transport.pauseProducing()
        client.transport.write(f"GET {seen}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        await until(lambda: service.pending() == 1)
        clock.advance(0)
        peer = await up.asked()
        peer.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        request = (await_requests := service.requests)()[0]
        await until(lambda: request.startedWriting and await_requests()[0].channel._waitingForTransport)
        clock.pump([TIMEOUT] * 10)
        client.transport.resumeProducing()
        await until(lambda: len(client.data) > size)
        client.transport.abortConnection()


@asynchronous
async def test_stale_connection(seen: str) -> None:
    """A request is sent again when the kept connection turns out to be closed."""
    async with both(**CHOSEN) as (up, service):
        client = await ask(service, f"{seen}/1")
        first = await up.asked()
        first.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await until(lambda: b" 204 " in client.data)
        client.transport.write(f"GET {seen}/2 HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        await until(lambda: b"GET /2" in first.data)
        first.transport.abortConnection()
        second = await up.asked(2)
        assert second.data.startswith(b"GET /2 ")
        second.transport.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        await until(lambda: b" 201 " in client.data)
        client.transport.abortConnection()


@implementer(IHostnameResolver)
class Hosts:
    """A resolver that knows every name, and keeps what it was asked."""

    def __init__(self, resolver: IHostnameResolver) -> None:
        self.asked: list[object] = []
        self._resolver = resolver

    def resolveHostName(self, resolutionReceiver: Any, hostName: str, *rest: Any, **named: Any) -> Any:
        self.asked.append(hostName)
        return self._resolver.resolveHostName(resolutionReceiver, "127.0.0.1", *rest, **named)


@asynchronous
@pytest.mark.parametrize("name", ["a_b", "a--b", "-ab-", "ab-.example.", "l" * 70, "xn--h-1ga.example"])
async def test_names(name: str) -> None:
    """A name is looked up as it is, and is the Host of the request."""
    resolver: IHostnameResolver = reactor.nameResolver  # type: ignore[attr-defined]  # a reactor of Twisted's has it
    hosts = Hosts(resolver)
    reactor.installNameResolver(hosts)  # type: ignore[attr-defined]
    try:
        async with upstream() as up, before(0, upstreams={"up": f"http://{name}:{up.port}"}) as service:
            client = await ask(service, "/via/up/")
            assert f"\r\nHost: {name}:{up.port}\r\n".encode() in (await up.asked()).data
            client.transport.abortConnection()
    finally:
        reactor.installNameResolver(resolver)  # type: ignore[attr-defined]
    assert hosts.asked == [name.encode() if len(name) > 63 else name]


@asynchronous
@pytest.mark.parametrize("name", ["nowhere_at_all.invalid", "l" * 70 + ".invalid"])
async def test_unknown_names(name: str) -> None:
    """A name that nothing knows is a 502 with the reason."""
    async with before(0, upstreams={"up": f"http://{name}"}) as service:
        client = await ask(service, "/via/up/", "Connection: close")
        await client.lost
    assert reason(client) == "its name is not known"


@asynchronous
async def test_socket(tmp_path: Path) -> None:
    """An upstream can listen on a UNIX socket."""
    async with upstream(str(tmp_path / "up")) as up:
        path = str(tmp_path / "up").replace("/", "%2F")
        async with served(upstreams={"up": f"http+unix://{path}"}, default_delay=0.0) as service:
            client = await ask(service, "/via/up/")
            assert b"\r\nHost: localhost\r\n" in (await up.asked()).data
            client.transport.abortConnection()


@asynchronous
async def test_six() -> None:
    """An upstream can have an address of IPv6."""
    async with upstream("::1") as up, before(0, upstreams={"up": f"http://[::1]:{up.port}"}) as service:
        client = await ask(service, "/via/up/")
        assert f"\r\nHost: [::1]:{up.port}\r\n".encode() in (await up.asked()).data
        client.transport.abortConnection()

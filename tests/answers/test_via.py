import gzip
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import treq
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import Site

from latebin.core.endpoints import PREFIXES
from tests.support.sockets import BOUND, Accepted, Client, Served, asynchronous, connect, until
from tests.support.upstream import MEGABYTE, Flood, Peer, Upstream, ask, before, both, send, settled, upstream


@pytest.fixture
def via(style: str) -> str:
    return f"{PREFIXES[style]}/via/up"


class Echo(Resource):
    """A real server of Twisted's, which returns the request that it got."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        request.setHeader(b"Content-Type", b"text/plain")
        request.setHeader(b"Server-Timing", b"db;dur=1")
        request.responseHeaders.setRawHeaders(b"Set-Cookie", [b"a=1", b"b=2"])
        return b" ".join([request.method, request.uri]) + b"\n" + bytes(request.content.read())


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    site = Site(Echo())
    site.noisy = False
    port: Any = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[arg-type]  # a Site is a factory
    accepted = Accepted(port)
    try:
        yield port.getHost().port
    finally:
        await accepted.close()


@asynchronous
@pytest.mark.parametrize("method", ["DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT"])
async def test_passed_on(via: str, method: str) -> None:
    """A whole request reaches a real server, and its whole answer comes back late."""
    async with echo() as port, before(port, path="/base") as service:
        started = reactor.seconds()
        url = service.url(f"{via}/a%2fb//c%20d/%FF;e?f=%2F&g&f=1+1")
        response = await treq.request(
            method, url, headers=Headers({"Latebin-Delay": ["50ms"]}), data=b"sent", pool=service.pool, timeout=BOUND
        )
        assert reactor.seconds() - started >= 0.05
        assert response.code == 200
        line = f"{method} /base/a%2fb//c%20d/%FF;e?f=%2F&g&f=1+1\n"
        assert await treq.content(response) == line.encode() + b"sent"
        assert response.headers.getRawHeaders("Set-Cookie") == ["a=1", "b=2"]
        assert response.headers.getRawHeaders("Content-Type") == ["text/plain"]


@asynchronous
async def test_truth(via: str) -> None:
    """Delay and asked time are added to the upstream's own Server-Timing."""
    async with echo() as port, before(port) as service:
        response = await treq.get(
            service.url(f"{via}/"), headers=Headers({"Latebin-Delay": ["50ms"]}), pool=service.pool, timeout=BOUND
        )
        await treq.content(response)
        theirs, ours = response.headers.getRawHeaders("Server-Timing")
        assert theirs == "db;dur=1"
        measured, asked = re.fullmatch(r"delay;dur=([0-9.]+), asked;dur=([0-9.]+)", ours).groups()  # type: ignore[union-attr]  # it matches, or the test fails
        assert float(measured) >= float(asked) == 50


@asynchronous
async def test_headers(via: str) -> None:
    """Headers are passed on, except those of one hop, with the upstream's own Host."""
    async with both() as (up, service):
        await ask(
            service,
            f"{via}/x?",
            "Latebin-Delay: 0",
            "Connection: keep-alive, X-Hop",
            "X-Hop: 1",
            "Keep-Alive: timeout=5",
            "Proxy-Authorization: secret",
            "Proxy-Connection: keep-alive",
            "TE: trailers",
            "Trailer: X-T",
            "Upgrade: h2c",
            "Cookie: a=1; b=2",
            "Accept-Encoding: br",
            "X-Twice: 1",
            "X-Twice: 2",
            "Via: 1.0 other",
            "User-Agent: me",
            "X-Request-ID: a-1",
        )
        peer = await up.asked()
    line, *headers = peer.data.decode().split("\r\n")
    assert line == "GET /x? HTTP/1.1"
    assert sorted(filter(None, headers)) == [
        "Accept-Encoding: br",
        "Connection: TE",
        "Cookie: a=1; b=2",
        f"Host: 127.0.0.1:{up.port}",
        "TE: trailers",
        "User-Agent: me",
        "Via: 1.0 other",
        "Via: 1.1 latebin",
        "X-Request-Id: a-1",
        "X-Twice: 1",
        "X-Twice: 2",
    ]


@asynchronous
async def test_answer_headers(via: str) -> None:
    """The answer's headers are the upstream's, except those of one hop, and no others."""
    async with both() as (up, service):
        client = await ask(service, f"{via}/")
        peer = await up.asked()
        head = b"HTTP/1.1 599 Odd\r\nX-Own: 1\r\nX-Own: 2\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n"
        ended = b"Trailer: X-T\r\nUpgrade: h2c\r\nX-Request-ID: theirs\r\nContent-Length: 2\r\n\r\nhi"
        peer.transport.write(head + ended)
        await until(lambda: client.data.endswith(b"hi"))
        client.transport.abortConnection()
    line, *headers = client.data.decode().partition("\r\n\r\n")[0].split("\r\n")
    assert line.split(" ")[1] == "599"
    own = ["Connection: keep-alive", "Keep-Alive: timeout=60"]
    names = [header.partition(":")[0] for header in headers if header not in own]
    assert headers[-2:] == own
    assert names == ["X-Request-Id", "Date", "X-Own", "X-Own", "Trailer", "Content-Length", "Server-Timing"]
    assert "X-Request-Id: theirs" not in headers


@asynchronous
async def test_kept_connections(via: str) -> None:
    """Requests that follow one another share a connection to the upstream."""
    async with both() as (up, service):
        for count in (1, 2):
            client = await ask(service, f"{via}/")
            await until(lambda: bool(up.peers) and up.peers[0].data.count(b"\r\n\r\n") == count)  # noqa: B023  # awaited within the loop
            up.peers[0].transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            await until(lambda: b" 204 " in client.data)  # noqa: B023
            client.transport.abortConnection()
        assert len(up.peers) == 1


@asynchronous
async def test_redirect(via: str) -> None:
    """A redirect is the client's to follow."""
    async with both() as (up, service):
        client = await ask(service, f"{via}/")
        peer = await up.asked()
        peer.transport.write(b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n")
        await until(lambda: b"\r\n\r\n" in client.data)
        client.transport.abortConnection()
        assert b"\r\nLocation: http://elsewhere/\r\n" in client.data
        assert len(up.peers) == 1


@asynchronous
async def test_encoded(via: str) -> None:
    """A body that the upstream has compressed arrives as it is."""
    async with both() as (up, service):
        client = await ask(service, f"{via}/")
        peer, body = await up.asked(), gzip.compress(b"squeezed")
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
        peer.transport.write(head + body)
        await until(lambda: client.data.endswith(body))
        client.transport.abortConnection()
        assert b"\r\nContent-Encoding: gzip\r\n" in client.data


@asynchronous
async def test_chunked_answer(via: str) -> None:
    """A chunked answer reaches the client piece by piece, headers first, as it is sent."""
    async with both() as (up, service):
        client = await ask(service, f"{via}/")
        peer = await up.asked()
        peer.transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await until(lambda: b"\r\nTransfer-Encoding: chunked\r\n" in client.data)
        peer.transport.write(b"3\r\none\r\n")
        await until(lambda: client.data.endswith(b"\r\n\r\n3\r\none\r\n"))
        peer.transport.write(b"0\r\n\r\n")
        await until(lambda: client.data.endswith(b"one\r\n0\r\n\r\n"))
        client.transport.abortConnection()


@asynchronous
async def test_unframed_answer(via: str) -> None:
    """An answer that ends with its connection is whole."""
    async with both() as (up, service):
        client = await ask(service, f"{via}/")
        peer = await up.asked()
        peer.transport.write(b"HTTP/1.0 200 OK\r\n\r\nold")
        peer.transport.loseConnection()
        await until(lambda: client.data.endswith(b"3\r\nold\r\n0\r\n\r\n"))
        client.transport.abortConnection()


@asynchronous
@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n'),
        ("POST", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
    ],
)
async def test_without_body(via: str, method: str, answer: bytes) -> None:
    """An answer that has no body is not given one, and the connection goes on."""
    async with both() as (up, service):
        request = f"{method} {via}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        client = await send(service, request + b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        (await up.asked()).transport.write(answer)
        await until(lambda: client.data.endswith(b'{"status": "ok"}\n'))
        client.transport.abortConnection()
    head, _, rest = client.data.partition(b"\r\n\r\n")
    assert rest.startswith(b"HTTP/1.1 200")
    assert (b"Content-Length: 5" in head) == (method == "HEAD")
    assert b"chunked" not in head
    assert b"Content-Type" not in head


UPLOADS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "length": (b"Content-Length: 10", lambda data: data),
    "chunked": (b"Transfer-Encoding: chunked", lambda data: b"%x\r\n%b\r\n" % (len(data), data)),
}


@asynchronous
@pytest.mark.parametrize("framing", UPLOADS)
async def test_upload_is_streamed(via: str, framing: str) -> None:
    """The upstream has a body's first bytes before the client has sent the last."""
    header, framed = UPLOADS[framing]
    async with both() as (up, service):
        client = await send(service, f"POST {via}/ HTTP/1.1\r\nHost: a\r\n".encode() + header + b"\r\n\r\n")
        client.transport.write(framed(b"first"))
        peer = await up.asked()
        await until(lambda: framed(b"first") in peer.data)
        assert header in peer.data
        client.transport.write(framed(b"again") + (framed(b"") if framing == "chunked" else b""))
        await until(lambda: framed(b"again") in peer.data)
        peer.transport.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        await until(lambda: b" 201 " in client.data)
        client.transport.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: client.data.endswith(b'{"status": "ok"}\n'))
        client.transport.abortConnection()


@asynchronous
async def test_expectation(via: str) -> None:
    """A client that expects 100 is asked for its body, and asked once."""
    async with both() as (up, service):
        head = f"PUT {via}/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        client = await send(service, head.encode())
        await until(lambda: client.data == b"HTTP/1.1 100 Continue\r\n\r\n")
        client.transport.write(b"now")
        peer = await up.asked()
        await until(lambda: peer.data.endswith(b"\r\n\r\nnow"))
        assert b"Expect" not in peer.data
        client.transport.abortConnection()


@asynchronous
async def test_large_upload(via: str) -> None:
    """Every byte of a large body arrives, in its order."""
    body = bytes(range(256)) * 40_000
    async with both() as (up, service):
        head = f"POST {via}/ HTTP/1.1\r\nHost: a\r\nLatebin-Delay: 50ms\r\nContent-Length: {len(body)}\r\n\r\n"
        client = await send(service, head.encode() + body)
        peer = await up.asked()
        await until(lambda: len(peer.data.partition(b"\r\n\r\n")[2]) == len(body))
        assert peer.data.endswith(b"\r\n\r\n" + body)
        client.transport.abortConnection()


@asynchronous
async def test_slow_reader(via: str) -> None:
    """An answer waits at the upstream while its client does not read, and arrives whole."""
    size = 64 * MEGABYTE
    async with both() as (up, service):
        client = await connect(service)
        client.transport.pauseProducing()
        client.transport.write(f"GET {via}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        peer = await up.asked()
        peer.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        flood = Flood(peer.transport, size)
        assert await settled(lambda: flood.written) < size / 2
        got = 0

        def count(data: bytes) -> None:
            nonlocal got
            got += len(data)

        client.dataReceived = count  # type: ignore[method-assign]
        client.transport.resumeProducing()
        await until(lambda: got > size)
        client.transport.abortConnection()


@asynchronous
async def test_slow_upstream(via: str) -> None:
    """A body waits at the client while the upstream does not read, and arrives whole."""
    size = 64 * MEGABYTE
    async with both() as (up, service):
        head = f"POST {via}/ HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode()
        client = await send(service, head)
        peer = await up.asked()
        peer.transport.pauseProducing()
        flood = Flood(client.transport, size)
        assert await settled(lambda: flood.written) < size / 2
        got = 0

        def count(data: bytes) -> None:
            nonlocal got
            got += len(data)

        peer.dataReceived = count  # type: ignore[method-assign]
        peer.transport.resumeProducing()
        await until(lambda: got == size)
        peer.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await until(lambda: b" 204 " in client.data)
        client.transport.abortConnection()


@asynchronous
async def test_upload_waits(via: str) -> None:
    """While the delay passes, a large body stays with the client."""
    size = 64 * MEGABYTE
    async with both() as (_, service):
        head = f"POST {via}/ HTTP/1.1\r\nHost: a\r\nLatebin-Delay: 5m\r\nContent-Length: {size}\r\n\r\n".encode()
        client = await send(service, head)
        flood = Flood(client.transport, size)
        assert await settled(lambda: flood.written) < size / 2
        assert service.pending() == 1
        client.transport.abortConnection()


def problem(client: Client) -> bytes:
    assert b"\r\nContent-Type: application/problem+json\r\n" in client.data
    assert b"127.0.0.1" not in client.data
    return client.data.split(b" ")[1]


@asynchronous
async def test_refused(via: str) -> None:
    """An upstream without a listener is 502 after the delay; only the log has why."""
    async with upstream() as up:
        port = up.port
    async with before(port) as service:
        client = await ask(service, f"{via}/", "Latebin-Delay: 10ms", "Connection: close")
        await client.lost
        assert problem(client) == b"502"
        assert b"asked;dur=10.000" in client.data


@asynchronous
async def test_unknown_host(via: str) -> None:
    """An upstream with an unknown name is 502."""
    async with before(0, upstreams={"up": "http://nowhere.invalid"}) as service:
        client = await ask(service, f"{via}/", "Connection: close")
        await client.lost
        assert problem(client) == b"502"


@asynchronous
async def test_unknown_name(via: str) -> None:
    """The 404 names the upstreams when the name is unknown."""
    async with before(0, upstreams={"up": "http://127.0.0.1:1", "api": "http://127.0.0.1:1"}) as service:
        client = await ask(service, f"{via.removesuffix('/up')}/down/", "Connection: close")
        await client.lost
        assert problem(client) == b"404"
        assert b'"given": "down", "accepted": "api, up"' in client.data


@asynchronous
async def test_no_tls(via: str) -> None:
    """An upstream that was to speak TLS and does not is 502."""
    async with upstream() as up, before(0, upstreams={"up": f"https://127.0.0.1:{up.port}"}) as service:
        client = await ask(service, f"{via}/", "Connection: close")
        await until(lambda: bool(up.peers and up.peers[0].data))
        up.peers[0].transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await client.lost
        assert problem(client) == b"502"


@asynchronous
@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n"])
async def test_gone_in_an_upload(via: str, answer: bytes) -> None:
    """An upstream that closes the connection under an upload is 502."""
    with capturedLogs() as events:
        async with both() as (up, service):
            head = f"POST {via}/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1"
            client = await send(service, head.encode())
            peer = await up.asked()
            peer.transport.write(answer)
            peer.transport.loseConnection()
            await until(lambda: b"}" in client.data)
            assert problem(client) == b"502"
            client.transport.abortConnection()
    assert not [event for event in events if event["log_level"] >= LogLevel.error]


@asynchronous
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: rot13\r\n\r\n",
        b"HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 1000 Odd\r\nContent-Length: 9\r\n\r\nhi",
    ],
)
async def test_malformed(via: str, answer: bytes) -> None:
    """A malformed answer of any length is 502, and its connection is closed."""
    async with both() as (up, service):
        client = await send(service, f"POST {via}/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        peer = await up.asked()
        peer.transport.write(answer)
        if not answer.endswith(b"hi"):
            peer.transport.loseConnection()
        await client.lost
        assert problem(client) == b"502"
        await until(lambda: peer.gone)


TIMEOUT = 5.0
"""Seconds that an upstream has, on the clock of a test."""


async def forwarded(clock: Clock, service: Served, up: Upstream) -> Peer:
    """Give the service the turn of its clock in which it passes a request on."""
    await until(lambda: service.pending() == 1)
    clock.advance(0)
    return await up.asked()


@asynchronous
async def test_late(via: str) -> None:
    """An upstream is 504 and loses its connection when it begins no answer in time."""
    clock = Clock()
    async with both(clock=clock, upstream_timeout=TIMEOUT) as (up, service):
        client = await ask(service, f"{via}/", "Connection: close")
        peer = await forwarded(clock, service, up)
        clock.advance(TIMEOUT - 0.1)
        # An effect of the clock would have arrived before the answer to another request.
        await treq.content(await service.get("/healthz"))
        assert client.data == b""
        clock.advance(0.1)
        await until(lambda: client.data.endswith(b"}\n"))
        assert problem(client) == b"504"
        await until(lambda: peer.gone)


@asynchronous
async def test_late_in_an_upload(via: str) -> None:
    """An upstream is 504 when it does not read on."""
    clock = Clock()
    async with both(clock=clock, upstream_timeout=TIMEOUT) as (up, service):
        head = (
            f"POST {via}/ HTTP/1.1\r\nHost: a\r\nContent-Length: {64 * MEGABYTE}\r\nConnection: close\r\n\r\n".encode()
        )
        client = await send(service, head)
        (await forwarded(clock, service, up)).transport.pauseProducing()
        Flood(client.transport, 64 * MEGABYTE)

        def answered() -> bool:
            # As long as buffers take more of the body, the upstream's time begins anew.
            clock.advance(TIMEOUT / 2)
            return client.data.endswith(b"}\n")

        await until(answered)
        assert problem(client) == b"504"
        client.transport.abortConnection()


@asynchronous
async def test_slow_client_is_not_a_late_upstream(via: str) -> None:
    """An upstream is not late when its time passes while the client sends its body."""
    clock = Clock()
    async with both(clock=clock, upstream_timeout=TIMEOUT) as (up, service):
        client = await send(service, f"POST {via}/ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1".encode())
        peer = await forwarded(clock, service, up)
        await until(lambda: peer.data.endswith(b"1"))
        clock.pump([TIMEOUT] * 5)
        client.transport.write(b"2")
        await until(lambda: peer.data.endswith(b"12"))
        clock.advance(TIMEOUT / 2)
        peer.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await until(lambda: bool(client.data))
        assert client.data.split(b" ")[1] == b"204"
        client.transport.abortConnection()


@asynchronous
@pytest.mark.parametrize("framing", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
async def test_broken_off(via: str, framing: bytes) -> None:
    """An answer breaks off for the client when the upstream's does, as the log says."""
    with capturedLogs() as events:
        async with both() as (up, service):
            client = await ask(service, f"{via}/")
            peer = await up.asked()
            peer.transport.write(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n5\r\nhello\r\n")
            await until(lambda: b"hello" in client.data)
            peer.transport.abortConnection()
            await client.lost
            await until(lambda: any("status" in event for event in events))
    assert not client.data.endswith(b"0\r\n\r\n")
    assert [event["status"] for event in events if "status" in event] == ["broken"]
    assert not [event for event in events if event["log_level"] >= LogLevel.error]


async def gone_while_connecting(up: Upstream, client: Client) -> None:
    await up.asked()


async def gone_before_the_body(up: Upstream, client: Client) -> None:
    (await up.asked()).transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    await until(lambda: b"\r\n\r\n" in client.data)


async def gone_in_the_body(up: Upstream, client: Client) -> None:
    (await up.asked()).transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi")
    await until(lambda: client.data.endswith(b"hi"))


@asynchronous
@pytest.mark.parametrize("moment", [gone_while_connecting, gone_before_the_body, gone_in_the_body])
@pytest.mark.parametrize("body", [b"", b"Content-Length: 0\r\n", b"Content-Length: 1\r\n"])
async def test_leaving(via: str, moment: Callable[[Upstream, Client], Any], body: bytes) -> None:
    """A client that leaves takes the request to the upstream with it, whenever it leaves."""
    with capturedLogs() as events:
        async with both() as (up, service):
            client = await send(service, f"POST {via}/ HTTP/1.1\r\nHost: a\r\n".encode() + body + b"\r\n")
            if b"1" in body and moment is not gone_while_connecting:
                client.transport.write(b"1")
            await moment(up, client)
            client.transport.loseConnection()
            await until(lambda: up.peers[0].gone)
            await until(lambda: any("status" in event for event in events))
    assert [event["status"] for event in events if "status" in event] == ["left"]
    assert not [event for event in events if event["log_level"] >= LogLevel.warn]


@asynchronous
async def test_leaving_in_the_delay(via: str) -> None:
    """A client that leaves while it waits never reaches the upstream."""
    async with both() as (up, service):
        client = await ask(service, f"{via}/", "Latebin-Delay: 5m")
        await until(lambda: service.pending() == 1)
        client.transport.loseConnection()
        await until(lambda: service.pending() == 0)
        assert up.peers == []


@asynchronous
async def test_answered_instead(via: str) -> None:
    """A status or a fault is answered without a request to the upstream."""
    async with both() as (up, service):
        client = await ask(service, f"{via}/", "Latebin-Status: 503", "Connection: close")
        await client.lost
        assert client.data.split(b" ")[1] == b"503"
        client = await ask(service, f"{via}/", "Latebin-Fault: close:100%")
        await client.lost
        assert client.data == b""
        assert up.peers == []


@asynchronous
async def test_share(via: str) -> None:
    """A share is drawn for each request; those that it misses are passed on."""
    async with both() as (up, service):
        headers = ("Latebin-Status: 503:50%", "Latebin-Seed: 1", "Connection: close")
        statuses = []
        for n in range(1, 9):
            client = await ask(service, f"{via}/", *headers, f"Latebin-N: {n}")
            count = len(up.peers)
            await until(lambda: bool(client.data) or len(up.peers) > count)  # noqa: B023  # awaited within the loop
            for peer in up.peers:
                peer.transport.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                peer.transport.loseConnection()
            await client.lost
            statuses.append(client.data.split(b" ")[1])
        assert set(statuses) == {b"503", b"204"}
        assert len(up.peers) == statuses.count(b"204")


SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


@asynchronous
@pytest.mark.parametrize("asked", ["Latebin-Status: 503", "Latebin-Delay: soon"])
async def test_answered_before_the_body_is_whole(via: str, asked: str) -> None:
    """The bytes after an early answer are the rest of the body, not a request."""
    async with both() as (_, service):
        length = 1 + len(SMUGGLED)
        head = f"POST {via}/ HTTP/1.1\r\nHost: a\r\n{asked}\r\nContent-Length: {length}\r\n\r\n1"
        client = await send(service, head.encode())
        await until(lambda: b"\r\n\r\n" in client.data)
        client.transport.write(SMUGGLED + b"OPTIONS /delayed HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: b" 204 " in client.data)
        assert client.data.count(b"HTTP/1.1 ") == 2
        assert b'"ok"' not in client.data
        client.transport.abortConnection()


@asynchronous
@pytest.mark.parametrize("body", [b"", b"no more of that"])
async def test_upstream_answers_early(via: str, body: bytes) -> None:
    """An upstream's early answer is passed back, and the rest of the body dropped."""
    async with both() as (up, service):
        length = 1 + len(SMUGGLED)
        head = f"POST {via}/ HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n1"
        client = await send(service, head.encode())
        peer = await up.asked()
        peer.transport.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await until(lambda: b" 413 " in client.data and client.data.endswith(b"\r\n\r\n" + body))
        client.transport.write(SMUGGLED + b"OPTIONS /delayed HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: b" 204 " in client.data)
        assert client.data.count(b"HTTP/1.1 ") == 2
        await until(lambda: peer.gone)
        client.transport.abortConnection()


@asynchronous
async def test_both_ways_at_once(via: str) -> None:
    """An answer can come while its request is still being sent."""
    async with both() as (up, service):
        client = await send(service, f"POST {via}/ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1".encode())
        peer = await up.asked()
        peer.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
        await until(lambda: client.data.endswith(b"\r\n\r\na"))
        client.transport.write(b"2")
        await until(lambda: peer.data.endswith(b"12"))
        peer.transport.write(b"b")
        await until(lambda: client.data.endswith(b"ab"))
        client.transport.write(f"GET {via}/again HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        await until(lambda: b"GET /again" in peer.data)
        client.transport.abortConnection()


@asynchronous
async def test_malformed_body(via: str) -> None:
    """A chunked body that is malformed ends the request to the upstream unfinished."""
    async with both() as (up, service):
        head = f"POST {via}/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n"
        client = await send(service, head.encode())
        peer = await up.asked()
        client.transport.write(b"nonsense\r\n")
        await client.lost
        await until(lambda: peer.gone)
        assert not peer.data.endswith(b"0\r\n\r\n")
        assert client.data.startswith(b"HTTP/1.1 400 ")


@asynchronous
async def test_malformed_body_in_the_middle_of_an_answer(via: str) -> None:
    """A malformed body cuts the answer off, without another, when the answer has begun."""
    async with both() as (up, service):
        head = f"POST {via}/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n"
        client = await send(service, head.encode())
        peer = await up.asked()
        peer.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhi")
        await until(lambda: client.data.endswith(b"hi"))
        client.transport.write(b"nonsense\r\n")
        await client.lost
        await until(lambda: peer.gone)
        assert client.data.endswith(b"\r\n\r\nhi")


@asynchronous
async def test_pipelining(via: str) -> None:
    """A request behind one with a body is answered after it, also by the upstream."""
    async with both() as (up, service):
        first = f"POST {via}/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody".encode()
        client = await send(service, first + f"GET {via}/2 HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        peer = await up.asked()
        await until(lambda: peer.data.endswith(b"body"))
        assert len(up.peers) == 1
        peer.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
        await until(lambda: b"GET /2 HTTP/1.1" in peer.data)
        peer.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2")
        await until(lambda: client.data.endswith(b"\r\n\r\n2"))
        client.transport.abortConnection()


@asynchronous
async def test_sent_in_the_log(via: str) -> None:
    """An answer that was passed back is in the access log with status and bytes."""
    with capturedLogs() as events:
        async with both() as (up, service):
            client = await ask(service, f"{via}/x?y", "Connection: close")
            (await up.asked()).transport.write(b"HTTP/1.1 418 Teapot\r\nContent-Length: 3\r\n\r\ntea")
            await client.lost
    [event] = [event for event in events if "status" in event]
    assert (event["status"], event["sent"], event["path"], event["query"]) == (418, 3, f"{via}/x", "y")
    assert event["asked_ms"] == 0

"""The bytes of another protocol behind a 101, both ways."""

from collections.abc import Sequence
from typing import Any

import pytest
from twisted.logger import LogLevel, capturedLogs

from latebin.core.endpoints import PREFIXES
from latebin.core.http.reply import STOPPING
from tests.support.sockets import Client, Served, asynchronous, until
from tests.support.upstream import MEGABYTE, Flood, Peer, Upstream, ask, both, settled

UPGRADE = ("Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")

SWITCHED = b"HTTP/1.1 101 Now Then\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"


@pytest.fixture(params=["via", "scenario"])
def seen(request: pytest.FixtureRequest, style: str) -> str:
    return PREFIXES[style] + {"via": "/via/up", "scenario": "/as/web"}[request.param]


CHOSEN: dict[str, Any] = {"scenarios": {"web": "upstream=up"}}


async def switched(up: Upstream, service: Served, seen: str, early: bytes = b"") -> tuple[Client, Peer]:
    client = await ask(service, f"{seen}/chat", *UPGRADE)
    peer = await up.asked()
    peer.transport.write(SWITCHED + early)
    await until(lambda: b"\r\n\r\n" in client.data)
    return client, peer


def statuses(events: Sequence[Any]) -> list[Any]:
    return [event["status"] for event in events if "status" in event]


@asynchronous
async def test_both_ways(seen: str) -> None:
    """An upgrade reaches the upstream, and bytes go both ways behind its 101."""
    with capturedLogs() as events:
        async with both(**CHOSEN) as (up, service):
            client, peer = await switched(up, service, seen, b"first")
            asked = peer.data
            await until(lambda: client.data.endswith(b"\r\n\r\nfirst"))
            client.transport.write(b"GET / HTTP/1.1\r\n\r\n\x00")
            await until(lambda: peer.data == asked + b"GET / HTTP/1.1\r\n\r\n\x00")
            peer.transport.write(b"\x81\x00")
            await until(lambda: client.data.endswith(b"first\x81\x00"))
            peer.transport.loseConnection()
            await client.lost
            await until(lambda: bool(statuses(events)))
    assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in asked
    assert b"\r\nSec-Websocket-Version: 13\r\n" in asked
    lines = client.data.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 101 Now Then"
    assert {b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-Websocket-Accept: x"} <= set(lines)
    assert not any(line.startswith((b"Transfer-Encoding", b"Content-")) for line in lines)
    [event] = [event for event in events if "status" in event]
    assert (event["status"], event["sent"]) == (101, 7)
    assert not [event for event in events if event["log_level"] >= LogLevel.warn]


@asynchronous
async def test_client_ends(seen: str) -> None:
    """The last bytes of a client reach the upstream when the client closes."""
    with capturedLogs() as events:
        async with both(**CHOSEN) as (up, service):
            client, peer = await switched(up, service, seen)
            client.transport.write(b"goodbye")
            client.transport.loseConnection()
            await until(lambda: peer.gone)
            await until(lambda: bool(statuses(events)))
    assert peer.data.endswith(b"\r\n\r\ngoodbye")
    assert statuses(events) == [101]


@asynchronous
async def test_early_bytes(seen: str) -> None:
    """Bytes that come behind a request reach the upstream when it switches, and not before."""
    async with both(**CHOSEN) as (up, service):
        client = await ask(service, f"{seen}/", *UPGRADE)
        client.transport.write(b"early" * 10_000)
        peer = await up.asked()
        assert b"early" not in peer.data
        peer.transport.write(SWITCHED)
        await until(lambda: peer.data.endswith(b"early" * 10_000))
        client.transport.write(b"later")
        await until(lambda: peer.data.endswith(b"later"))
        client.transport.abortConnection()


@asynchronous
async def test_slow_client(seen: str) -> None:
    """Bytes wait at the upstream while the client does not read, and arrive all."""
    size = 64 * MEGABYTE
    async with both(**CHOSEN) as (up, service):
        client, peer = await switched(up, service, seen)
        client.transport.pauseProducing()
        flood, got = Flood(peer.transport, size), 0

        def count(data: bytes) -> None:
            nonlocal got
            got += len(data)

        assert await settled(lambda: flood.written) < size / 2
        client.dataReceived = count  # type: ignore[method-assign]
        client.transport.write(b"still here")
        await until(lambda: peer.data.endswith(b"still here"))
        client.transport.resumeProducing()
        await until(lambda: got == size)
        client.transport.abortConnection()


@asynchronous
async def test_slow_upstream(seen: str) -> None:
    """Bytes wait at the client while the upstream does not read, and arrive all."""
    size = 64 * MEGABYTE
    async with both(**CHOSEN) as (up, service):
        client, peer = await switched(up, service, seen)
        peer.transport.pauseProducing()
        flood, got = Flood(client.transport, size), 0

        def count(data: bytes) -> None:
            nonlocal got
            got += len(data)

        assert await settled(lambda: flood.written) < size / 2
        peer.dataReceived = count  # type: ignore[method-assign]
        peer.transport.write(b"still here")
        await until(lambda: client.data.endswith(b"still here"))
        peer.transport.resumeProducing()
        await until(lambda: got == size)
        client.transport.abortConnection()


@asynchronous
async def test_reset_by_the_upstream(seen: str) -> None:
    """The client's connection is reset when the upstream resets its own."""
    with capturedLogs() as events:
        async with both(**CHOSEN) as (up, service):
            client, peer = await switched(up, service, seen)
            peer.transport.abortConnection()
            await client.lost
            await until(lambda: bool(statuses(events)))
    assert statuses(events) == ["broken"]


@asynchronous
async def test_drain(seen: str) -> None:
    """A connection behind a 101 is broken off when the service stops."""
    with capturedLogs() as events:
        async with both(**CHOSEN) as (up, service):
            client, peer = await switched(up, service, seen)
            connections = service.requests()[0].site.connections
            connections.start_ending()
            ended = connections.end()
            client.transport.write(b"still here")
            await until(lambda: peer.data.endswith(b"still here"))
            assert connections.dismiss(STOPPING.reply()) == 1
            await client.lost
            await until(lambda: peer.gone)
            await ended
    assert statuses(events) == ["aborted"]


@asynchronous
async def test_not_switched(seen: str) -> None:
    """An upstream may answer without switching, and the connection goes on."""
    async with both(**CHOSEN) as (up, service):
        client = await ask(service, f"{seen}/", *UPGRADE)
        peer = await up.asked()
        peer.transport.write(b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: chat/2\r\nContent-Length: 0\r\n\r\n")
        await until(lambda: b"\r\n\r\n" in client.data)
        assert b"\r\nUpgrade: chat/2\r\n" in client.data
        client.transport.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: client.data.endswith(b'{"status": "ok"}\n'))
        client.transport.abortConnection()


@asynchronous
@pytest.mark.parametrize("header", ["Upgrade: h2c", "Content-Length: 1"])
async def test_no_upgrade(seen: str, header: str) -> None:
    """An upgrade to HTTP, or with a body, is not passed on."""
    async with both(**CHOSEN) as (up, service):
        lines = [UPGRADE[0], header] if "h2c" in header else [*UPGRADE, header]
        client = await ask(service, f"{seen}/", *lines)
        assert b"Upgrade" not in (await up.asked()).data
        client.transport.abortConnection()


@asynchronous
async def test_stock(style: str) -> None:
    """An upgrade is refused on the stock stack, with the reason."""
    async with both(stack="stock") as (up, service):
        client = await ask(service, f"{PREFIXES[style]}/via/up/", UPGRADE[0] + ", close", *UPGRADE[1:])
        await until(lambda: client.data.endswith(b"}\n"))
        assert up.peers == []
        client.transport.abortConnection()
    assert client.data.startswith(b"HTTP/1.1 501 ")
    assert b"--stack tuned" in client.data

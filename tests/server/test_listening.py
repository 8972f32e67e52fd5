import socket
from itertools import repeat
from typing import Any

import pytest
import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.logger import LogLevel, capturedLogs

from latebin.compare.contract import CASES, Case
from latebin.core.settings import Settings
from latebin.server.listening import announce, endpoints, open_ports
from tests.support.sockets import BOUND, asynchronous, connect, served, until


def timing(response: Any) -> dict[str, float]:
    """Read Server-Timing, in seconds."""
    [value] = response.headers.getRawHeaders("Server-Timing")
    return {name: float(ms) / 1000 for name, ms in (metric.split(";dur=") for metric in value.split(", "))}


@asynchronous
async def test_delay_is_kept(prefix: str) -> None:
    """A client waits for at least the delay when it asks for one."""
    async with served() as service:
        started = reactor.seconds()
        response = await service.get(f"{prefix}/delayed/100ms")
        assert reactor.seconds() - started >= 0.1
        assert response.code == 200
        assert await treq.content(response) == b"<html><body>Sorry to keep you waiting.</body></html>"
        assert timing(response)["asked"] == 0.1
        assert timing(response)["delay"] >= 0.1


@asynchronous
async def test_head(prefix: str) -> None:
    """A HEAD is answered late, with the length of the body that is left out."""
    async with served(default_delay=0.05) as service:
        response = await service.get(f"{prefix}/delayed", "HEAD")
        assert response.headers.getRawHeaders("Content-Length") == ["52"]
        assert await treq.content(response) == b""
        assert timing(response)["delay"] >= 0.05


@asynchronous
async def test_disconnect(style: str, prefix: str) -> None:
    """A request is given up at once when its client closes the connection."""
    with capturedLogs() as events:
        async with served() as service:
            client = await connect(service)
            client.transport.write(Case("", "/delayed/5m").request(style))
            await until(lambda: service.pending() == 1)
            client.transport.loseConnection()
            await until(lambda: service.pending() == 0)
            await until(lambda: any(event.get("status") == "left" for event in events))
    assert not [event for event in events if event["log_level"] >= LogLevel.warn]


@asynchronous
async def test_half_close(style: str) -> None:
    """A client gets no answer when it closes its sending half, which looks like leaving."""
    async with served() as service:
        client = await connect(service)
        client.transport.write(Case("", "/delayed/5m").request(style))
        await until(lambda: service.pending() == 1)
        client.transport.getHandle().shutdown(socket.SHUT_WR)
        await client.lost
        assert client.data == b""
        assert service.pending() == 0


@asynchronous
async def test_pipelining(style: str) -> None:
    """Two requests are answered in their order when they come in one packet."""
    async with served() as service:
        client = await connect(service)
        last = Case("", "/delayed/0", headers=("Connection: close",)).request(style)
        client.transport.write(Case("", "/delayed/50ms").request(style) + last)
        await client.lost
        first, second = client.data.split(b"HTTP/1.1 ")[1:]
        assert b"asked;dur=50.000" in first
        assert b"asked;dur=0.000" in second


@asynchronous
async def test_hundred_at_once(prefix: str) -> None:
    """A hundred requests wait together when they come at once."""
    async with served() as service:
        answers = gatherResults([Deferred.fromCoroutine(service.get(f"{prefix}/delayed/1s")) for _ in range(100)])
        await until(lambda: service.pending() == 100)
        assert [response.code for response in await answers] == [200] * 100
        assert service.pending() == 0


@asynchronous
async def test_a_large_body_is_dropped(prefix: str) -> None:
    """The answer comes when a body of megabytes has been read off the connection."""
    async with served() as service:
        body = b"x" * 5_000_000
        response = await treq.post(service.url(f"{prefix}/delayed/0"), data=body, pool=service.pool, timeout=BOUND)
        assert response.code == 200


@asynchronous
async def test_contract_on_a_socket(style: str) -> None:
    """A case is answered over a real connection as in memory when it is short."""
    async with served() as service:
        for case in CASES:
            if case.wait + case.over < 0.5 and case.version == "HTTP/1.1":
                client = await connect(service)
                client.transport.write(case.request(style) + Case("", "/", method="OPTIONS").request(style))
                await until(lambda: client.data.count(b"\r\nServer: ") == 2)  # noqa: B023  # awaited within the loop
                assert client.data.split(b" ")[1] == str(case.status).encode(), case.name
                client.transport.loseConnection()
                await client.lost


@asynchronous
async def test_a_port_that_is_taken() -> None:
    """The error says that the address is in use when the port is taken."""
    async with served() as service:
        with pytest.raises(CannotListenError, match="Address already in use"):
            await open_ports(Settings(port=service.port), [reactor], Factory(), Factory())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(), ("tcp:8080:interface=127.0.0.1:backlog=5000",)),
        (Settings(host="::1", port=0), (r"tcp:0:interface=\:\:1:backlog=5000",)),
        (Settings(listen=("unix:/tmp/a", "tcp:1")), ("unix:/tmp/a", "tcp:1")),
    ],
)
def test_endpoints(settings: Settings, expected: tuple[str, ...]) -> None:
    """One endpoint is made of host and port when none is given."""
    assert endpoints(settings) == expected


@pytest.mark.parametrize(
    ("description", "backlog"),
    [
        ("tcp:0", 5000),
        ("haproxy:tcp:0", 5000),
        ("tcp:0:backlog=7", 7),
        ("tcp:0:127.0.0.1:7", 7),
        (r"tcp6:0:interface=\:\:1", 5000),
        ("unix:/tmp/a", 5000),
    ],
)
@asynchronous
async def test_backlog(monkeypatch: pytest.MonkeyPatch, description: str, backlog: int) -> None:
    """An endpoint has our backlog when its description has none."""
    asked: list[int] = []

    def listening(*arguments: Any, backlog: int, **options: Any) -> Any:
        asked.append(backlog)
        return MemoryReactor().listenTCP(0, arguments[1])

    for method in ("listenTCP", "listenUNIX"):
        monkeypatch.setattr(reactor, method, listening)
    await open_ports(Settings(listen=(description,)), [reactor], Factory(), Factory())
    assert asked == [backlog]


@asynchronous
async def test_urls(tmp_path: Any) -> None:
    """The URLs are logged when the service listens on IPv4, IPv6 and UNIX sockets."""
    path = tmp_path / "socket"
    chosen = Settings(listen=("tcp:0:interface=127.0.0.1", r"tcp6:0:interface=\:\:1", f"unix:{path}"))
    opened = await open_ports(chosen, repeat(reactor), Factory(), Factory())
    with capturedLogs() as events:
        ports = announce(chosen, opened).public
    four, six, _ = [str(port.getHost()).partition("port=")[2].partition(",")[0].strip(")") for port in ports]
    for port in ports:
        await maybeDeferred(port.stopListening)
    urls = [event["raw"] for event in events if "raw" in event]
    assert urls == [
        f"http://127.0.0.1:{four}/raw/delayed",
        f"http://[::1]:{six}/raw/delayed",
        f"unix:{path}/raw/delayed",
    ]

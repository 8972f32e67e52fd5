"""Many streams at once: the lateness and the CPU time of an event, by server.

    python -m tests.bench.streams [--streams 2000] [--every 100ms] [--seconds 10] [--unread 200]

A client opens all streams within a second and reads them. An event's lateness is the time of its arrival, less the
arrival of the least late event of its stream and the gaps between them. So no clock of a server is asked, and a server
that is late from the first event on is not charged for it. The client takes CPU time of its own: on two cores, the
servers are compared with the same client, and their figures are upper bounds.

With `--unread`, so many of the streams are never read after their headers. Their events have 64 KiB, which soon fill
the buffers of the system. The memory of the service is shown every ten seconds then, for latebin alone.
"""

import asyncio
import os
import platform
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import attrs
import click

from latebin.cli.options import DurationType
from latebin.load.footprint import read
from tests.bench.servers import MODULE, SERVE, Load, Server, running

EVENT: Final = b"data:"

LARGE: Final = "&size=64k"
"""The events of streams that are not read."""

LOOK: Final = 10.0
"""Seconds from one look at the memory to the next."""

SERVERS: Final = (
    Server("latebin", SERVE, "/delayed?type=sse&delay=0&chunks={count}&every={every_ms}ms"),
    Server("latebin, raw", SERVE, "/raw/delayed?type=sse&delay=0&chunks={count}&every={every_ms}ms"),
    Server(
        "latebin, stock", (*SERVE, "--stack", "stock"), "/delayed?type=sse&delay=0&chunks={count}&every={every_ms}ms"
    ),
    Server(
        "go-httpbin",
        ("go-httpbin", "-port", "{port}", "-max-duration", "1h"),
        "/sse?count={count}&duration={duration}s",
        ("go-httpbin",),
    ),
    Server(
        "aiohttp", (*MODULE, "tests.bench.peer_aiohttp", "{port}"), "/sse?count={count}&every={every}", ("aiohttp",)
    ),
)


@attrs.define
class Reader(asyncio.Protocol):
    """One stream, with the arrivals of its events."""

    request: bytes
    unread: bool = False
    came: list[float] = attrs.field(factory=list)
    transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.came.extend([time.monotonic()] * data.count(EVENT))
        if self.unread and self.transport is not None:
            self.transport.pause_reading()


@attrs.frozen
class Result:
    """The figures of one server.

    Attributes:
        events: how many events came.
        lateness: their lateness in seconds, ascending.
        cpu: seconds of the server's CPU time for each event.
        memory: bytes of the server's memory at each look, the last at the end.
    """

    events: int
    lateness: list[float]
    cpu: float
    memory: list[int]

    def percentile(self, share: float) -> float:
        return self.lateness[min(int(len(self.lateness) * share), len(self.lateness) - 1)]


def latenesses(readers: list[Reader], every: float) -> Iterator[float]:
    for reader in readers:
        offsets = [came - number * every for number, came in enumerate(reader.came)]
        least = min(offsets, default=0.0)
        yield from (offset - least for offset in offsets)


async def read_streams(
    port: int, path: str, streams: int, *, seconds: float, unread: int, look: Callable[[], object]
) -> list[Reader]:
    loop, readers = asyncio.get_running_loop(), []
    for number in range(streams):
        target = path + LARGE if number < unread else path
        request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        _, reader = await loop.create_connection(partial(Reader, request, number < unread), "127.0.0.1", port)
        readers.append(reader)
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        await asyncio.sleep(min(left, LOOK))
        look()
    for reader in readers:
        if reader.transport is not None:
            reader.transport.abort()
    return [reader for reader in readers if not reader.unread]


def measured(server: Server, streams: int, every: float, seconds: float, unread: int) -> Result:
    count = round((seconds + 60) / every)
    figures = {"count": count, "every": every, "every_ms": round(every * 1000), "duration": round(count * every, 3)}
    with running(server, Load(streams, 0)) as (port, pid):
        looks = [read([pid])]
        path = server.path.format(**figures)
        reading = read_streams(
            port, path, streams, seconds=seconds, unread=unread, look=lambda: looks.append(read([pid]))
        )
        readers = asyncio.run(reading)
    events = sum(len(reader.came) for reader in readers)
    cpu = (looks[-1].cpu - looks[0].cpu) / max(events, 1)
    return Result(events, sorted(latenesses(readers, every)), cpu, [look.memory for look in looks[1:]])


@click.command(help=__doc__)
@click.option("--streams", default=2000, show_default=True)
@click.option("--every", type=DurationType(), default="100ms", show_default=True)
@click.option("--seconds", default=10.0, show_default=True)
@click.option("--unread", default=0, show_default=True, help="Streams that are never read after their headers.")
def main(*, streams: int, every: float, seconds: float, unread: int) -> None:
    click.echo(f"Python {platform.python_version()}, load average {os.getloadavg()[0]:.2f} before")
    for server in filter(Server.installed, SERVERS):
        if unread and not server.name.startswith("latebin"):
            continue
        found = measured(server, streams, every, seconds, unread)
        if not found.lateness:
            raise click.ClickException(f"{server.name}: no event came")
        p50, p99, p999 = (f"{found.percentile(share) * 1000:.2f}" for share in (0.5, 0.99, 0.999))
        lateness = f"lateness p50 {p50}, p99 {p99}, p99.9 {p999} ms"
        memory = ", ".join(f"{each / 1e6:.1f}" for each in found.memory) if unread else f"{found.memory[-1] / 1e6:.0f}"
        cost = f"{found.cpu * 1e6:.0f} us of CPU an event, {memory} MB"
        click.echo(f"{server.name}: {found.events:,} events, {lateness}, {cost}")


if __name__ == "__main__":
    main()

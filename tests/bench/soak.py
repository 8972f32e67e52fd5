"""The memory of the service over a million answers, by traffic that never pauses.

    python -m tests.bench.soak [--answers 1000000] [--seconds 7200] [--clients 24] [--connecting 4] [--stack tuned]
        [--csv FILE]

Most clients send one request after another on a persistent connection: delayed answers in both styles, bodies in
pieces, problems and faults. The others open a connection for each exchange, of each kind of
`tests.support.kinds`: TLS, new and resumed, HTTP/2, uploads, refused requests, clients that leave, and so on.

The memory is a line, with a sample for each hundredth of the answers or of the time. Its level is that of the first
sample after a thousand connections. The run fails if a later sample is more than 20 % above that.
"""

import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final

import attrs
import click

from latebin.core.settings import STACKS
from latebin.load.footprint import read
from latebin.testing.process import serving
from tests.support.certificate import listening
from tests.support.kinds import KINDS, Target, request, upstream

REQUESTS: Final = [
    request(f"{prefix}{target}", method=method)
    for method, target in (
        *[("GET", "/delayed?delay=1ms")] * 8,
        ("GET", "/delayed?delay=1ms..20ms&seed=7"),
        ("GET", "/delayed?delay=1ms&size=256k"),
        ("GET", "/delayed?delay=1ms&chunks=4&over=10ms"),
        ("GET", "/delayed?delay=soon"),
        ("GET", "/nothing"),
        ("GET", "/delayed?delay=1ms&fault=reset"),
        ("GET", "/delayed?delay=1ms&fault=close"),
        ("GET", "/delay/0.001?a=1"),
        ("GET", "/predict?delay=1s..3s"),
    )
    for prefix in ("", "/raw")
]

SAMPLES: Final = 100

FIRST: Final = 1000
"""Connections after which the memory has its level."""

GROWTH: Final = 1.2
"""The most memory, as a multiple of its level."""

BLOCKS: Final = "▁▂▃▄▅▆▇█"

OPTIONS: Final = ("--header-timeout", "1s", "--drain-timeout", "0s")


@attrs.define
class Count:
    """The exchanges and connections so far, of all clients together."""

    exchanges: int = 0
    connections: int = 0
    _lock: Lock = attrs.field(factory=Lock, init=False)

    def add(self, exchanges: int, connections: int) -> None:
        with self._lock:
            self.exchanges += exchanges
            self.connections += connections


def persistent(target: Target, count: Count, over: Event) -> None:
    """Send one request after another, on connections that the service ends."""
    requests = cycle(REQUESTS)
    while not over.is_set():
        with target.plain() as connection, suppress(OSError):
            sent = 0
            while not over.is_set() and _exchange(connection, next(requests)):
                sent += 1
                if sent % 10 == 0:
                    count.add(10, 0)
        count.add(sent % 10 + 1, 1)


def _exchange(connection: socket.socket, sent: bytes) -> bool:
    """Send a request, and read its answer; return whether the connection is still open."""
    connection.sendall(sent)
    received = b""
    while not (end := _end(received)) or len(received) < end:
        data = connection.recv(2**18)
        if not data:
            return False
        received += data
    return True


def _end(received: bytes) -> int:
    """Return the end of an answer, or 0 while its headers are not whole."""
    head, end, _ = received.partition(b"\r\n\r\n")
    if not end:
        return 0
    _, _, length = head.lower().partition(b"\r\ncontent-length:")
    return len(head) + 4 + int(length.partition(b"\r\n")[0])


def changing(target: Target, count: Count, over: Event, shift: int) -> None:
    """Do one exchange after another, each of the next kind."""
    kinds = list(KINDS.values())
    for kind in cycle(kinds[shift:] + kinds[:shift]):
        if over.is_set():
            return
        # A connection of a client may fail as the service means it to.
        with suppress(OSError):
            kind(target)
        count.add(1, 1)


@contextmanager
def traffic(target: Target, clients: int, connecting: int) -> Iterator[Count]:
    """Run clients until the end of the context.

    Args:
        target: the service.
        clients: how many.
        connecting: how many of them open a connection for each exchange.
    """
    count, over = Count(), Event()
    threads = []
    for number in range(clients):
        if number < connecting:
            shift = number * len(KINDS) // connecting
            threads.append(Thread(target=changing, args=(target, count, over, shift)))
        else:
            threads.append(Thread(target=persistent, args=(target, count, over)))
    for thread in threads:
        thread.start()
    try:
        yield count
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextmanager
def soaked(stack: str) -> Iterator[tuple[Target, int]]:
    """Run a service with an upstream; yield its clients' target and its process id."""
    with tempfile.TemporaryDirectory() as folder, upstream() as real:
        endpoints = "tcp:0:interface=127.0.0.1", listening(Path(folder) / "localhost.pem")
        listen = [option for endpoint in endpoints for option in ("--listen", endpoint)]
        url = real.partition("=")[2]
        with serving(*listen, *OPTIONS, "--upstream", real, "--upstream", f"up={url}", "--stack", stack) as process:
            yield Target(*process.ports), process.pid


@attrs.frozen
class Sample:
    """The memory of the service, in bytes, after so many exchanges and connections."""

    exchanges: int
    connections: int
    memory: int


def sparkline(samples: list[Sample]) -> str:
    """Draw the memory as a line, from 0 to the most."""
    most = max(sample.memory for sample in samples)
    return "".join(BLOCKS[round(sample.memory / most * (len(BLOCKS) - 1))] for sample in samples)


def growth(samples: list[Sample]) -> float:
    """Return the most memory as a multiple of that after the first thousand connections."""
    after = [sample.memory for sample in samples if sample.connections >= FIRST]
    return max(after) / after[0] if after else float("nan")


def sampled(count: Count, pid: int, answers: int, seconds: float, show: Callable[[Sample], object]) -> list[Sample]:
    """Take a sample for each hundredth of the answers, or of the longest time."""
    samples: list[Sample] = []
    started = time.monotonic()
    until = started + seconds
    while count.exchanges < answers and time.monotonic() < until:
        time.sleep(0.05)
        done = max(count.exchanges / answers, (time.monotonic() - started) / seconds)
        if done >= len(samples) / SAMPLES:
            samples.append(Sample(count.exchanges, count.connections, read([pid]).memory))
            show(samples[-1])
    return samples


@click.command()
@click.option("--answers", default=1_000_000, show_default=True, help="Number of answers.")
@click.option("--seconds", default=7200.0, show_default=True, help="Longest time.")
@click.option("--clients", default=24, show_default=True, help="Number of clients at once.")
@click.option("--connecting", default=4, show_default=True, help="Clients of these that keep no connection.")
@click.option("--stack", default="tuned", show_default=True, type=click.Choice(STACKS), help="Stack of the service.")
@click.option("--csv", type=click.Path(dir_okay=False, path_type=Path), help="File for the samples.")
def soak(*, answers: int, seconds: float, clients: int, connecting: int, stack: str, csv: Path | None) -> None:
    """Send requests of all kinds without a pause, and show the service's memory."""
    started = time.monotonic()

    def show(sample: Sample) -> None:
        rate = sample.exchanges / (time.monotonic() - started)
        about = f"{sample.exchanges:>9,} answers  {sample.connections:>9,} connections"
        click.echo(f"{about}  {sample.memory / 1e6:6.1f} MB  {rate:5.0f}/s", err=True)

    with soaked(stack) as (target, pid), traffic(target, clients, connecting) as count:
        samples = sampled(count, pid, answers, seconds, show)
    if csv is not None:
        lines = [f"{each.exchanges},{each.connections},{each.memory}" for each in samples]
        csv.write_text("\n".join(["answers,connections,bytes", *lines, ""]))
    click.echo(sparkline(samples))
    found = growth(samples)
    within = found <= GROWTH
    click.echo(
        f"{'within' if within else 'ABOVE'} {GROWTH:g} times the level: {found:.3f}, {samples[-1].memory / 1e6:.1f} MB"
    )
    sys.exit(not within)


if __name__ == "__main__":
    soak()

"""A hostile hour: all attacks at once beside punctual clients.

    python -m tests.bench.hostile_hour [--seconds 3600] [--rate 100] [--calm 15] [--rest 0] [--only NAME ...]

The attacks are those of `tests.bench.hostile`, all at the same time. Beside them are clients that do not read what they
have asked for, and the traffic of `tests.bench.soak`. The punctual clients ask for answers after 100 ms, before, during
and after the attacks. The service is to end with the open files and the p99 lateness that it began with. Its memory is
to be that behind a first, short round of the attacks, as CPython keeps arenas for the most objects that there were.

All run in processes of their own, and the hostile ones yield to the service. Each row has the share of the time in
which the service used a core, and in which it waited for one. Where it waits for long, so do the punctual clients.
The lag is how late the punctual clients send, by their own clock.
"""

import asyncio
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import click
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes
from rich.console import Console
from rich.table import Table

from latebin.core.settings import STACKS
from latebin.load.footprint import read
from latebin.load.run import run_apart
from latebin.load.schedule import make_schedule
from tests.bench.hostile import AT_ONCE, ATTACKS, attack_for, yield_to_others
from tests.bench.soak import GROWTH, soaked, traffic
from tests.support.kinds import CLOSE, Target, answered, request

if TYPE_CHECKING:
    import socket
    import ssl

PROCESSES: Final = 2
"""Processes that the attacks are spread over."""

UNREAD: Final = 40
"""Connections of each kind of client that does not read."""

PAGES: Final = ("/", "/metrics", "/openapi.json", "/compare", "/docs/", "/docs/parameters", "/predict?delay=1s")
"""Pages that are asked for before all else, as their modules are imported when they are first needed."""

CLIENTS: Final = 8
"""Clients of the soak at once."""

HELD: Final = 10.0
"""Seconds for which such a client keeps its connection open."""

SLICE: Final = 30.0
"""Seconds of one measurement of the punctual clients."""

SETTLED: Final = 90.0
"""Seconds for the service to close all that is idle, after the attacks."""

WIDE: Final = 2**30
"""A window of HTTP/2 that no answer fills."""


def wide() -> bytes:
    """Return forty requests for large answers, on a connection of HTTP/2 with large windows."""
    frames = H2Connection(H2Configuration())
    frames.initiate_connection()
    frames.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: WIDE})
    frames.increment_flow_control_window(WIDE)
    for number in range(1, 80, 2):
        fields = [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/delayed/0?size=16m")]
        frames.send_headers(number, fields, end_stream=True)
    return frames.data_to_send()


UNREAD_REQUESTS: Final[dict[str, tuple[str | None, Callable[[], bytes]]]] = {
    "large": (None, lambda: request("/delayed/0?size=16m")),
    "large over TLS": ("http/1.1", lambda: request("/raw/delayed/0?size=16m")),
    "large over HTTP/2": ("h2", wide),
    "pieces": (None, lambda: request("/delayed/0?size=16m&chunks=10000&over=5s")),
    "drip": (None, lambda: request("/drip?duration=5&numbytes=1000000")),
    "pipelined": (None, lambda: request("/delayed/0?size=16k") * 500),
    "pipelined over TLS": ("http/1.1", lambda: request("/raw/delayed/0?size=16k") * 500),
    "forwarded": (None, lambda: request("/via/real/", "Latebin-Delay: 0s")),
}
"""The protocol of TLS, and what is sent, for each kind of client that does not read."""


def leave_unread(plain_port: int, tls_port: int) -> None:
    """Ask on many connections, and read nothing, again and again."""
    yield_to_others()
    target = Target(plain_port, tls_port)
    while True:
        with ExitStack() as held, suppress(OSError):
            for alpn, make in UNREAD_REQUESTS.values():
                for _ in range(UNREAD):
                    connection: socket.socket | ssl.SSLSocket = target.tls(alpn) if alpn else target.plain()
                    held.enter_context(connection)
                    connection.settimeout(0)
                    with suppress(OSError):
                        connection.send(make())
            time.sleep(HELD)


def attack_all(plain_port: int, tls_port: int, names: tuple[str, ...], seconds: float, rest: float) -> None:
    """Do several attacks at once, in this process."""
    yield_to_others()

    async def all_of_them() -> None:
        await asyncio.gather(
            *(
                attack_for(
                    ATTACKS[name],
                    plain_port if ATTACKS[name].protocol == "h1" else tls_port,
                    seconds,
                    AT_ONCE.get(name, 1),
                    rest,
                )
                for name in names
            )
        )

    asyncio.run(all_of_them())


def mixed(plain_port: int, tls_port: int) -> None:
    """Be ordinary clients of every kind."""
    yield_to_others()
    with traffic(Target(plain_port, tls_port), CLIENTS, CLIENTS // 2):
        time.sleep(10**6)


@contextmanager
def attacked(target: Target, seconds: float, rest: float = 0.0, only: tuple[str, ...] = ()) -> Iterator[None]:
    """Attack from processes of their own."""
    ports = target.plain_port, target.tls_port
    spread = [(only or tuple(ATTACKS))[number::PROCESSES] for number in range(PROCESSES)]
    process = multiprocessing.get_context("spawn").Process
    processes = [process(target=attack_all, args=(*ports, names, seconds, rest), daemon=True) for names in spread]
    processes += [process(target=each, args=ports, daemon=True) for each in (leave_unread, mixed)]
    for each in processes:
        each.start()
    try:
        yield
    finally:
        for each in processes:
            each.kill()
            each.join()


@attrs.frozen
class State:
    """Memory and files of the service, and its lateness.

    Attributes:
        name: when this was measured.
        memory: bytes.
        files: open files.
        p50: of the lateness, in seconds; None without an answer.
        p99: likewise.
        failed: requests of the punctual clients without an answer.
        core: share of the time in which the service used a core.
        waited: share of the time in which it waited for one.
        lag: p99 of the lag of the punctual clients, in seconds; None without an answer.
    """

    name: str
    memory: int
    files: int
    p50: float | None
    p99: float | None
    failed: int
    core: float
    waited: float
    lag: float | None

    def row(self) -> list[str]:
        late = ["-" if each is None else f"{each * 1000:.1f}" for each in (self.p50, self.p99, self.lag)]
        shares = f"{self.core:.0%}", f"{self.waited:.0%}"
        return [self.name, f"{self.memory / 1e6:.1f}", str(self.files), *late, str(self.failed), *shares]


def scheduled(pid: int) -> tuple[float, float]:
    """Return the seconds for which a process ran, and waited for a core.

    They are those of its threads, from schedstat (proc(5)).
    """
    ran = waited = 0.0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        on, behind, _ = map(int, (thread / "schedstat").read_text().split())
        ran, waited = ran + on / 1e9, waited + behind / 1e9
    return ran, waited


def files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def state(name: str, target: Target, pid: int, rate: float, seconds: float) -> State:
    """Measure the punctual clients for some seconds, and then what the service takes."""
    schedule = make_schedule(rate=rate, delay=0.1, duration=seconds)
    (ran, waited), started = scheduled(pid), time.monotonic()
    report = run_apart(f"http://127.0.0.1:{target.plain_port}/raw/delayed?delay={{delay}}", schedule, pids=(pid,))
    late = report.lateness
    failed = sum(report.errors.values()) + report.unfinished
    p50, p99 = (late.p50, late.p99) if late else (None, None)
    ran_since, waited_since = scheduled(pid)
    took = time.monotonic() - started
    core, behind = (ran_since - ran) / took, (waited_since - waited) / took
    lag = report.lag.p99 if report.lag else None
    return State(name, read([pid]).memory, files(pid), p50, p99, failed, core, behind, lag)


def settle(pid: int, before: int) -> None:
    """Wait until the service has no more files open than before, for a bounded time."""
    until = time.monotonic() + SETTLED
    while files(pid) > before and time.monotonic() < until:
        time.sleep(0.5)


def verdict(first: State, last: State) -> list[str]:
    """Return the figures that are worse than before."""
    found = []
    if last.memory > GROWTH * first.memory:
        found.append(f"memory: {last.memory / first.memory:.2f} times")
    if last.files > first.files:
        found.append(f"open files: {last.files - first.files} more")
    if first.p99 is None or last.p99 is None or last.p99 > 2 * first.p99:
        found.append("p99 lateness: more than twice")
    return found


@click.command()
@click.option("--seconds", default=3600.0, show_default=True, help="Duration of the attacks.")
@click.option("--calm", default=15.0, show_default=True, help="Seconds of a measurement before and after them.")
@click.option("--rate", default=100.0, show_default=True, help="Requests a second of the punctual clients.")
@click.option("--rest", default=0.0, show_default=True, help="Seconds between two parts of an attack.")
@click.option("--only", multiple=True, type=click.Choice(list(ATTACKS)), help="Only these attacks.")
@click.option("--stack", default="tuned", show_default=True, type=click.Choice(STACKS), help="Stack of the service.")
def hour(*, seconds: float, calm: float, rate: float, rest: float, only: tuple[str, ...], stack: str) -> None:
    """Attack a service in all ways at once, and measure what stays behind."""
    states: list[State] = []

    def measure(name: str, during: float) -> None:
        states.append(state(name, target, pid, rate, during))
        click.echo("  ".join(states[-1].row()), err=True)

    with soaked(stack) as (target, pid):
        idle = files(pid)
        for path in PAGES:
            answered(request(path, CLOSE), target)
        with traffic(target, CLIENTS, CLIENTS // 2):
            time.sleep(calm)
        settle(pid, idle)
        measure("fresh", calm)
        with attacked(target, calm, rest, only):
            time.sleep(calm)
        settle(pid, states[0].files)
        measure("before", calm)
        started = time.monotonic()
        with attacked(target, seconds, rest, only):
            while (left := started + seconds - time.monotonic()) > 1:
                measure(f"{time.monotonic() - started:.0f} s", min(left, SLICE))
        settle(pid, states[0].files)
        measure("after", calm)
    columns = ("when", "MB", "files", "p50 ms", "p99 ms", "lag ms", "failed", "core", "waited")
    table = Table(*columns, title="a service, and its punctual clients")
    for each in states:
        table.add_row(*each.row())
    Console(width=100).print(table)
    flaws = verdict(states[1], states[-1])
    click.echo("; ".join(flaws) or "as before the attacks")
    sys.exit(bool(flaws))


if __name__ == "__main__":
    hour()

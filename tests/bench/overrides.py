"""The instructions of an answer with each override, and without it.

    python -m tests.bench.overrides [--answers 300] [--connections 1] [--only NAME ...]

Each variant of the service runs in a process of its own, under valgrind's callgrind, which counts instructions of user
space. A client outside of it asks for answers without a delay, one after the other, on each of its connections in turn.

callgrind_control(1) reads the counter between batches of answers; the start of the service is not in the figures. The
median of the batches counts: the service looks at itself four times a second, which is in more batches on a slower
machine. A figure was seen to differ by 9 % on a machine with four times as much work as cores. Where figures are
compared, their batches take turns in one run.
"""

import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any, Final

import attrs
import click
from rich.console import Console
from rich.table import Table

from latebin.core.endpoints import PREFIXES
from latebin.overrides import stack
from tests.bench.servers import free_ports, wait_for

START: Final = 300.0
"""Seconds that the service may take to start: callgrind is some fifty times slower than the machine."""

WARM: Final = 100
"""Answers before the counting begins."""

SCENARIOS: Final = ("--scenario", "plain=delay=0s", "--scenario", "drawn=delay=0s..1us&status=200:50%")
"""The scenarios that `tests.bench.scenarios` asks for."""

BATCH: Final = 20
"""Answers between two readings of the counter."""

PATIENT: Final = ("--keep-alive-timeout", "1h")
"""The option by which a connection may be idle for as long as callgrind takes for all the others."""

VALGRIND: Final = ("valgrind", "--tool=callgrind", "--instr-atstart=no")


def without_write_through() -> None:
    from latebin.overrides.channel_output import WriteThroughChannel  # noqa: PLC0415  # after the reactor, as below

    strip(WriteThroughChannel, "writeHeaders", "write", "writeSequence", "requestDone", "loseConnection")
    WriteThroughChannel.flush = lambda _: None  # type: ignore[method-assign,assignment]


def without_limits() -> None:
    from latebin.overrides.channel_limits import LimitedChannel  # noqa: PLC0415

    own = ("dataReceived", "rawDataReceived", "allContentReceived", "connectionLost", "requestDone")
    strip(LimitedChannel, *own, "timeoutConnection", "lineLengthExceeded")


def without_shared_timeouts() -> None:
    from latebin.overrides.channel_limits import LimitedChannel  # noqa: PLC0415

    strip(LimitedChannel, "setTimeout", "resetTimeout")


def without_lean_request() -> None:
    from latebin.overrides.request import LeanRequest  # noqa: PLC0415

    own = ("args", "parseCookies", "requestReceived", "process", "setResponseCode", "setHeader", "write")
    strip(LeanRequest, *own, "code_message")


def strip(of: type, *names: str) -> None:
    """Take overrides out of a class, so that Twisted's own are found."""
    for name in names:
        delattr(of, name)


def evolve(**fields: Any) -> Callable[[], None]:  # each field has a type of its own
    def change() -> None:
        module: Any = stack
        module.TUNED = attrs.evolve(stack.TUNED, **fields)

    return change


VARIANTS: Final[dict[str, tuple[str, Callable[[], None]]]] = {
    "stock": ("stock", lambda: None),
    "tuned": ("tuned", lambda: None),
    "without WriteThroughChannel": ("tuned", without_write_through),
    "without LimitedChannel": ("tuned", without_limits),
    "without shared timeouts": ("tuned", without_shared_timeouts),
    "without LeanRequest": ("tuned", without_lean_request),
    "without TidyKleinResource": ("tuned", evolve(klein=stack.STOCK.klein)),
    "without DirectReactor": ("tuned", evolve(reactor=stack.STOCK.reactor)),
}
"""The stack of each variant, and what is taken out of it."""


def serve(variant: str, port: int) -> None:
    """Serve a variant in this process."""
    name, change = VARIANTS[variant]
    change()
    stack.choose(name).reactor()
    from latebin.cli.main import cli  # noqa: PLC0415

    cli.main(["serve", "--stack", name, "--port", str(port), "--drain-timeout", "0s", *PATIENT, *SCENARIOS])


@contextmanager
def counted(variant: str) -> Iterator[tuple[int, int]]:
    """Run a variant under callgrind; yield its port and its process id."""
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w") as log:
        out = f"--callgrind-out-file={folder}/out"
        command = [*VALGRIND, out, sys.executable, "-m", "tests.bench.overrides", "--serve", variant, str(port)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for(port, process, START)
            control(process.pid, "-i", "on")
            yield port, process.pid
        finally:
            process.kill()
            process.wait()


def control(pid: int, *options: str) -> str:
    command = ["callgrind_control", *options, str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


def instructions(pid: int) -> int:
    shown = control(pid, "-e")
    threads = re.findall(r"Th +[0-9]+ +([0-9,]+)", shown)
    if not threads:
        raise click.ClickException(f"callgrind_control shows no total: {shown}")
    return sum(int(each.replace(",", "")) for each in threads)


def ask(connections: Sequence[socket.socket], target: str, answers: int) -> None:
    request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    for connection in islice(cycle(connections), answers):
        connection.sendall(request)
        received = b""
        while not received.endswith(b"</html>"):
            came = connection.recv(65536)
            if not came:
                raise click.ClickException("the service has closed a connection")
            received += came


def measured(variant: str, answers: int, number: int) -> dict[str, float]:
    """Return the instructions of one answer in each style, on so many connections."""
    with counted(variant) as (port, pid), connected(port, number) as connections:
        return {
            style: cost(connections, pid, f"{prefix}/delayed?delay=0s", answers) for style, prefix in PREFIXES.items()
        }


@contextmanager
def connected(port: int, number: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        opened = (socket.create_connection(("127.0.0.1", port), timeout=600) for _ in range(number))
        yield [stack.enter_context(each) for each in opened]


def cost(connections: Sequence[socket.socket], pid: int, target: str, answers: int) -> float:
    """Return the instructions of one answer to a request target."""
    [found] = costs(connections, pid, [target], answers)
    return found


def costs(connections: Sequence[socket.socket], pid: int, targets: Sequence[str], answers: int) -> list[float]:
    """Return the instructions of one answer to each request target.

    The batches of the targets take turns. So the service looks at itself as often in those of each target, even if the
    load of the machine changes.
    """
    for target in targets:
        ask(connections, target, max(WARM, len(connections)))
    found: list[list[int]] = [[] for _ in targets]
    before = instructions(pid)
    for _ in range(0, answers, BATCH):
        for target, batches in zip(targets, found, strict=True):
            ask(connections, target, BATCH)
            after = instructions(pid)
            batches.append(after - before)
            before = after
    return [median(batches) / BATCH for batches in found]


def table(results: dict[str, dict[str, float]]) -> Table:
    shown = Table("variant", title="instructions per answer, and those of tuned as 1")
    for style in PREFIXES:
        shown.add_column(style, justify="right")
        shown.add_column("ratio", justify="right")
    for variant, found in results.items():
        cells = []
        for style in PREFIXES:
            base = results.get("tuned", found)[style]
            cells += [f"{found[style]:,.0f}", f"{found[style] / base:.3f}"]
        shown.add_row(variant, *cells)
    return shown


@click.command()
@click.option("--answers", default=300, show_default=True, help="Answers that are counted, in each style.")
@click.option("--connections", default=1, show_default=True, help="Connections that are open and used in turn.")
@click.option("--only", multiple=True, type=click.Choice(list(VARIANTS)), help="Only these variants.")
@click.option("--serve", "served", nargs=2, type=(click.Choice(list(VARIANTS)), int), hidden=True)
def overrides(answers: int, connections: int, only: tuple[str, ...], served: tuple[str, int] | None) -> None:
    """Count the instructions of an answer, with each override and without it."""
    if served is not None:
        serve(*served)
        return
    if shutil.which("valgrind") is None:
        raise click.ClickException("this needs valgrind")
    results = {}
    for variant in only or VARIANTS:
        results[variant] = measured(variant, answers, connections)
        click.echo(f"{variant}: {results[variant]}", err=True)
    Console(width=120).print(table(results))


if __name__ == "__main__":
    overrides()

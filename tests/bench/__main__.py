"""The benchmark of the service, its baselines and those peers that are installed.

    python -m tests.bench [--rounds 3] [--seconds 10] [--only NAME ...]

A round is one measurement of each server, one at a time, each in a process of its own. The load generator is that of
`latebin measure`, also in a process of its own. The table has one round of each server: the one with the lowest p99
among those in which the generator was punctual. If wrk is installed, it measures how one worker compares with two.
"""

import os
import platform
import shlex
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import click
from rich.console import Console
from rich.table import Table

from latebin.load.report import Report, Verdict
from latebin.load.run import run_apart
from latebin.load.schedule import make_schedule
from tests.bench import scaling, startup
from tests.bench.servers import MODULE, SERVE, Load, Server, running

QUERY = "/delayed?delay={delay}"

LOADS = (Load(2000, 5), Load(4000, 2))

SERVERS = (
    Server("raw, stock", (*MODULE, "tests.bench.stock_resource", "{port}"), QUERY),
    Server("raw", SERVE, "/raw" + QUERY, loads=LOADS),
    Server("Klein, stock", (*MODULE, "tests.bench.stock_klein", "{port}"), QUERY),
    Server("Klein", SERVE, QUERY, loads=LOADS),
    Server("raw, 2 workers", (*SERVE, "--workers", "2"), "/raw" + QUERY, loads=(Load(6000, 1),)),
    Server("Klein, 2 workers", (*SERVE, "--workers", "2"), QUERY, loads=(Load(6000, 1),)),
    Server("nginx", ("nginx", "-c", "{folder}/nginx.conf"), "/delayed", needs=("nginx",), loads=LOADS),
    Server("uvicorn", (*MODULE, "tests.bench.peer_asgi", "{port}"), QUERY, needs=("uvicorn",)),
    Server("aiohttp", (*MODULE, "tests.bench.peer_aiohttp", "{port}"), QUERY, needs=("aiohttp",)),
)

SCALING = "scaling"
"""The name of the measurement of workers, which has a table of its own, for `--only`."""

START = "start"
"""The name of the measurement of start and idleness, for `--only`."""

NAMES = [*(server.name for server in SERVERS), SCALING, START]


@attrs.frozen
class Result:
    """One measurement."""

    server: Server
    load: Load
    report: Report


def measured(server: Server, load: Load, seconds: float) -> Result:
    with running(server, load) as (port, pid):
        schedule = make_schedule(rate=load.rate, delay=load.delay, duration=seconds)
        return Result(server, load, run_apart(f"http://127.0.0.1:{port}{server.path}", schedule, pids=(pid,)))


def best(results: list[Result]) -> Result:
    """Choose the lowest p99 among the results with a punctual generator."""
    sound = [result for result in results if result.report.verdict is not Verdict.BOTTLENECK] or results
    return min(sound, key=lambda result: result.report.lateness.p99 if result.report.lateness else float("inf"))


def row(result: Result) -> list[str]:
    report, lateness, cost, lag = result.report, result.report.lateness, result.report.cost, result.report.lag
    late = (lateness.p50, lateness.p99, lateness.p999, lateness.most) if lateness else (None,) * 4
    return [
        result.server.name,
        f"{result.load.rate:g}",
        str(result.load.pending),
        *map(ms, late),
        str(report.early),
        str(sum(report.errors.values()) + report.unfinished),
        "-" if cost is None or cost.cpu_per_answer is None else f"{cost.cpu_per_answer * 1e6:.0f}",
        "-" if cost is None or cost.per_pending is None else f"{cost.per_pending / 1000:.1f}",
        ms(lag.p99 if lag else None) + ("!" if report.verdict is Verdict.BOTTLENECK else ""),
    ]


def ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.2f}"


def cpu(results: list[Result], name: str) -> list[float]:
    """Return the CPU time per answer of a server in each round, in seconds."""
    of_server = [result for result in results if result.server.name == name and result.load == LOADS[0]]
    return [result.report.cost.cpu_per_answer or 0.0 for result in of_server if result.report.cost]


def show(results: list[Result]) -> None:
    columns = ("server", "rate", "pending", "p50", "p99", "p99.9", "max", "early", "failed", "CPU us", "kB", "lag p99")
    machine = f"CPython {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores"
    about = f"{machine}, {datetime.now(UTC):%Y-%m-%d}"
    table = Table(*columns, title=f"lateness in ms; CPU per answer, memory per pending answer ({about})")
    for key in dict.fromkeys((result.server, result.load) for result in results):
        table.add_row(*row(best([result for result in results if (result.server, result.load) == key])))
    console = Console(width=140)
    console.print(table)
    for name in ("raw", "Klein"):
        ours, stock = cpu(results, name), cpu(results, f"{name}, stock")
        if ours and stock:
            ratios = [own / other for own, other in zip(ours, stock, strict=False)]
            console.print(f"CPU {name} / {name}, stock: {scaling.spread(ratios)}")


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Number of measurements of each server.")
@click.option("--seconds", default=10.0, show_default=True, help="Duration of each measurement.")
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="Measure this one alone; may be repeated.")
@click.option("--also", multiple=True, help="Start this command too, such as the serve of another version.")
def bench(rounds: int, seconds: float, only: tuple[str, ...], also: tuple[str, ...]) -> None:
    """Measure lateness, CPU time and memory of this service and of its peers, in turn."""
    servers = [server for server in SERVERS if server.installed() and (not only or server.name in only)]
    results: list[Result] = []
    scaled: list[scaling.Throughput] = []
    for index in range(rounds):
        for server in servers:
            for load in server.loads:
                click.echo(f"round {index + 1}: {server.name} at {load.rate:g}/s, {load.pending} pending", err=True)
                results.append(measured(server, load, seconds))
        if scaling.possible() and (not only or SCALING in only):
            click.echo(f"round {index + 1}: {SCALING}", err=True)
            scaled += scaling.measured(index, seconds)
    if results:
        show(results)
    if scaled:
        Console(width=140).print(scaling.table(scaled))
    if not only or START in only:
        Console(width=140).print(startup.table(starts(rounds, seconds, also)))


def starts(rounds: int, seconds: float, also: tuple[str, ...]) -> list[startup.Start]:
    """Start each process in turn, and measure it.

    The first round fills the cache of compiled modules, and is not in the result.
    """
    commands = {**startup.COMMANDS, **{command: shlex.split(command) for command in also}}
    with TemporaryDirectory() as cache:
        measured = []
        for index in range(rounds + 1):
            click.echo(f"round {index}: {START}", err=True)
            measured += [
                startup.measured(name, command, seconds if index else 0, Path(cache))
                for name, command in commands.items()
            ]
    return measured[len(commands) :]


if __name__ == "__main__":
    bench()

"""The `measure` command: a server under load, and the tables of its report."""

import json
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from latebin.cli.options import DurationType, FileType, NumberType
from latebin.core.language import duration
from latebin.load.generator import Connections
from latebin.load.report import Cost, Report, Verdict, as_json
from latebin.load.run import GRACE, run
from latebin.load.schedule import RunError, make_schedule

EXIT_CODES: Final = {
    Verdict.PUNCTUAL: 0,
    Verdict.FLAWED: 1,
    Verdict.BOTTLENECK: 3,
    Verdict.INTERRUPTED: 130,
}
"""The exit code of each verdict; 2 is click's own for wrong usage, and so for a run that is not possible."""

STDOUT: Final = Path("-")

_KILO: Final = 1000

_DURATION: Final = DurationType()


@click.command("measure")
@click.argument("url")
@click.option("--pending", type=NumberType(min=0), help="Answers pending at once (rate x delay).")
@click.option("--rate", type=NumberType(min=0, min_open=True), help="Requests per second.")
@click.option("--delay", type=_DURATION, help="Expected delay of every answer; replaces {delay} in URL.")
@click.option("--duration", "length", type=_DURATION, default="10s", show_default=True, help="Time that is measured.")
@click.option("--warm-up", type=_DURATION, default="1s", show_default=True, help="Time before it, not measured.")
@click.option("--grace", type=_DURATION, default=f"{GRACE:g}s", show_default=True, help="Wait for the last answers.")
@click.option(
    "--connections",
    type=click.Choice(["keep", "fresh"]),
    default="keep",
    show_default=True,
    help="Keep connections open, or open one for each request.",
)
@click.option("--insecure", is_flag=True, help="Accept any certificate of an https:// server, as curl -k does.")
@click.option("--pid", "pids", type=int, multiple=True, help="Process of the server: report its CPU time and memory.")
@click.option("--json", "file", type=FileType(dash=True), help="Also write the report as JSON; - is standard output.")
def measure_command(
    *,
    url: str,
    pending: float | None,
    rate: float | None,
    delay: float | None,
    length: float,
    warm_up: float,
    grace: float,
    connections: Connections,
    insecure: bool,
    pids: tuple[int, ...],
    file: Path | None,
) -> None:
    """Measure how late the server at URL answers.

    Give two of --pending, --rate and --delay. Requests leave at planned times, however late the server is. Lateness
    counts from the planned time to the answer's last byte, less the delay.

    The exit code is 0 if every request was answered and none early, and otherwise 1. It is 2 for wrong usage, 3 if the
    load generator was the bottleneck, and 130 if the run was stopped.
    """
    try:
        schedule = make_schedule(pending=pending, rate=rate, delay=delay, duration=length, warm_up=warm_up)
        report = run(url, schedule, connections=connections, grace=grace, pids=pids, insecure=insecure)
    except RunError as error:
        raise click.UsageError(str(error)) from error
    console = Console(stderr=file == STDOUT)
    console.print(_requests_table(report))
    console.print(_lateness_table(report))
    if report.cost is not None:
        console.print(_cost_table(report.cost))
    console.print(verdict_text(report))
    if file is not None:
        text = json.dumps(as_json(report), indent=2)
        if file == STDOUT:
            click.echo(text)
        else:
            file.write_text(f"{text}\n", encoding="utf-8")
    raise SystemExit(EXIT_CODES[report.verdict])


def verdict_text(report: Report) -> str:
    """Write the verdict of a report as a sentence.

    Args:
        report: of any run.

    Returns:
        The sentence.
    """
    if report.verdict is Verdict.BOTTLENECK:
        return f"No verdict: the load generator was the bottleneck: {', '.join(report.bottlenecks)}."
    lateness = "no answer was measured" if report.lateness is None else f"p99 lateness {_ms(report.lateness.p99)} ms"
    if report.verdict is Verdict.INTERRUPTED:
        return f"Stopped: {lateness} until then."
    if report.verdict is Verdict.PUNCTUAL:
        return f"Every request was answered, none early: {lateness}."
    unsent = report.schedule.count - report.sent
    flaws = {"early": report.early, "failed": report.failed, "unfinished": report.unfinished, "not sent": unsent}
    return f"Flawed: {', '.join(f'{number} {flaw}' for flaw, number in flaws.items() if number)}; {lateness}."


def _requests_table(report: Report) -> Table:
    schedule = report.schedule
    title = f"{report.url}: {schedule.rate:g}/s x {duration.render(schedule.delay)}, {report.connections}"
    table = Table(title=escape(title))
    counts = {
        "sent": report.sent,
        "answered": report.answered,
        "(early)": report.early,
        **report.errors,
        "unfinished": report.unfinished,
        "pending": report.pending,
        "connections": report.opened,
    }
    for name in counts:
        table.add_column(name, justify="right")
    table.add_row(*(f"{number:,}" for number in counts.values()))
    return table


def _lateness_table(report: Report) -> Table:
    table = Table("ms", "min", "p50", "p90", "p99", "p99.9", "max", "mean", "n")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, p in (("lateness", report.lateness), ("own lag", report.lag)):
        if p is not None:
            figures = (p.least, p.p50, p.p90, p.p99, p.p999, p.most, p.mean)
            table.add_row(name, *map(_ms, figures), f"{p.number:,}")
    table.caption = f"Own lag: how late requests were sent. The generator used {report.cpu:.0%} of a core."
    return table


def _cost_table(cost: Cost) -> Table:
    table = Table("CPU per answer", "idle", "plateau", "per pending answer", title="The server", caption=cost.source)
    table.add_row(
        "-" if cost.cpu_per_answer is None else f"{cost.cpu_per_answer * 1_000_000:.0f} us",
        _kilobytes(cost.idle),
        _kilobytes(cost.plateau),
        "-" if cost.per_pending is None else _kilobytes(cost.per_pending),
    )
    return table


def _kilobytes(size: float) -> str:
    return f"{size / _KILO:,.1f} kB"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3f}"

"""The command that puts a server under load, and the tables it prints."""

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
from latebin.load.percentiles import Percentiles
from latebin.load.report import Cost, Report, Verdict, as_json
from latebin.load.run import GRACE, run
from latebin.load.schedule import RunError, agree

EXIT_CODES: Final = {
    Verdict.PUNCTUAL: 0,
    Verdict.FLAWED: 1,
    Verdict.BOTTLENECK: 3,
    Verdict.INTERRUPTED: 130,
}
"""What the command exits with; 2 is a run that was refused, as click has it for all wrong usage."""

STDOUT: Final = Path("-")

_KILO: Final = 1000


_DURATION: Final = DurationType()


@click.command("measure")
@click.argument("url")
@click.option("--pending", type=NumberType(min=0), help="Answers pending at once: rate x delay.")
@click.option("--rate", type=NumberType(min=0, min_open=True), help="Requests per second.")
@click.option("--delay", type=_DURATION, help="The delay every answer should have; replaces {delay} in URL.")
@click.option("--duration", "length", type=_DURATION, default="10s", show_default=True, help="Of the measured part.")
@click.option("--warm-up", type=_DURATION, default="1s", show_default=True, help="Answers due before that.")
@click.option("--grace", type=_DURATION, default=f"{GRACE:g}s", show_default=True, help="To wait for the last ones.")
@click.option("--connections", type=click.Choice(["keep", "fresh"]), default="keep", show_default=True)
@click.option("--pid", "pids", type=int, multiple=True, help="Look at this process of the server and its children.")
@click.option("--json", "file", type=FileType(dash=True), help="Write the report there too; - is standard output.")
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
    pids: tuple[int, ...],
    file: Path | None,
) -> None:
    """Tell how late the server at URL answers.

    Give two of --pending, --rate and --delay. Requests leave when they are planned, however late the server is, and
    lateness counts from the planned time to the answer's last byte.

    Exit code: 0 all answered and none early, 1 some were not, 2 refused, 3 the generator was the bottleneck,
    130 stopped.
    """
    try:
        schedule = agree(pending=pending, rate=rate, delay=delay, duration=length, warm_up=warm_up)
        report = run(url, schedule, connections=connections, grace=grace, pids=pids)
    except RunError as refusal:
        raise click.UsageError(str(refusal)) from refusal
    _show(report, Console(stderr=file == STDOUT))
    if file is not None:
        _write(report, file)
    raise SystemExit(EXIT_CODES[report.verdict])


def _write(report: Report, file: Path) -> None:
    text = json.dumps(as_json(report), indent=2)
    if file == STDOUT:
        click.echo(text)
    else:
        file.write_text(f"{text}\n", encoding="utf-8")


def _show(report: Report, console: Console) -> None:
    console.print(_requests(report))
    console.print(_spread(report))
    if report.cost is not None:
        console.print(_costs(report.cost))
    console.print(verdict_text(report))


def verdict_text(report: Report) -> str:
    """Say in a sentence what a report allows to be said.

    Args:
        report: of any run.

    Returns:
        The sentence.
    """
    if report.verdict is Verdict.BOTTLENECK:
        return f"No verdict: the generator was the bottleneck: {', '.join(report.bottlenecks)}."
    lateness = "nothing was measured" if report.lateness is None else f"p99 lateness {_ms(report.lateness.p99)} ms"
    if report.verdict is Verdict.INTERRUPTED:
        return f"Stopped: {lateness} until then."
    if report.verdict is Verdict.PUNCTUAL:
        return f"Every request was answered, none early: {lateness}."
    unsent = report.schedule.count - report.sent
    flaws = {"early": report.early, "failed": report.failed, "unfinished": report.unfinished, "not sent": unsent}
    return f"Flawed: {', '.join(f'{number} {flaw}' for flaw, number in flaws.items() if number)}; {lateness}."


def _requests(report: Report) -> Table:
    plan = report.schedule
    title = f"{report.url}: {plan.rate:g}/s x {duration.render(plan.delay)}, {report.connections}"
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


def _spread(report: Report) -> Table:
    table = Table("ms", "min", "p50", "p90", "p99", "p99.9", "max", "mean", "of")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, percentiles in (("lateness", report.lateness), ("own lag", report.lag)):
        if percentiles is not None:
            table.add_row(name, *_cells(percentiles))
    table.caption = f"Own lag: how late requests were sent. The generator used {report.cpu:.0%} of a core."
    return table


def _cells(percentiles: Percentiles) -> list[str]:
    p = percentiles
    return [*map(_ms, (p.least, p.p50, p.p90, p.p99, p.p999, p.most, p.mean)), f"{p.number:,}"]


def _costs(cost: Cost) -> Table:
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

"""The `compare` command: a comparison of the two styles, and the tables of its findings."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from latebin.cli.options import DurationType, FileType, WholeType
from latebin.compare.duties import DUTIES
from latebin.compare.findings import Comparison, Outcome, Spread, as_json, number, sentences, times
from latebin.compare.parity import LONGEST, address, stack_of
from latebin.compare.run import OpenService, Service, Timetable, compare, make_timetable
from latebin.compare.source import Definition, pairs
from latebin.load.schedule import RunError
from latebin.testing.process import StartError, serving

EXIT_CODES: Final = {Outcome.SAME: 0, Outcome.DIFFERENT: 1, Outcome.FLAWED: 1, Outcome.NO_VERDICT: 3}
"""Exit codes by outcome; click exits with 2 after wrong usage."""

COLOURS: Final = {"+": "green", "-": "red", "@": "cyan"}

_DURATION: Final = DurationType()

_FILE: Final = FileType()


@click.command("compare")
@click.option("--url", help="Compare the service at this URL, instead of a new one.")
@click.option(
    "--pid", "pids", type=int, multiple=True, help="With --url: process of the service, for its CPU time and memory."
)
@click.option("--pending", type=WholeType(min=1), default=2000, show_default=True, help="Answers pending at once.")
@click.option(
    "--rounds",
    type=WholeType(0, 100),
    default=3,
    show_default=True,
    help="Rounds of load; 0 compares the answers alone.",
)
@click.option("--bound", type=_DURATION, default="100s", show_default=True, help="Time that the comparison may take.")
@click.option(
    "--longest", type=_DURATION, default=f"{LONGEST:g}s", show_default=True, help="Longest wait in a conversation."
)
@click.option("--json", "json_file", type=_FILE, help="Also write the findings as JSON.")
@click.option("--html", "html_file", type=_FILE, help="Also write the findings as a page that needs no network.")
def compare_command(
    *,
    url: str | None,
    pids: tuple[int, ...],
    pending: int,
    rounds: int,
    bound: float,
    longest: float,
    json_file: Path | None,
    html_file: Path | None,
) -> None:
    """Compare the two styles: their answers, their punctuality and their cost.

    The exit code is 0 for the same answers, 1 for a difference or failed requests, and 2 for wrong usage. It is 3 for
    the same answers without figures, if the load generator was the bottleneck.
    """
    if pids and url is None:
        raise click.UsageError("--pid needs --url; a service that this command starts is always measured")
    write_page = _page() if html_file is not None else None
    try:
        timetable = make_timetable(pending=pending, rounds=rounds, longest=longest, bound=bound)
        comparison = _compare(timetable, _service(url, pids), own=url is None)
    except (RunError, StartError) as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"the service cannot be reached: {error}") from error
    show(comparison, Console())
    if json_file is not None:
        json_file.write_text(json.dumps(as_json(comparison), indent=2) + "\n", encoding="utf-8")
    if html_file is not None and write_page is not None:
        html_file.write_text(write_page(comparison), encoding="utf-8")
    raise SystemExit(EXIT_CODES[comparison.outcome])


def _page() -> Callable[[Comparison], str]:
    """Import the libraries of the page before anything is measured."""
    try:
        from latebin.compare import html  # noqa: PLC0415  # slow to import, and an extra of its own
    except ModuleNotFoundError as error:
        message = f"--html needs {error.name}, which is not installed: pip install '.[report]'"
        raise click.ClickException(message) from error
    return html.page


def _service(url: str | None, pids: tuple[int, ...]) -> OpenService:
    if url is None:
        return _own_service
    # Without a service, hundreds of conversations would each wait for their timeout.
    service = Service(url.rstrip("/"), pids, stack_of(address(url)))
    return lambda **_: nullcontext(service)


@contextmanager
def _own_service(**variables: str) -> Iterator[Service]:
    with serving(**variables) as service:  # type: ignore[arg-type]  # no variable is called program or log
        yield Service(service.url, (service.pid,))


def _compare(timetable: Timetable, open_service: OpenService, *, own: bool) -> Comparison:
    console = Console(stderr=True)
    console.print(f"This takes about {timetable.expected:.0f} s.")
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=timetable.expected)

        def advance(part: str, seconds: float) -> None:
            progress.update(task, description=part, advance=seconds)

        return compare(timetable, open_service, own=own, progress=advance)


def show(comparison: Comparison, console: Console) -> None:
    """Print the findings of a comparison.

    Args:
        comparison: of any outcome.
        console: the console to print to.
    """
    for difference in comparison.parity.differences:
        console.print(Text(difference.name, "bold"))
        for line in difference.diff:
            console.print(Text(line, COLOURS.get(line[:1], "")), soft_wrap=True)
    if comparison.rounds:
        console.print(_figures(comparison))
    console.print(_definitions(comparison))
    console.print(_duties())
    if comparison.parity.left_out:
        console.print(f"Conversations left out: {escape('; '.join(comparison.parity.left_out))}.")
    for name, reason in comparison.parity.skipped.items():
        console.print(escape(f"Conversation skipped: {name}. {reason}."))
    for sentence in sentences(comparison):
        console.print(escape(sentence))


def _figures(comparison: Comparison) -> Table:
    load = comparison.samples[0].report.schedule
    rounds = f"{len(comparison.rounds)} round{'s' if comparison.rounds[1:] else ''}"
    title = f"{load.pending:,.0f} pending, {load.rate:,.0f}/s x {load.delay:g} s, {rounds}"
    table = Table("", "Klein", "raw", "Klein / raw", title=title, show_lines=True)
    table.caption = "the median of the rounds, the least and the most"
    for row in comparison.rows:
        table.add_row(
            f"{row.figure.name} [dim]{row.figure.unit}[/]",
            spread_text(row.klein, number),
            spread_text(row.resource, number),
            spread_text(row.ratio if row.compared > 1 else None, times),
        )
    return table


def spread_text(spread: Spread | None, write: Callable[[float], str]) -> str:
    """Format a spread: the median, and below it the range.

    Args:
        spread: a spread, or None for a dash.
        write: formats a figure.
    """
    if spread is None:
        return "-"
    return f"{write(spread.median)}\n{write(spread.least)} to {write(spread.most)}"


def _definitions(comparison: Comparison) -> Table:
    table = Table("Klein", "lines", "branches", "raw", "lines", "branches", title="Work for the author of each style")
    for klein, resource in pairs(comparison.klein, comparison.resource):
        table.add_row(*_cells(klein), *_cells(resource))
    table.add_section()
    table.add_row(*_totals(comparison.klein), *_totals(comparison.resource))
    table.caption = f"lines of code of the files: {comparison.lines['klein']} and {comparison.lines['resource']}"
    return table


def _cells(definition: Definition | None) -> tuple[str, str, str]:
    if definition is None:
        return "", "", ""
    return definition.name.removeprefix("DelayedKlein."), str(definition.lines), str(definition.branches)


def _totals(definitions: tuple[Definition, ...]) -> tuple[str, str, str]:
    lines, branches = sum(each.lines for each in definitions), sum(each.branches for each in definitions)
    return f"{len(definitions)} definitions", str(lines), str(branches)


def _duties() -> Table:
    table = Table("duty", "Klein", "raw", title="Each duty: by the library, or by hand", show_lines=True)
    for duty in DUTIES:
        table.add_row(duty.name, *(f"[bold]{side.by}[/]: {escape(side.how)}" for side in (duty.klein, duty.resource)))
    return table

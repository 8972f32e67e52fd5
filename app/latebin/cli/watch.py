"""The `watch` command: whether a stream comes as it leaves."""

import json
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from latebin.cli.options import DurationType
from latebin.load.target import tls_context
from latebin.load.watch import Watched, WatchError, watch

ROWS: Final = 40
"""The most events in the table; of more, evenly many are left out."""

WIDTH: Final = 36
"""Columns of the chart."""


@click.command("watch")
@click.argument("url")
@click.option("--for", "longest", type=DurationType(), default="1m", show_default=True, help="The longest time.")
@click.option("--events", type=click.IntRange(min=2), default=10_000, show_default=True, help="The most events.")
@click.option("--insecure", is_flag=True, help="Accept any certificate of an https URL.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def watch_command(*, url: str, longest: float, events: int, insecure: bool, as_json: bool) -> None:
    """Watch the stream at URL, and find out whether a proxy holds it back.

    URL is any stream of this service, directly or through a proxy: type=sse, type=ndjson, /sse or /jsonl. Each event
    says when it left. An event that came later than the others did was held back on its way.

    The exit code is 0 if the events come as they leave, and 1 if they are held back and come in bursts. It is 2 if
    there is nothing to watch.
    """
    try:
        found = watch(url, longest=longest, most=events, context=tls_context(insecure=True) if insecure else None)
    except WatchError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        click.echo(json.dumps(figures(found), indent=2))
    else:
        console = Console()
        console.print(_table(found))
        console.print(verdict(found))
    raise SystemExit(0 if found.burst() is None else 1)


def verdict(found: Watched) -> str:
    """Write the verdict of a watched stream as a sentence."""
    burst, number = found.burst(), len(found.arrivals)
    end = "" if found.whole else f" The stream broke off: {found.broken}." if found.broken else " It did not end."
    if burst is not None:
        text = f"held back for up to {_seconds(burst.held)} and let go in one burst of {burst.number}"
        return f"Buffered: {text}: something on the way buffers.{end}"
    if number == 1:
        return f"No verdict: a single event shows nothing; ask for chunks=10.{end}"
    return f"Streams through: {number} events, the latest {_seconds(max(found.held()))} behind the others.{end}"


def figures(found: Watched) -> dict[str, object]:
    """Convert a watched stream to plain values for JSON, times in milliseconds."""
    burst = found.burst()
    return {
        "buffered": burst is not None,
        "verdict": verdict(found),
        "burst": None if burst is None else {"events": burst.number, "held_ms": _ms(burst.held)},
        "whole": found.whole,
        "events": [
            {"n": each.number, "due_ms": _ms(each.due), "left_ms": _ms(each.left), "came_ms": _ms(each.came)}
            | {"held_ms": _ms(held)}
            for each, held in zip(found.arrivals, found.held(), strict=True)
        ],
    }


def _table(found: Watched) -> Table:
    table = Table("event", "left", "came", "held back", "o left, * came", caption="milliseconds")
    for column in table.columns[:4]:
        column.justify = "right"
    held = found.held()
    first, last = found.arrivals[0].left, max(each.left + late for each, late in zip(found.arrivals, held, strict=True))
    step = -(-len(held) // ROWS)
    for each, late in list(zip(found.arrivals, held, strict=True))[::step]:
        start, stop = (_column(moment, first, last) for moment in (each.left, each.left + late))
        chart = " " * start + ("*" if start == stop else "o" + "-" * (stop - start - 1) + "*")
        table.add_row(f"{each.number}", f"{_ms(each.left):,}", f"{_ms(each.came):,}", f"{_ms(late):,}", chart)
    return table


def _column(moment: float, first: float, last: float) -> int:
    return round((moment - first) / (last - first) * (WIDTH - 1)) if last > first else 0


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"

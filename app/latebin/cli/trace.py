"""The `trace` command: a trace made of an access log."""

from collections import Counter
from pathlib import Path

import click

from latebin.core.language.access_log import times
from latebin.core.language.trace import MAX_VALUES


@click.command("trace")
@click.argument("log", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--upstream", is_flag=True, help="Take the upstream's own time where the log has both.")
def trace_command(*, log: Path, upstream: bool) -> None:
    """Make a trace of the access log LOG, for `latebin serve --trace NAME=FILE`.

    The log is one of nginx with $request_time, of HAProxy with `option httplog`, of Envoy, or of this service. LOG can
    be - for standard input. The trace goes to standard output, a time with its unit on each line. Standard error gets
    the number of lines that were taken and skipped.
    """
    with click.open_file(str(log), encoding="utf-8", errors="replace") as file:
        found = times(file, upstream=upstream, most=MAX_VALUES)
    for seconds in found.seconds:
        # With the unit: a bare number above a minute would be refused, as one that may be of milliseconds.
        click.echo(f"{seconds:.6f}s")
    click.echo(f"taken: {_counts(found.taken)}; skipped: {_counts(found.skipped)}", err=True)
    if not found.seconds:
        raise click.UsageError("the log has no time of a request; nginx needs $request_time in its log_format")


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items()) or "0"

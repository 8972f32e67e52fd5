"""The command that predicts a delay, and the table and the histogram that it prints."""

from typing import Final

import click
from rich.console import Console
from rich.table import Table

from latebin.cli import options
from latebin.cli.options import DurationType, named
from latebin.core.language.duration import render
from latebin.core.language.prediction import FIGURES, Prediction, predict
from latebin.core.language.sequence import Sequence
from latebin.core.language.trace import Trace
from latebin.core.parameters import DELAY
from latebin.core.settings import Settings

WIDTH: Final = 40
"""The longest bar, in characters."""

BINS: Final = 10
"""Lines of a histogram, few enough for one screen."""

_RAREST: Final = 0.0001

_LABELS: Final = {"p99_9": "p99.9"}


@click.command("predict")
@click.argument("expression", metavar="EXPR")
@click.option("--timeout", type=DurationType(), help="Timeout of the client.")
@options.longest
@options.traces
def predict_command(expression: str, timeout: float | None, max_delay: float, traces: tuple[Trace, ...]) -> None:
    """Predict a delay: percentiles, the share that a timeout cuts, a histogram."""
    try:
        settings = Settings(default_delay=0.0, max_delay=max_delay, traces=named(traces))
        delay = DELAY.read(expression, settings)
    except ValueError as error:
        raise click.UsageError(f"Invalid delay {expression!r}: {error}") from error
    if isinstance(delay, Sequence):
        raise click.UsageError(f"Invalid delay {expression!r}: a sequence has no prediction, each of its steps has one")
    show(predict(delay, timeout, max_delay, BINS))


def show(prediction: Prediction) -> None:
    """Print the figures and the histogram of a prediction."""
    console = Console(highlight=False)
    console.print(figures(prediction))
    console.print()
    console.print(histogram(prediction, "#" if console.options.ascii_only else "█"))


def figures(prediction: Prediction) -> Table:
    """Make the table of the figures, with the share that a timeout cuts."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    for name in FIGURES:
        table.add_row(_LABELS.get(name, name), duration(getattr(prediction, name)))
    if prediction.timeout is not None and prediction.cut is not None:
        table.add_row(f"cut by {duration(prediction.timeout)}", percentage(prediction.cut))
    return table


def histogram(prediction: Prediction, ink: str = "█") -> Table:
    """Make the table of the histogram, with a bar for each bin.

    Args:
        prediction: the source of the bins.
        ink: the character of the bars.
    """
    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("up to", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column(style="green", no_wrap=True, overflow="crop")
    longest = max(each.share for each in prediction.histogram)
    for each in prediction.histogram:
        part = each.share / longest
        # A rare share keeps a visible bar; a rounding error can make a share less than zero.
        length = max(round(part * WIDTH), int(part > 0))
        table.add_row(duration(each.upper), percentage(each.share), ink * length)
    return table


def duration(seconds: float) -> str:
    """Write a duration with three digits, the precision of a prediction."""
    return render(float(f"{seconds:.3g}"))


def percentage(share: float) -> str:
    """Write a share as a percentage with two places; a rare share is '<0.01%'."""
    return f"<{_RAREST:.2%}" if 0 < share < _RAREST else f"{max(share, 0.0):.2%}"

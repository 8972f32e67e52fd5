"""The command that tells what to expect of a delay, and the table and the histogram that it prints."""

import click
from rich.console import Console

from latebin.cli import chart
from latebin.cli.options import DurationType, longest, named, traces
from latebin.core.language.prediction import Prediction, predict
from latebin.core.language.trace import Trace
from latebin.core.parameters import DELAY
from latebin.core.settings import Settings


@click.command("predict")
@click.argument("expression", metavar="EXPR")
@click.option("--timeout", type=DurationType(), help="How long the client would wait.")
@longest
@traces
def predict_command(expression: str, timeout: float | None, max_delay: float, trace: tuple[Trace, ...]) -> None:
    """Tell what to expect of a delay, before anybody waits."""
    try:
        settings = Settings(default_delay=0.0, max_delay=max_delay, traces=named(trace))
        delay = DELAY.read(expression, settings)
    except ValueError as error:
        raise click.UsageError(f"{expression!r} is no delay: {error}") from error
    _show(predict(delay, timeout, max_delay, chart.BINS))


def _show(prediction: Prediction) -> None:
    console = Console(highlight=False)
    console.print(chart.figures(prediction))
    console.print()
    console.print(chart.histogram(prediction, "#" if console.options.ascii_only else "█"))

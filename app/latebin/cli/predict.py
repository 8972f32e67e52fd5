"""The command that predicts a delay, and the tables and the histogram that it prints."""

from collections.abc import Mapping
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from latebin.cli import options
from latebin.cli.options import DurationType, F, named
from latebin.core.language.distributions import Distribution
from latebin.core.language.duration import render
from latebin.core.language.prediction import FIGURES, Prediction, predict
from latebin.core.language.queueing import ALL, Load, Simulation
from latebin.core.language.sequence import Sequence
from latebin.core.language.trace import Trace
from latebin.core.parameters import DELAY, PREDICT
from latebin.core.settings import Settings

WIDTH: Final = 40
"""The longest bar, in characters."""

BINS: Final = 10
"""Lines of a histogram, few enough for one screen."""

_RAREST: Final = 0.0001

_LABELS: Final = {"p99_9": "p99.9"}


_LOAD: Final = tuple(parameter for parameter in PREDICT if parameter.name in {"rate", "servers", "queue", "seed"})
"""The parameters of `/predict` that are options here, too: those of the simulation."""


def _simulated(command: F) -> F:
    """Add the options of the simulation to a command."""
    for parameter in reversed(_LOAD):
        shown = f"{parameter.meaning[0].upper()}{parameter.meaning[1:]}."
        command = click.option(f"--{parameter.name}", metavar="NUMBER", help=shown)(command)
    return command


@click.command("predict")
@click.argument("expression", metavar="EXPR")
@click.option("--timeout", type=DurationType(), help="Timeout of the client.")
@_simulated
@options.longest
@options.traces
def predict_command(
    expression: str, timeout: float | None, max_delay: float, traces: tuple[Trace, ...], **given: str | None
) -> None:
    """Predict a delay: percentiles, the share that a timeout cuts, a histogram.

    With --rate, also the time in line before servers that take so long, from a simulation.
    """
    try:
        settings = Settings(default_delay=0.0, max_delay=max_delay, traces=named(traces))
        delay = DELAY.read(expression, settings)
    except ValueError as error:
        raise click.UsageError(f"Invalid delay {expression!r}: {error}") from error
    if isinstance(delay, Sequence):
        raise click.UsageError(f"Invalid delay {expression!r}: a sequence has no prediction, each of its steps has one")
    load = _load(delay, timeout, settings, given)
    show(predict(delay, timeout, max_delay, BINS))
    if load is not None:
        simulation = Simulation(load)
        simulation.run(ALL)
        show_simulation(simulation)


def _load(
    delay: Distribution, timeout: float | None, settings: Settings, given: Mapping[str, str | None]
) -> Load | None:
    """Read the load to simulate; return None without a rate.

    Raises:
        UsageError: an option is wrong, or needs a rate.
    """
    found = {}
    for parameter in _LOAD:
        text = given[parameter.name]
        if text is not None:
            try:
                found[parameter.name] = parameter.read(text, settings)
            except ValueError as error:
                raise click.UsageError(f"Invalid --{parameter.name} {text!r}: {error}") from error
    if found and "rate" not in found:
        raise click.UsageError(f"--{next(iter(found))} needs --rate.")
    return Load(delay, settings.max_delay, timeout=timeout, **found) if found else None


def show_simulation(simulation: Simulation) -> None:
    """Print the figures of a simulation that is over."""
    found, console = simulation.as_json(), Console(highlight=False)
    console.print(f"\n{found['method']}: {found['requests']:,} requests, seed {found['seed']}\n", soft_wrap=True)
    console.print(shares(found))
    console.print()
    console.print(times(found))
    if not found["stable"]:
        console.print("\nThe line grows as long as requests come: the servers take fewer than that.", soft_wrap=True)


def shares(simulation: Mapping[str, Any]) -> Table:
    """Make the table of the shares that a simulation has, as `Simulation.as_json` gives them."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    for name, label in (("utilisation", "utilisation"), ("refused", "refused"), ("cut", "cut by the timeout")):
        if simulation[name] is not None:
            table.add_row(label, percentage(simulation[name]))
    return table


def times(simulation: Mapping[str, Any]) -> Table:
    """Make the table of the times in line, and of the whole times."""
    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("")
    for name in ("waiting", "response"):
        table.add_column(name, justify="right", no_wrap=True)
    for figure, waiting in simulation["waiting"].items():
        response = simulation["response"][figure]
        table.add_row(figure.removesuffix("_ms"), duration(waiting / 1000), duration(response / 1000))
    return table


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

"""The instructions of an answer by a scenario, and by `/delayed` with the same query.

    python -m tests.bench.scenarios [--answers 300]

Both are counted in one process, as `tests.bench.overrides` counts them.
"""

import socket
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from latebin.core.endpoints import PREFIXES
from tests.bench.overrides import costs, counted

PAIRS: Final = {
    "one plan for all": ("/as/plain", "/delayed?delay=0s"),
    "drawn": ("/as/drawn", "/delayed?delay=0s..1us&status=200:50%25"),
}
"""A scenario of `tests.bench.overrides.SCENARIOS`, and the request with the same query."""


@click.command()
@click.option("--answers", default=300, show_default=True, help="Answers that are counted, of each kind.")
def scenarios(answers: int) -> None:
    """Count the instructions of an answer under /as and under /delayed."""
    shown = Table("plan", "style", "/delayed", "/as", "ratio", title="instructions per answer")
    with counted("tuned") as (port, pid), socket.create_connection(("127.0.0.1", port), timeout=600) as connection:
        for name, targets in PAIRS.items():
            for style, prefix in PREFIXES.items():
                both = [prefix + target for target in targets]
                by_scenario, by_query = costs([connection], pid, both, answers)
                ratio = f"{by_scenario / by_query:.3f}"
                shown.add_row(name, style, f"{by_query:,.0f}", f"{by_scenario:,.0f}", ratio)
    Console(width=120).print(shown)


if __name__ == "__main__":
    scenarios()

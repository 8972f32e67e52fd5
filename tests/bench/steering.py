"""The instructions of an answer with a key, with a sequence, and in a pool.

    python -m tests.bench.steering [--answers 300]

As in tests/bench/overrides.py, callgrind counts the instructions of user space.
"""

import socket
from typing import Final

import click

from latebin.core.endpoints import PREFIXES
from tests.bench.overrides import costs, counted

QUERIES: Final = {
    "nothing": "",
    "a key": "&key=a",
    "a sequence": "&key=b&status=503*2,200",
    "a pool": "&pool=a&servers=8",
}
"""More parameters of a request for an answer without a delay, by their use."""


@click.command()
@click.option("--answers", default=300, show_default=True, help="Answers that are counted, for each query and style.")
def steering(answers: int) -> None:
    """Count the instructions of an answer with each query."""
    with counted("tuned") as (port, pid), socket.create_connection(("127.0.0.1", port), timeout=600) as connection:
        for style, prefix in PREFIXES.items():
            targets = [f"{prefix}/delayed?delay=0s{query}" for query in QUERIES.values()]
            base, *others = costs([connection], pid, targets, answers)
            for use, found in zip(QUERIES, [base, *others], strict=True):
                click.echo(f"{style:9} {use:11} {found:11,.0f} {found / base:.3f}")


if __name__ == "__main__":
    steering()

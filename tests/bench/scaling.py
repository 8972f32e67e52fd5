"""What two workers carry on two cores, of what one carries on one, with the load on the same cores.

The load takes a share of the cores that the service has. On two of two cores it would leave two workers less than it
leaves one: here it is confined with them, and takes the same share of one core as of two. It is `wrk`, which asks for
the next answer as soon as it has the last, and asks for no delay.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from shutil import which
from statistics import median

import attrs
from rich.table import Table

from tests.bench.servers import SERVE, Load, Server, running
from tests.support.process import get, until

CONNECTIONS = 64

STYLES = {"raw": "/raw/delayed/0", "Klein": "/delayed/0"}

RATE = re.compile(r"Requests/sec:\s+([0-9.]+)")


@attrs.frozen
class Carried:
    """Answers a second of a style, by one worker on one core and by two on two, in one round."""

    style: str
    by_one: float
    by_two: float

    @property
    def times(self) -> float:
        return self.by_two / self.by_one


def possible() -> bool:
    """Tell whether there is what it takes: wrk, and two cores."""
    return which("wrk") is not None and len(os.sched_getaffinity(0)) > 1


@contextmanager
def confined(cores: list[int]) -> Iterator[None]:
    """Have what is started run on these cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def carried(cores: list[int], seconds: float) -> dict[str, float]:
    """Give the answers a second of each style, with as many workers as cores."""
    workers = Server("", (*SERVE, "--workers", str(len(cores))), "")
    with confined(cores), running(workers, Load(0, 0)) as (port, _):
        # The first accepts connections before the others are there.
        ready = f"latebin_workers {len(cores):.1f}\n".encode()
        until(lambda: ready in get(port, "/metrics")[1])
        return {style: asked(f"http://127.0.0.1:{port}{path}", len(cores), seconds) for style, path in STYLES.items()}


def asked(url: str, threads: int, seconds: float) -> float:
    command = ["wrk", f"-t{threads}", f"-c{CONNECTIONS}", f"-d{seconds:g}s", url]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 30).stdout
    rate = RATE.search(told)
    if rate is None or "Non-2xx" in told:
        raise ValueError(f"wrk did not get its answers: {told}")
    return float(rate[1])


def measured(turn: int, seconds: float) -> list[Carried]:
    """Measure one round of each style; one worker is on another core each time, as they need not be equal."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    one, two = carried([cores[turn % 2]], seconds), carried(cores, seconds)
    return [Carried(style, one[style], two[style]) for style in STYLES]


def spread(ratios: list[float]) -> str:
    """Write what a ratio was in the middle one of the rounds, and between which it lay in all."""
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def table(results: list[Carried]) -> Table:
    shown = Table("style", "1 worker, 1 core", "2 workers, 2 cores", "times", title="answers a second, with their load")
    for style in STYLES:
        mine = [result for result in results if result.style == style]
        one, two = median(result.by_one for result in mine), median(result.by_two for result in mine)
        shown.add_row(style, f"{one:.0f}", f"{two:.0f}", spread([result.times for result in mine]))
    return shown

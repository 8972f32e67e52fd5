"""The throughput of two workers on two cores, and of one worker on one core.

The load is `wrk` without a delay: each of its connections has a next request as soon as it has an answer. The load runs
on the same cores as the service, so that it takes the same share of one core as of two. On cores of its choice it would
take more from two workers than from one.
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
class Throughput:
    """Answers per second of a style in one round, with one worker and with two."""

    style: str
    one: float
    two: float

    @property
    def ratio(self) -> float:
        return self.two / self.one


def possible() -> bool:
    """Return whether there are wrk and two cores."""
    return which("wrk") is not None and len(os.sched_getaffinity(0)) > 1


@contextmanager
def confined(cores: list[int]) -> Iterator[None]:
    """Confine the processes that are started meanwhile to some cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def throughput(cores: list[int], seconds: float) -> dict[str, float]:
    """Return the answers per second of each style, with one worker for each core."""
    workers = Server("", (*SERVE, "--workers", str(len(cores))), "")
    with confined(cores), running(workers, Load(0, 0)) as (port, _):
        # The first worker accepts connections before the others have started.
        ready = f"latebin_workers {len(cores):.1f}\n".encode()
        until(lambda: ready in get(port, "/metrics")[1])
        return {style: wrk(f"http://127.0.0.1:{port}{path}", len(cores), seconds) for style, path in STYLES.items()}


def wrk(url: str, threads: int, seconds: float) -> float:
    command = ["wrk", f"-t{threads}", f"-c{CONNECTIONS}", f"-d{seconds:g}s", url]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 30).stdout
    rate = RATE.search(output)
    if rate is None or "Non-2xx" in output:
        raise ValueError(f"wrk failed: {output}")
    return float(rate[1])


def measured(index: int, seconds: float) -> list[Throughput]:
    """Measure one round; the core of the single worker is another each time."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    # One core may be faster than the other.
    one, two = throughput([cores[index % 2]], seconds), throughput(cores, seconds)
    return [Throughput(style, one[style], two[style]) for style in STYLES]


def spread(ratios: list[float]) -> str:
    """Format ratios as their median and their range."""
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def table(results: list[Throughput]) -> Table:
    columns = ("style", "1 worker, 1 core", "2 workers, 2 cores", "ratio")
    shown = Table(*columns, title="answers per second, with the load on the same cores")
    for style in STYLES:
        rounds = [result for result in results if result.style == style]
        one, two = median(result.one for result in rounds), median(result.two for result in rounds)
        shown.add_row(style, f"{one:.0f}", f"{two:.0f}", spread([result.ratio for result in rounds]))
    return shown

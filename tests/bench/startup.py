"""The start of the service, and its memory and wake-ups while it is idle.

Beside it stands the floor, an import of Twisted and Klein. A process counts as up when its first line of output is
there; the service writes it when it accepts connections. Memory is read, and wake-ups are counted, some seconds later:
a wake-up is a voluntary context switch (proc_pid_status(5)).
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import attrs
from rich.table import Table

from tests.support.process import environment

SETTLED = 2.0
"""Seconds after the first line until memory is read."""

WAIT = "print(flush=True); input()"

SERVE = (sys.executable, "-m", "latebin", "serve", "--port", "0")

COMMANDS = {
    "python": (sys.executable, "-c", WAIT),
    "import twisted.web.server, klein": (sys.executable, "-c", f"import twisted.web.server, klein; {WAIT}"),
    "latebin serve": SERVE,
    "latebin serve --stack stock": (*SERVE, "--stack", "stock"),
}

SWITCHES = re.compile(r"^voluntary_ctxt_switches:\s+(\d+)$", re.MULTILINE)

SIZES = re.compile(r"^(Rss|Pss):\s+(\d+) kB$", re.MULTILINE)


@attrs.frozen
class Start:
    """One start of a process.

    Attributes:
        name: the name of its command.
        seconds: wall-clock time until it is up.
        cpu: seconds of CPU time until then.
        resident: bytes of memory in RAM, RSS.
        proportional: bytes, with each shared page in equal parts, PSS.
        wakeups: per second, while it is idle.
    """

    name: str
    seconds: float
    cpu: float
    resident: int
    proportional: int
    wakeups: float


def measured(name: str, command: Sequence[str], seconds: float, cache: Path) -> Start:
    """Start a process, and leave it idle.

    Args:
        name: the name of the command in the table.
        command: the program and its arguments.
        seconds: how long wake-ups are counted.
        cache: the directory of compiled modules, which an installed package has beside its modules.
    """
    variables = environment(PYTHONPYCACHEPREFIX=str(cache))
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    pipe = subprocess.PIPE
    began = time.monotonic()
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=variables) as process:
        if process.stdout is None or not process.stdout.readline():
            raise ValueError(f"{name} ended before it was up")
        up, proc = time.monotonic(), Path("/proc") / str(process.pid)
        cpu = cpu_time(proc)
        time.sleep(SETTLED)
        sizes = {key: int(kilobytes) * 1024 for key, kilobytes in SIZES.findall((proc / "smaps_rollup").read_text())}
        before = switches(proc)
        time.sleep(seconds)
        wakeups = (switches(proc) - before) / seconds if seconds else 0.0
        process.terminate()
    return Start(name, up - began, cpu, sizes["Rss"], sizes["Pss"], wakeups)


def cpu_time(proc: Path) -> float:
    """Read the CPU time of a process, in the system too."""
    fields = (proc / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def switches(proc: Path) -> int:
    """Add up the voluntary context switches of all threads of a process."""
    found = (SWITCHES.search(status.read_text()) for status in proc.glob("task/*/status"))
    return sum(int(each[1]) for each in found if each)


def table(results: list[Start]) -> Table:
    columns = ("process", "up ms", "least", "CPU ms", "least", "RSS MiB", "PSS MiB", "wake-ups/s")
    shown = Table(*columns, title="start, and memory and wake-ups while idle (medians)")
    for name in dict.fromkeys(result.name for result in results):
        starts = [result for result in results if result.name == name]
        up, cpu = [start.seconds * 1000 for start in starts], [start.cpu * 1000 for start in starts]
        sizes = (median(start.resident for start in starts), median(start.proportional for start in starts))
        shown.add_row(
            name,
            *(f"{time:.0f}" for times in (up, cpu) for time in (median(times), min(times))),
            *(f"{size / 2**20:.1f}" for size in sizes),
            f"{median(start.wakeups for start in starts):.1f}",
        )
    return shown

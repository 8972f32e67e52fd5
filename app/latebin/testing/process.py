"""The service that is compared, as a process of its own."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

SERVE: Final = ("-m", "latebin")
"""What Python is told to run."""

START_TIME: Final = 30.0
"""How long the service may take to say where it serves, in seconds."""

STOP_TIME: Final = 10.0
"""How long it may take to stop before it is killed, in seconds."""

_POLL: Final = 0.02

_URL: Final = re.compile(r"http://127\.0\.0\.1:\d+(?=/delayed\b)")

_SOURCE: Final = Path(__file__).resolve().parent.parent.parent


class StartError(Exception):
    """The service did not start."""


@attrs.frozen
class Subject:
    """A service to compare.

    Attributes:
        url: without a path.
        pids: its processes, if its cost is to be looked at.
    """

    url: str
    pids: tuple[int, ...] = ()


@contextmanager
def started(log: Path, program: Sequence[str] = SERVE) -> Iterator[Subject]:
    """Run the service on a free port of the loopback interface, and stop it whatever happens.

    Args:
        log: a file for what it prints, its access log included.
        program: what Python is told to run, before `serve` and its options.

    Yields:
        The service, once it serves.

    Raises:
        StartError: it ended, or said nothing, before it served.
    """
    # The package is the one that this is, whatever else is called `app` where the command is run.
    command = (sys.executable, "-P", *program, "serve", "--host", "127.0.0.1", "--port", "0", "--drain-timeout", "0s")
    with (
        log.open("wb") as output,
        subprocess.Popen(  # noqa: S603  # its own program, with nothing in it that a caller wrote
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=_environment()
        ) as process,
    ):
        try:
            yield Subject(_url(process, log), (process.pid,))
        finally:
            _stop(process)


def _environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LATEBIN_")}
    paths = (str(_SOURCE), *filter(None, [os.environ.get("PYTHONPATH")]))
    return inherited | {"PYTHONPATH": os.pathsep.join(paths)}


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + START_TIME
    while process.poll() is None and time.monotonic() < until:
        if found := _URL.search(log.read_text(encoding="utf-8", errors="replace")):
            return found[0]
        time.sleep(_POLL)
    raise StartError(f"the service did not start: {log.read_text(encoding='utf-8', errors='replace').strip()[-500:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIME)
    except subprocess.TimeoutExpired:
        process.kill()

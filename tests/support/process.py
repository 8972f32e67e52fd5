"""The service in a process of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[2]

BOUND = 60
"""The longest time, in seconds, to wait for a condition."""


@attrs.frozen
class Process:
    """A process that serves, with its standard output open for reading."""

    popen: subprocess.Popen[str]
    port: int

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal, and return the exit code and the rest of the output."""
        self.popen.send_signal(number)
        output, _ = self.popen.communicate(timeout=30)
        return self.popen.returncode, output


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment with the given variables and no other `LATEBIN_` variable."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LATEBIN_")}
    return inherited | {"PYTHONPATH": os.pathsep.join((str(ROOT / "app"), str(ROOT)))} | variables


@contextmanager
def started(*arguments: str, until: str, **variables: str) -> Iterator[Process]:
    """Run Python until the block ends, and read its port from its output.

    Args:
        arguments: the arguments of `python`.
        until: a regular expression for the line with the port; its only group is the port, or empty without a port.
        variables: environment variables to set.

    Raises:
        AssertionError: the process ended before it printed such a line.
    """
    command = [sys.executable, *arguments]
    popen = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(**variables), cwd=ROOT
    )
    try:
        assert popen.stdout is not None
        for line in popen.stdout:
            found = re.search(until, line)
            if found:
                yield Process(popen, int(found[1] or 0))
                break
        else:
            raise AssertionError(f"{command} ended with {popen.wait()} before it served")
    finally:
        popen.kill()
        popen.wait()
        if popen.stdout is not None:
            popen.stdout.close()


@contextmanager
def serving(*options: str, **variables: str) -> Iterator[Process]:
    """Run `latebin serve` on a free port until the block ends."""
    arguments = ("-m", "latebin", "serve", "--port", "0", *options)
    with started(*arguments, until=r"serving http://127\.0\.0\.1:(\d+)/delayed", **variables) as process:
        yield process


def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < end, "the condition never held"
        time.sleep(0.01)


def get(port: int, path: str) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body

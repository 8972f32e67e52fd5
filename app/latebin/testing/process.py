"""The service as a process of its own, for tests and for measurements.

The service listens on a free port of the loopback interface, and stops at the end of the context:

    with serving("--default-delay", "50ms") as service:
        assert urlopen(f"{service.url}/delayed").status == 200
        assert "GET /delayed 200" in service.log()
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import attrs

PROGRAM: Final = ("-m", "latebin")
"""The arguments of Python that run the command line."""

DEFAULTS: Final = {"LATEBIN_HOST": "127.0.0.1", "LATEBIN_PORT": "0", "LATEBIN_DRAIN_TIMEOUT": "0s"}
"""The default settings of `serving`: a free port, and no wait for pending answers at the end."""

START_TIME: Final = 60.0
"""The time for a process to become ready, in seconds."""

STOP_TIME: Final = 10.0
"""The time for a process to stop at the end of its context, in seconds; after that it is killed."""

_POLL: Final = 0.01

_SERVING: Final = re.compile(r"serving (\S+?)/delayed\b")

_SOURCE: Final = Path(__file__).resolve().parent.parent.parent


class StartError(Exception):
    """A process that ended before it was ready, or that was not ready in time."""


@attrs.frozen
class Process:
    """A process that is ready, and its output.

    Attributes:
        popen: the process.
        output: the file with standard output and standard error of the process.
        found: the parts of the output that the pattern of readiness has as its group.
        offset: the end of the last of them, as a number of characters of the output.
    """

    popen: "subprocess.Popen[bytes]"
    output: Path
    found: tuple[str, ...]
    offset: int

    @property
    def pid(self) -> int:
        return self.popen.pid

    def log(self) -> str:
        """Return the output from after the process was ready."""
        return _read(self.output)[self.offset :]

    def send_signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def wait(self, timeout: float = START_TIME) -> int:
        """Wait for the end of the process, and return its exit code.

        Args:
            timeout: in seconds.

        Returns:
            The exit code, or the negative number of the signal that ended the process.

        Raises:
            subprocess.TimeoutExpired: the process still runs.
        """
        return self.popen.wait(timeout)

    def stop(self, number: int = signal.SIGTERM, timeout: float = START_TIME) -> int:
        """Send a signal, and wait for the end of the process as `wait` does."""
        self.send_signal(number)
        return self.wait(timeout)


@attrs.frozen
class ServiceProcess(Process):
    """A process that serves, and the URLs of its endpoints."""

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs of all endpoints, without a path, in the order of `--listen`."""
        return self.found

    @property
    def url(self) -> str:
        """The URL of the first endpoint, without a path."""
        return self.found[0]

    @property
    def ports(self) -> tuple[int, ...]:
        """The TCP ports of all endpoints; 0 stands for a UNIX domain socket."""
        return tuple(urlsplit(url).port or 0 for url in self.urls)

    @property
    def port(self) -> int:
        """The TCP port of the first endpoint."""
        return self.ports[0]


@contextmanager
def serving(
    *options: str, program: Sequence[str] = PROGRAM, log: Path | None = None, **variables: str
) -> Iterator[ServiceProcess]:
    """Run `latebin serve` on a free port until the end of the context.

    An option goes before a variable of `variables`, and that before DEFAULTS. The environment of this process changes
    no setting.

    Args:
        options: the arguments of `latebin serve`.
        program: the arguments of Python that run the command line.
        log: the file for the output of the service; by default one that is deleted at the end.
        variables: environment variables of the service.

    Yields:
        The service, once it accepts connections.

    Raises:
        StartError: the service did not start; the message has the end of its output.
    """
    endpoints = options.count("--listen") or len(variables.get("LATEBIN_LISTEN", "").split())
    defaults = DEFAULTS if "LATEBIN_LISTEN" not in variables else {"LATEBIN_DRAIN_TIMEOUT": "0s"}
    ready = _Ready(_SERVING, endpoints or 1)
    with _running((*program, "serve", *options), ready, log, defaults | variables) as found:
        yield ServiceProcess(*found)


@contextmanager
def started(*command: str, ready: str, log: Path | None = None, **variables: str) -> Iterator[Process]:
    """Run Python with any arguments until the end of the context.

    Args:
        command: the arguments of Python.
        ready: a regular expression with one group, whose match in the output shows that the process is ready.
        log: as in `serving`.
        variables: as in `serving`.

    Yields:
        The process, once its output has a match.

    Raises:
        StartError: as in `serving`.
    """
    with _running(command, _Ready(re.compile(ready)), log, variables) as found:
        yield Process(*found)


@attrs.frozen
class _Ready:
    """A pattern of output, and the number of matches of a process that is ready."""

    pattern: re.Pattern[str]
    count: int = 1

    def found(self, output: str) -> tuple[tuple[str, ...], int] | None:
        matches = list(self.pattern.finditer(output))
        if len(matches) < self.count:
            return None
        end = output.find("\n", matches[self.count - 1].end()) + 1
        return (tuple(match[1] for match in matches[: self.count]), end) if end else None


@contextmanager
def _running(
    command: Sequence[str], ready: _Ready, log: Path | None, variables: Mapping[str, str]
) -> Iterator[tuple["subprocess.Popen[bytes]", Path, tuple[str, ...], int]]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LATEBIN_")}
    paths = (str(_SOURCE), *filter(None, [variables.get("PYTHONPATH", os.environ.get("PYTHONPATH"))]))
    with ExitStack() as stack:
        # A file and not a pipe: a service blocks in write(2) when a pipe is full because nothing reads it.
        path = log or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="latebin-")), "log")
        output = stack.enter_context(path.open("wb"))
        # -P: no file in the working directory takes the place of the package that this module belongs to.
        popen = stack.enter_context(
            subprocess.Popen(  # noqa: S603  # its own program, with nothing in it that a caller of the service wrote
                (sys.executable, "-P", *command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**inherited, **variables, "PYTHONPATH": os.pathsep.join(paths)},
            )
        )
        stack.callback(_end, popen)
        yield popen, path, *_wait(popen, ready, path)


def _wait(popen: "subprocess.Popen[bytes]", ready: _Ready, output: Path) -> tuple[tuple[str, ...], int]:
    until = time.monotonic() + START_TIME
    while time.monotonic() < until:
        # In this order: the output of a process that has ended is then read to its end.
        ended = popen.poll() is not None
        if found := ready.found(_read(output)):
            return found
        if ended:
            break
        time.sleep(_POLL)
    raise StartError(f"the service did not start: {_read(output).strip()[-500:]}")


def _read(output: Path) -> str:
    return output.read_text(encoding="utf-8", errors="replace")


def _end(popen: "subprocess.Popen[bytes]") -> None:
    popen.terminate()
    try:
        popen.wait(STOP_TIME)
    except subprocess.TimeoutExpired:
        popen.kill()

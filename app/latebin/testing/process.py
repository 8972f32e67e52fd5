"""The service as a process of its own, for tests and for measurements.

It listens on a free port of the loopback interface, and is stopped at the end of the context:

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
"""The settings of a service that is started here: a free port, and no wait for pending answers at the end."""

START_TIME: Final = 60.0
"""Seconds that a process may take until it is ready."""

STOP_TIME: Final = 10.0
"""Seconds that a process may take to stop, at the end of its context, before it is killed."""

_POLL: Final = 0.01

_SERVING: Final = re.compile(r"serving (\S+?)/delayed\b")

_SOURCE: Final = Path(__file__).resolve().parent.parent.parent


class StartError(Exception):
    """A process that ended, or was silent for too long, before it was ready."""


@attrs.frozen
class Process:
    """A process that is ready, and its output.

    Attributes:
        popen: the process.
        output: the file that its standard output and its standard error are written to.
        found: the parts of its output that showed that it is ready.
        offset: the place in the output, in characters, at which it was ready.
    """

    popen: "subprocess.Popen[bytes]"
    output: Path
    found: tuple[str, ...]
    offset: int

    @property
    def pid(self) -> int:
        return self.popen.pid

    def log(self) -> str:
        """Read the output since the process was ready."""
        return _read(self.output)[self.offset :]

    def send_signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def wait(self, timeout: float = START_TIME) -> int:
        """Wait for the end of the process, and return its exit code.

        Args:
            timeout: seconds.

        Returns:
            The exit code, or the negative number of the signal that ended the process.

        Raises:
            subprocess.TimeoutExpired: the process runs on.
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
        """The URLs of its endpoints, without a path, in the order of `--listen`."""
        return self.found

    @property
    def url(self) -> str:
        """The URL of its first endpoint, without a path."""
        return self.found[0]

    @property
    def ports(self) -> tuple[int, ...]:
        """The TCP ports of its endpoints; a UNIX domain socket has 0."""
        return tuple(urlsplit(url).port or 0 for url in self.urls)

    @property
    def port(self) -> int:
        """The TCP port of its first endpoint."""
        return self.ports[0]


@contextmanager
def serving(
    *options: str, program: Sequence[str] = PROGRAM, log: Path | None = None, **variables: str
) -> Iterator[ServiceProcess]:
    """Run `latebin serve` on a free port until the end of the context.

    The settings are DEFAULTS, then the variables, then the options. The environment of this process changes no setting.

    Args:
        options: what follows `latebin serve`.
        program: the arguments of Python that run the command line.
        log: where to keep its output; by default a file that is deleted at the end.
        variables: what is set in its environment.

    Yields:
        The service, once it answers.

    Raises:
        StartError: it did not start; the end of its output is in the message.
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
        command: what follows `python`.
        ready: a regular expression with one group for the part of its output that shows that it is ready.
        log: as for `serving`.
        variables: as for `serving`.

    Yields:
        The process, once its output has a match.

    Raises:
        StartError: as for `serving`.
    """
    with _running(command, _Ready(re.compile(ready)), log, variables) as found:
        yield Process(*found)


@attrs.frozen
class _Ready:
    """A pattern whose matches, if there are enough, show that a process is ready."""

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
    with ExitStack() as stack:
        # A file and not a pipe: a service whose pipe is full, for nothing reads it, stops in write(2).
        path = log or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="latebin-")), "log")
        output = stack.enter_context(path.open("wb"))
        # -P: no file in the working directory takes the place of the package that this module belongs to.
        popen = stack.enter_context(
            subprocess.Popen(  # noqa: S603  # its own program, with nothing in it that a caller of the service wrote
                (sys.executable, "-P", *command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(variables),
            )
        )
        stack.callback(_end, popen)
        yield popen, path, *_wait(popen, ready, path)


def _wait(popen: "subprocess.Popen[bytes]", ready: _Ready, output: Path) -> tuple[tuple[str, ...], int]:
    until = time.monotonic() + START_TIME
    while time.monotonic() < until:
        # In this order: of a process that has ended, all output is read.
        ended = popen.poll() is not None
        if found := ready.found(_read(output)):
            return found
        if ended:
            break
        time.sleep(_POLL)
    raise StartError(f"the service did not start: {_read(output).strip()[-500:]}")


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LATEBIN_")}
    paths = (str(_SOURCE), *filter(None, [variables.get("PYTHONPATH", os.environ.get("PYTHONPATH"))]))
    return {**inherited, **variables, "PYTHONPATH": os.pathsep.join(paths)}


def _read(output: Path) -> str:
    return output.read_text(encoding="utf-8", errors="replace")


def _end(popen: "subprocess.Popen[bytes]") -> None:
    popen.terminate()
    try:
        popen.wait(STOP_TIME)
    except subprocess.TimeoutExpired:
        popen.kill()

"""The log as a process writes it to each kind of standard output."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from shlex import quote
from threading import Thread

import attrs
import pytest

from tests.server.test_workers import children_of, state
from tests.support.log import records
from tests.support.process import BOUND, ROOT, environment, get, ports, status, until
from tests.support.samples import read

LONG = f"/{'x' * 10_000}"
"""A path whose line in the log is far longer than what a pipe takes at once, PIPE_BUF."""


@pytest.fixture(params=["1", "2"], ids=["one process", "two workers"])
def workers(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@attrs.frozen
class Serving:
    """A service whose port is known in advance, as its output is not read."""

    popen: "subprocess.Popen[str]"
    port: int

    def ask(self, count: int, target: str = "/delayed/0") -> None:
        """Ask for so many answers on one connection."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=BOUND)
        for _ in range(count):
            connection.request("GET", target)
            response = connection.getresponse()
            response.read()
            assert response.status == 200
        connection.close()

    def answers(self) -> bool:
        try:
            return status(self.port, "/healthz") == 200
        except OSError:
            return False

    def dropped(self) -> float:
        """Return the number of lines that were dropped, as the service counts them."""
        return read(get(self.port, "/metrics")[1])["latebin_log_lines_dropped_total",]

    def end(self) -> int:
        """Send SIGTERM, and read nothing until the process has ended."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(BOUND)


@contextmanager
def serving(*options: str, output: str | None = None, program: str = "-m latebin") -> Iterator[Serving]:
    """Run `latebin serve`.

    Args:
        options: what follows it.
        output: where a shell redirects its standard output; by default that is a pipe, and so is standard error.
        program: the arguments of Python, as a shell takes them.
    """
    [port] = ports(1)
    command = f"exec {sys.executable} {program} serve --port {port} --drain-timeout 0s {' '.join(options)}"
    with subprocess.Popen(
        ["sh", "-c", command if output is None else f"{command} >{output}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if output is None else subprocess.PIPE,
        text=True,
        env=environment(),
        cwd=ROOT,
    ) as popen:
        service = Serving(popen, port)
        try:
            until(lambda: popen.poll() is not None or service.answers())
            yield service
        finally:
            popen.kill()


def paths(output: str) -> list[str]:
    """Give the path of each answer that is in the log."""
    return [event["path"] for event in records(output) if event["namespace"] == "latebin.access"]


def reported(output: str) -> int:
    """Add up the lines that the log reports as dropped."""
    return sum(map(int, re.findall(r'"(\d+) log lines? (?:was|were) dropped"', output)))


def test_not_read(workers: str) -> None:
    """A service answers, counts lines and stops in time when nothing reads its log.

    The log reports how many lines are missing when it is read again.
    """
    with serving("--workers", workers, "--log-buffer", "64k", "--log-format", "json") as service:
        service.ask(700)
        assert status(service.port, "/healthz") == 200
        until(lambda: service.dropped() > 0)
        output = []
        assert service.popen.stdout is not None
        for line in service.popen.stdout:
            output.append(line)
            if " dropped" in line:
                break
        get(service.port, "/raw/delayed/0")
        before = service.dropped()
        service.ask(600, "/raw/delayed/0us")
        until(lambda: service.dropped() > before)
        assert service.end() == 0
        output.append(service.popen.communicate(timeout=BOUND)[0])
    logged = "".join(output)
    # The last event in the pipe may be cut off.
    assert set(paths(logged)) <= {"/delayed/0", "/healthz", "/metrics", "/raw/delayed/0", "/raw/delayed/0us"}
    assert paths(logged).count("/raw/delayed/0") == 1
    assert paths(logged).count("/delayed/0") > 100
    missing = reported(logged.partition("/raw/delayed/0us")[0])
    assert missing > 0
    assert paths(logged).count("/delayed/0") + missing >= 700


def test_reader_leaves(workers: str) -> None:
    """A service answers and counts the lines when its log's reader goes away."""
    with serving("--workers", workers) as service:
        assert service.popen.stdout is not None
        service.popen.stdout.close()
        service.ask(10)
        until(lambda: service.dropped() >= 10)
        assert service.end() == 0


def test_disk_is_full(workers: str) -> None:
    """A service answers and counts the lines when the disk of its log is full."""
    with serving("--workers", workers, output="/dev/full") as service:
        service.ask(10)
        until(lambda: service.dropped() >= 10)
        assert service.end() == 0
        assert service.popen.communicate(timeout=BOUND)[1] == ""


def test_closed(workers: str) -> None:
    """A service serves without a log when it is started without standard output."""
    with serving("--workers", workers, output="&-") as service:
        service.ask(10)
        assert service.end() == 0
        assert service.popen.communicate(timeout=BOUND)[1] == ""


def test_nothing_is_open() -> None:
    """A service opens /dev/null for each standard file when none is open."""
    with serving(output="&- 2>&- <&-") as service:
        service.ask(10)
        files = [Path(f"/proc/{service.popen.pid}/fd/{number}").readlink() for number in range(3)]
        assert files == [Path(os.devnull)] * 3
        assert service.end() == 0


def test_a_worker_is_stuck() -> None:
    """A worker's lines are logged, each whole, when another stops amid one."""
    with serving("--workers", "2", "--log-buffer", "64k", "--log-format", "json") as service:
        for _ in range(200):
            get(service.port, LONG)
        stuck, _ = children_of(service.popen.pid)
        os.kill(stuck, signal.SIGSTOP)
        until(lambda: state(stuck) == "T")
        lines: list[str] = []
        reader = Thread(target=lambda: lines.extend(service.popen.stdout or ()))
        reader.start()
        until(lambda: get(service.port, "/raw/delayed/0") and "/raw/delayed/0" in paths("".join(lines)))
        os.kill(stuck, signal.SIGCONT)
        assert service.end() == 0
        reader.join(BOUND)
    logged = "".join(lines)
    assert set(paths(logged)) == {LONG, "/raw/delayed/0", "/healthz"}
    assert reported(logged) > 0


CHATTY = """
import sys
from twisted.internet import task
from latebin.cli import main
from latebin.server import listening

def chat(*arguments):
    sys.stderr.write("x" * 1000 + "\\\\n")
    print("y" * 1000)

announced = listening.announce

def announce(*arguments):
    task.LoopingCall(chat).start(0.001)
    return announced(*arguments)

listening.announce = announce
main.main()
"""


def test_standard_error_is_not_read() -> None:
    """A service whose libraries print goes on when nothing reads its standard error."""
    with serving("--log-buffer", "64k", program=f"-c {quote(CHATTY)}") as service:
        until(lambda: service.dropped() > 100)
        assert status(service.port, "/healthz") == 200
        assert service.end() == 0


def test_regular_file(tmp_path: Path, workers: str) -> None:
    """A log in a file has every line when the process has ended."""
    path = tmp_path / "log"
    with serving("--workers", workers, "--log-format", "json", output=str(path)) as service:
        service.ask(500)
        assert service.end() == 0
    assert paths(path.read_text()).count("/delayed/0") == 500

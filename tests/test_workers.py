import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from app.board import shared
from app.metrics import WIDTH
from app.settings import Settings
from app.workers import ATTEMPTS, LIVED, LONGEST, READY, StillbornError, Workers
from tests.process import Process, serving, started
from tests.test_cli import get
from tests.test_metrics import Samples, read

BOUND = 60
"""Seconds after which a condition that was waited for is given up."""


def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < end, "the condition never held"
        time.sleep(0.01)


def children(process: Process) -> list[int]:
    pid = process.popen.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def figures(process: Process) -> Samples:
    _, page = get(process.port, "/metrics")
    return read(page)


@pytest.fixture
def process() -> Iterator[Process]:
    with serving("--workers", "2", "--log-format", "json") as process:
        yield process


def test_all_answer(process: Process) -> None:
    """Every worker answers, on one port, and its lines in the log have its number; it is announced once."""
    total = 200
    for _ in range(total):
        assert get(process.port, "/raw/delayed/0")[0].status == 200
    assert figures(process)["delayed_answers_total", "GET", "200", "resource"] == total
    _, output = process.stop()
    events = [json.loads(line) for line in output.splitlines()]
    assert {event["worker"] for event in events} == {0, 1}
    assert len(events) == total + 1


def test_killed(process: Process) -> None:
    """A worker that dies is replaced, what it counted is kept, and whoever comes meanwhile is answered."""
    for _ in range(20):
        get(process.port, "/delayed/0")
    before = figures(process)
    killed = children(process)[0]
    os.kill(killed, signal.SIGKILL)
    until(lambda: not alive(killed))
    for _ in range(20):
        assert get(process.port, "/delayed/0")[0].status == 200
    until(lambda: figures(process)["delayed_worker_starts_total",] == 3)
    after = figures(process)
    assert after["delayed_answers_total", "GET", "200", "klein"] == 40
    assert after["delayed_workers",] == 2
    assert all(after[key] >= value for key, value in before.items() if key[0].endswith("_total"))
    assert len(children(process)) == 2


def test_pending_is_of_the_living(process: Process) -> None:
    """Who waits is added up over the workers, and those whom a worker took along are not waited for any more."""
    connections = [HTTPConnection("127.0.0.1", process.port, timeout=BOUND) for _ in range(50)]
    for connection in connections:
        connection.request("GET", "/raw/delayed/5m")
    until(lambda: figures(process)["delayed_pending", "resource"] == 50)
    for pid in children(process):
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: not alive(pid))  # type: ignore[misc]  # mypy sees no type for a default of a lambda
    until(lambda: figures(process)["delayed_pending", "resource"] == 0)
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals(process: Process, number: int) -> None:
    """A signal to the first process stops every worker, though somebody waits, and then itself, with exit code 0."""
    connection = HTTPConnection("127.0.0.1", process.port, timeout=BOUND)
    connection.request("GET", "/delayed/5m")
    workers = children(process)
    code, _ = process.stop(number)
    connection.close()
    assert code == 0
    assert not any(map(alive, workers))


def test_ctrl_c(process: Process) -> None:
    """A worker leaves it to its parent what Ctrl-C means, which a terminal sends to all of them."""
    workers = children(process)
    for pid in workers:
        os.kill(pid, signal.SIGINT)
    for _ in range(20):
        assert get(process.port, "/raw/delayed/0")[0].status == 200
    assert children(process) == workers


def test_orphans(process: Process) -> None:
    """Workers whose parent was killed stop by themselves."""
    workers = children(process)
    code, _ = process.stop(signal.SIGKILL)
    assert code == -signal.SIGKILL
    until(lambda: not any(map(alive, workers)))


def test_unix_socket(tmp_path: Path) -> None:
    """A UNIX domain socket outlives the workers that accept on it, and is gone with the first process."""
    path = tmp_path / "socket"
    with socket_serving(path) as process:
        for pid in children(process):
            assert get_over(path, "/raw/delayed/0").startswith(b"HTTP/1.1 200 OK")
            os.kill(pid, signal.SIGTERM)
            until(lambda pid=pid: not alive(pid))  # type: ignore[misc]  # as above
        assert get_over(path, "/raw/delayed/0").startswith(b"HTTP/1.1 200 OK")
        code, _ = process.stop()
    assert code == 0
    assert not path.exists()


@contextmanager
def socket_serving(path: Path) -> Iterator[Process]:
    arguments = ("-m", "app", "serve", "--workers", "2", "--listen", f"unix:{path}:mode=600")
    with started(*arguments, until=r"serving unix:.*/delayed \(Klein\)()") as process:
        assert path.stat().st_mode & 0o777 == 0o600
        yield process


def get_over(path: Path, target: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(BOUND)
        client.connect(str(path))
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: client.recv(65536), b""))


class Processes:
    """A reactor that starts nothing, and remembers what it was to start."""

    def __init__(self) -> None:
        self.started: list[ProcessProtocol] = []

    def spawnProcess(self, protocol: ProcessProtocol, *arguments: Any, **options: Any) -> None:
        self.started.append(protocol)

    def die(self, number: int) -> None:
        self.started[number].processEnded(Failure(ProcessTerminated(1)))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def processes() -> Processes:
    return Processes()


@pytest.fixture
def workers(clock: Clock, processes: Processes) -> Iterator[Workers]:
    memory = shared(WIDTH, 2)
    yield Workers(processes, clock, Settings(workers=2), memory, [])  # type: ignore[arg-type]  # it spawns, no more
    os.close(memory)


def test_stillborn(clock: Clock, processes: Processes, workers: Workers) -> None:
    """Workers that die again and again before they accept, at the start, are an error."""
    accepting: list[Any] = []
    workers.start().addErrback(accepting.append)
    for _ in range(ATTEMPTS):
        assert not accepting
        processes.die(-1)
        clock.advance(LONGEST)
    assert accepting[0].check(StillbornError)
    assert re.search("worker 1 cannot be started: .*exit code 1", accepting[0].getErrorMessage())
    assert clock.getDelayedCalls() == []


def test_accepting(processes: Processes, workers: Workers) -> None:
    """The service is ready when all workers accept, and not before."""
    accepting = workers.start()
    processes.started[0].childDataReceived(READY, b".")
    assert not accepting.called
    processes.started[1].childDataReceived(READY, b".")
    assert accepting.called


def test_backoff(clock: Clock, processes: Processes, workers: Workers) -> None:
    """A worker that keeps dying is started again ever later, but within bounds; one that lived a while, soon."""
    workers.start()
    for worker in processes.started:
        worker.childDataReceived(READY, b".")
    waits = [wait_for_another(clock, processes) for _ in range(12)]
    assert waits[:3] == [0.1, 0.2, 0.4]
    assert waits[-3:] == [LONGEST] * 3
    clock.advance(LIVED + 1)
    assert wait_for_another(clock, processes) == 0.1


def wait_for_another(clock: Clock, processes: Processes) -> float:
    processes.die(-1)
    [call] = clock.getDelayedCalls()
    wait = call.getTime() - clock.seconds()
    clock.advance(wait)
    return round(wait, 3)

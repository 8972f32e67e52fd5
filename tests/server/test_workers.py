import os
import re
import signal
import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from latebin.core.settings import Settings
from latebin.server.workers import ATTEMPTS, LIVED, LOG, LONGEST, READY, Workers, WorkersFailedError
from latebin.telemetry.counters import SharedCounters
from latebin.telemetry.families import WIDTH
from latebin.telemetry.writer import Telemetry
from latebin.testing.process import ServiceProcess, serving
from tests.support.certificate import listening
from tests.support.log import following, records
from tests.support.process import BOUND, ask, get, until
from tests.support.samples import figures_of


def children(process: ServiceProcess) -> list[int]:
    return children_of(process.pid)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def each_alone(process: ServiceProcess) -> Iterator[int]:
    """Yield each worker while the other is stopped: otherwise either may take every connection."""
    workers = children(process)
    for pid, other in (workers, workers[::-1]):
        os.kill(other, signal.SIGSTOP)
        try:
            until(lambda other=other: state(other) == "T")  # type: ignore[misc]  # mypy does not know a lambda's default
            yield pid
        finally:
            os.kill(other, signal.SIGCONT)


def state(pid: int) -> str:
    """Return the state of a process, as in proc_pid_stat(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


OPTIONS = ("--workers", "2", "--log-format", "json")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """Two workers behind plain TCP and behind TLS."""
    secure = listening(tmp_path_factory.mktemp("tls") / "localhost.pem")
    with serving(*OPTIONS, "--listen", "tcp:0:interface=127.0.0.1", "--listen", secure) as service:
        yield service


@pytest.fixture
def process(service: ServiceProcess) -> ServiceProcess:
    """The service of the module, once both workers accept."""
    until(lambda: len(children(service)) == 2 and figures_of(service)["latebin_workers",] == 2)
    return service


def test_all_answer(process: ServiceProcess) -> None:
    """Each worker answers on one port when it is free, and logs its number."""
    counted = figures_of(process).get(("latebin_answers_total", "GET", "200", "resource"), 0)
    logged = following(process, "/raw/delayed/0")
    for _ in each_alone(process):
        assert get(process.port, "/raw/delayed/0")[0].status == 200
    # An answer leaves before it is counted, and it may be the other worker that is asked.
    until(lambda: figures_of(process)["latebin_answers_total", "GET", "200", "resource"] == counted + 2)
    assert sorted(event["worker"] for event in logged(2)) == [0, 1]
    assert process.output.read_text().count("serving http") == len(process.urls)


def test_tls(process: ServiceProcess) -> None:
    """Each worker answers over TLS when the endpoint has it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    logged = following(process, "/raw/delayed/0")
    for _ in each_alone(process):
        connection = HTTPSConnection("127.0.0.1", process.ports[1], timeout=BOUND, context=context)
        connection.request("GET", "/raw/delayed/0")
        assert connection.getresponse().status == 200
        connection.close()
    assert sorted(event["worker"] for event in logged(2)) == [0, 1]


def test_ctrl_c(process: ServiceProcess) -> None:
    """A worker goes on when Ctrl-C signals it, as the parent decides how to stop."""
    workers = children(process)
    for pid in workers:
        os.kill(pid, signal.SIGINT)
    for _ in range(20):
        assert get(process.port, "/raw/delayed/0")[0].status == 200
    assert children(process) == workers


def test_killed(process: ServiceProcess) -> None:
    """A worker is replaced and its counts are kept when it dies."""
    answers = ("latebin_answers_total", "GET", "200", "klein")
    counted = figures_of(process).get(answers, 0)
    for _ in range(20):
        get(process.port, "/delayed/0")
    until(lambda: figures_of(process)[answers] == counted + 20)
    before = figures_of(process)
    killed = children(process)[0]
    os.kill(killed, signal.SIGKILL)
    until(lambda: not alive(killed))
    for _ in range(20):
        assert get(process.port, "/delayed/0")[0].status == 200
    until(lambda: figures_of(process)["latebin_worker_starts_total",] == before["latebin_worker_starts_total",] + 1)
    until(lambda: figures_of(process)[answers] == counted + 40)
    after = figures_of(process)
    assert after["latebin_workers",] == 2
    assert all(after[key] >= value for key, value in before.items() if key[0].endswith("_total"))
    assert len(children(process)) == 2


def test_pending_is_of_the_living(process: ServiceProcess) -> None:
    """The pending answers of a worker are no longer counted when it dies."""
    connections = [ask(process.port, "/raw/delayed/5m") for _ in range(50)]
    until(lambda: figures_of(process)["latebin_pending", "resource"] == 50)
    for pid in children(process):
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: not alive(pid))  # type: ignore[misc]  # as above
    until(lambda: figures_of(process)["latebin_pending", "resource"] == 0)
    for connection in connections:
        connection.close()


def test_orphans(process: ServiceProcess) -> None:
    """Workers stop by themselves when their parent is killed."""
    workers = children(process)
    # It is the last test of the service that the others share.
    assert process.stop(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: not any(map(alive, workers)))


def test_signal() -> None:
    """Every worker stops when the first process gets a signal, with exit code 0."""
    with serving(*OPTIONS, "--drain-timeout", "0s") as process:
        connection = ask(process.port, "/delayed/5m")
        workers = children(process)
        assert process.stop() == 0
        connection.close()
        assert not any(map(alive, workers))
        assert {event["worker"] for event in records(process.log())} == {0, 1}


def test_unix_socket(tmp_path: Path) -> None:
    """A UNIX domain socket stays until the first process ends when workers die."""
    path = tmp_path / "socket"
    with serving("--workers", "2", "--listen", f"unix:{path}:mode=600") as process:
        assert path.stat().st_mode & 0o777 == 0o600
        for pid in children(process):
            assert get_over(path, "/raw/delayed/0").startswith(b"HTTP/1.1 200 OK")
            os.kill(pid, signal.SIGTERM)
            until(lambda pid=pid: not alive(pid))  # type: ignore[misc]  # as above
        assert get_over(path, "/raw/delayed/0").startswith(b"HTTP/1.1 200 OK")
        workers = children(process)
        assert process.stop(signal.SIGINT) == 0
        assert not any(map(alive, workers))
    assert not path.exists()


def get_over(path: Path, target: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(BOUND)
        client.connect(str(path))
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: client.recv(65536), b""))


class Processes:
    """A reactor that remembers the processes that it should start."""

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


class Lines:
    """A log that remembers its events."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.dropped = 0

    def write(self, text: str) -> None:
        self.events.append(text)

    def drop(self) -> None:
        self.dropped += 1


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def workers(clock: Clock, processes: Processes, lines: Lines) -> Workers:
    reactor: Any = processes  # it spawns, no more
    log: Any = lines
    return Workers(reactor, clock, Settings(workers=2), Telemetry(SharedCounters(WIDTH, 3), log), [])


def test_start_fails(clock: Clock, processes: Processes, workers: Workers) -> None:
    """The start fails when a worker dies again and again before it accepts."""
    accepting: list[Any] = []
    workers.start().addErrback(accepting.append)
    clock.advance(0)
    for _ in range(ATTEMPTS):
        assert not accepting
        processes.die(-1)
        clock.advance(LONGEST)
    assert accepting[0].check(WorkersFailedError)
    assert re.search("worker 1 cannot be started: .*exit code 1", accepting[0].getErrorMessage())
    assert clock.getDelayedCalls() == []


def test_accepting(clock: Clock, processes: Processes, workers: Workers) -> None:
    """The service is ready when all workers accept, and not before."""
    accepting = workers.start()
    clock.advance(0)
    processes.started[0].childDataReceived(READY, b".")
    assert not accepting.called
    processes.started[1].childDataReceived(READY, b".")
    assert accepting.called


class Killed:
    """A process that notes its signals."""

    def __init__(self) -> None:
        self.signals: list[str] = []

    def signalProcess(self, number: str) -> None:
        self.signals.append(number)

    def writeToChild(self, descriptor: int, data: bytes) -> None:
        """Take the configuration."""


def test_one_after_the_other(clock: Clock, processes: Processes, workers: Workers) -> None:
    """Each turn of the reactor starts one worker, and none when they stop meanwhile."""
    workers.start()
    assert len(processes.started) == 1
    for worker in processes.started:
        worker.makeConnection(Killed())
    workers.stop()
    clock.advance(0)
    assert len(processes.started) == 1


def test_accepting_too_late(clock: Clock, processes: Processes, workers: Workers) -> None:
    """The service is not announced when the last worker accepts while all are being stopped."""
    accepting = workers.start()
    clock.advance(0)
    for worker in processes.started:
        worker.makeConnection(Killed())
    workers.stop()
    for worker in processes.started:
        worker.childDataReceived(READY, b".")
    assert not accepting.called


def test_log(clock: Clock, processes: Processes, workers: Workers, lines: Lines) -> None:
    """Each worker's events reach the log whole when their pieces are mixed."""
    workers.start()
    clock.advance(0)
    first, second = processes.started
    first.childDataReceived(LOG, b"one\n\x1etw")
    second.childDataReceived(LOG, b"a\n\tb\n\x1e")
    first.childDataReceived(LOG, b"o\n\x1eha")
    assert lines.events == ["one\n", "a\n\tb\n", "two\n"]
    processes.die(0)
    assert (len(lines.events), lines.dropped) == (3, 1)


def test_backoff(clock: Clock, processes: Processes, workers: Workers) -> None:
    """A worker starts again ever later, within a bound, when it keeps dying."""
    workers.start()
    clock.pump([0, 0])
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

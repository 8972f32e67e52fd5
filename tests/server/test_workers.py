import json
import os
import re
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from latebin.core.settings import Settings
from latebin.server.workers import ATTEMPTS, LIVED, LONGEST, READY, Workers, WorkersFailedError
from latebin.telemetry.counters import shared
from latebin.telemetry.metrics import WIDTH
from tests.support.process import BOUND, Process, get, serving, started, until
from tests.telemetry.test_metrics import Samples, read


def children(process: Process) -> list[int]:
    pid = process.popen.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def each_alone(process: Process) -> Iterator[int]:
    """Give each worker, while the other is stopped: with both, either may take every connection."""
    workers = children(process)
    for pid, other in (workers, workers[::-1]):
        os.kill(other, signal.SIGSTOP)
        until(lambda other=other: state(other) == "T")  # type: ignore[misc]  # mypy does not know a lambda's default
        yield pid
        os.kill(other, signal.SIGCONT)


def state(pid: int) -> str:
    """Give the state of a process as proc_pid_stat(5) has it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def figures(process: Process) -> Samples:
    _, page = get(process.port, "/metrics")
    return read(page)


@pytest.fixture
def process() -> Iterator[Process]:
    with serving("--workers", "2", "--log-format", "json", "--drain-timeout", "0s") as process:
        yield process


def test_all_answer(process: Process) -> None:
    """Every worker answers, on one port, and its lines in the log have its number; it is announced once."""
    for _ in each_alone(process):
        assert get(process.port, "/raw/delayed/0")[0].status == 200
    # An answer leaves before it is counted, and it may be the other worker that is asked.
    until(lambda: figures(process)["latebin_answers_total", "GET", "200", "resource"] == 2)
    _, output = process.stop()
    events = [json.loads(line) for line in output.splitlines()]
    assert {event["worker"] for event in events} == {0, 1}
    asked = [event["path"] for event in events if event["namespace"] == "latebin.access"]
    assert asked.count("/raw/delayed/0") == 2


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
    until(lambda: figures(process)["latebin_worker_starts_total",] == 3)
    after = figures(process)
    assert after["latebin_answers_total", "GET", "200", "klein"] == 40
    assert after["latebin_workers",] == 2
    assert all(after[key] >= value for key, value in before.items() if key[0].endswith("_total"))
    assert len(children(process)) == 2


def test_pending_is_of_the_living(process: Process) -> None:
    """Who waits is added up over the workers, and those whom a worker took along are not waited for any more."""
    connections = [HTTPConnection("127.0.0.1", process.port, timeout=BOUND) for _ in range(50)]
    for connection in connections:
        connection.request("GET", "/raw/delayed/5m")
    until(lambda: figures(process)["latebin_pending", "resource"] == 50)
    for pid in children(process):
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: not alive(pid))  # type: ignore[misc]  # as above
    until(lambda: figures(process)["latebin_pending", "resource"] == 0)
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
    arguments = ("-m", "latebin", "serve", "--workers", "2", "--listen", f"unix:{path}:mode=600")
    with started(*arguments, until=r"serving unix:.*/delayed \(Klein\)()") as process:
        assert path.stat().st_mode & 0o777 == 0o600
        yield process


def get_over(path: Path, target: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(BOUND)
        client.connect(str(path))
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: client.recv(65536), b""))


def certificate(path: Path) -> None:
    """Write a key and a certificate for localhost that it signs itself, into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + signed.public_bytes(Encoding.PEM))


def test_tls(tmp_path: Path) -> None:
    """An endpoint does in each worker what it would do in one process: TLS is its own affair."""
    path = tmp_path / "localhost.pem"
    certificate(path)
    listen = f"ssl:0:interface=127.0.0.1:privateKey={path}:certKey={path}"
    arguments = ("-m", "latebin", "serve", "--workers", "2", "--log-format", "json", "--listen", listen)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with started(*arguments, until=r"serving https://127\.0\.0\.1:(\d+)/delayed") as process:
        for _ in each_alone(process):
            connection = HTTPSConnection("127.0.0.1", process.port, timeout=BOUND, context=context)
            connection.request("GET", "/raw/delayed/0")
            assert connection.getresponse().status == 200
            connection.close()
        _, output = process.stop()
    assert {json.loads(line)["worker"] for line in output.splitlines()} == {0, 1}


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
    assert accepting[0].check(WorkersFailedError)
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

import json
import signal
import socket
from collections.abc import Callable
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from latebin.core.endpoints import PREFIXES
from latebin.core.settings import Settings
from latebin.server.drain import LAST, Drain
from tests.support.process import Process, serving, until
from tests.support.wire import House, Wire

GET = "GET {} HTTP/1.1\r\nHost: a\r\n\r\n"


class Stop:
    """A service in memory that is told to stop, with some time to listen on and some to answer."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.refused: list[float] = []
        self.drain = Drain(
            house.clock, house.root.connections, Settings(shutdown_delay=2.0, drain_timeout=30.0), self._refuse
        )
        self.ended: list[float] = []

    def begin(self) -> None:
        self.drain.start().addCallback(lambda _: self.ended.append(self.house.clock.seconds()))

    def _refuse(self) -> Deferred[None]:
        self.refused.append(self.house.clock.seconds())
        return succeed(None)

    def ask(self, target: str) -> Wire:
        wire = self.house.wire()
        wire.send(GET.format(target).encode())
        return wire


@pytest.fixture
def stop(house: House) -> Stop:
    return Stop(house)


def test_pending_is_answered_on_time(stop: Stop, prefix: str) -> None:
    """What is pending is answered when it is due, as the last on its connection; the stop takes no longer than that."""
    wire = stop.ask(f"{prefix}/delayed/10s")
    stop.begin()
    stop.house.clock.pump([2, 7.9])
    assert wire.received == b""
    stop.house.clock.pump([0.1, 0])
    assert wire.received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in wire.received
    assert not wire.connected
    assert (stop.refused, stop.ended) == ([2.0], [10.0])


def test_idle_connections(stop: Stop) -> None:
    """Who has asked for nothing is not cut off as long as new ones are accepted, and then at once."""
    wire = stop.house.wire()
    stop.begin()
    stop.house.clock.pump([1.9])
    assert wire.connected
    stop.house.clock.pump([0.1, 0])
    assert not wire.connected
    assert stop.ended == [2.0]


def test_whoever_comes_while_it_listens(stop: Stop, prefix: str) -> None:
    """Until the listening ends, requests are answered as ever, and told that the connection closes."""
    old = stop.house.wire()
    stop.begin()
    new = stop.ask(f"{prefix}/delayed/5s")
    old.send(GET.format("/readyz").encode())
    assert old.received.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nConnection: close\r\n" in old.received
    stop.house.clock.pump([5, 0])
    assert new.received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert stop.ended == [5.0]


def test_ready(house: House) -> None:
    """Before it stops, the service is ready."""
    wire = house.wire()
    wire.send(GET.format("/readyz").encode())
    assert wire.received.endswith(b'{"status": "ok"}\n')


def test_too_late(stop: Stop, style: str, prefix: str) -> None:
    """What is pending when the time is up is answered 503 at once, whoever makes the answer, and is not waited for."""
    wire = stop.ask(f"{prefix}/delayed/5m")
    stop.begin()
    stop.house.clock.pump([2, 29.9])
    assert wire.received == b""
    stop.house.clock.pump([0.1, 0])
    head, _, body = wire.received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"Connection: close" in head.split(b"\r\n")
    assert json.loads(body)["detail"].startswith("The service is stopping")
    assert len(stop.house.service(style).pending) == 0
    assert stop.ended == [32.0]


def test_broken_off(stop: Stop, prefix: str) -> None:
    """An answer that has begun when the time is up is broken off: a 503 would be taken for a part of it."""
    wire = stop.ask(f"{prefix}/drip?numbytes=100&duration=100&delay=0")
    stop.begin()
    stop.house.clock.pump([2, 30, 0])
    assert wire.received.count(b"HTTP/1.1") == 1
    assert not wire.connected
    assert stop.ended == [32.0]


def test_who_does_not_read(stop: Stop) -> None:
    """A client that keeps its connection open, whatever it is told, is cut off a moment after the rest."""
    wire = stop.house.wire()
    lose, wire.loseConnection = wire.loseConnection, lambda: None  # type: ignore[method-assign]  # as one that waits
    stop.begin()
    stop.house.clock.pump([2, 30])
    assert (wire.connected, stop.ended) == (True, [])
    wire.loseConnection = lose  # type: ignore[method-assign]  # an abort does not wait
    stop.house.clock.pump([LAST, 0])
    assert stop.ended == [32.0 + LAST]


@pytest.mark.parametrize("elapsed", [0.0, 2.0, 32.0])
def test_hurry(stop: Stop, elapsed: float) -> None:
    """Whoever is in a hurry need not wait, in whichever part; to be so twice changes nothing."""
    wire = stop.house.wire()
    wire.loseConnection = lambda: None  # type: ignore[method-assign]  # as above
    stop.begin()
    stop.house.clock.advance(elapsed)
    stop.drain.hurry()
    stop.drain.hurry()
    assert stop.ended == [elapsed]
    del wire.loseConnection
    wire.leave()
    assert stop.ended == [elapsed]


def ask(port: int, target: str) -> HTTPConnection:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", target)
    return connection


def answer(connection: HTTPConnection) -> tuple[HTTPResponse, bytes]:
    with connection.getresponse() as response:
        body = response.read()
    connection.close()
    return response, body


def get(port: int, target: str) -> int:
    return answer(ask(port, target))[0].status


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=30).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def workers(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _pending(process: Process, count: int) -> Callable[[], bool]:
    return lambda: get(process.port, "/metrics") == 200 and _figure(process.port) == count


def _figure(port: int) -> float:
    page = answer(ask(port, "/metrics"))[1].decode()
    return sum(float(line.split()[1]) for line in page.splitlines() if line.startswith("latebin_pending{"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process(workers: str, number: int) -> None:
    """A signal has pending answers given on time, whoever else comes is refused, and the exit code is 0."""
    with serving("--workers", workers) as process:
        waiting = [ask(process.port, f"{prefix}/delayed/2s") for prefix in PREFIXES.values()]
        until(_pending(process, 2))
        process.popen.send_signal(number)
        until(lambda: refused(process.port))
        for connection in waiting:
            response, _ = answer(connection)
            assert (response.status, response.getheader("Connection")) == (200, "close")
        output, _ = process.popen.communicate(timeout=30)
    assert process.popen.returncode == 0
    assert sum(int(line.split(" for ")[1].split()[0]) for line in output.splitlines() if " stopped: " in line) == 2


def test_process_in_time(workers: str) -> None:
    """What is pending after --drain-timeout is refused, and the exit code is 0."""
    with serving("--workers", workers, "--drain-timeout", "100ms") as process:
        waiting = [ask(process.port, f"{prefix}/delayed/5m") for prefix in PREFIXES.values()]
        until(_pending(process, 2))
        process.popen.send_signal(signal.SIGTERM)
        for connection in waiting:
            response, body = answer(connection)
            assert (response.status, response.getheader("Connection")) == (503, "close")
            assert json.loads(body)["status"] == 503
        output, _ = process.popen.communicate(timeout=30)
    assert process.popen.returncode == 0
    assert "Traceback" not in output


def test_second_signal(workers: str) -> None:
    """A second signal stops everything at once, and the exit code says that answers were lost."""
    with serving("--workers", workers) as process:
        waiting = ask(process.port, "/delayed/5m")
        until(_pending(process, 1))
        process.popen.send_signal(signal.SIGINT)
        until(lambda: refused(process.port))
        code, output = process.stop(signal.SIGINT)
        waiting.close()
    assert code == 1
    assert "Traceback" not in output


def test_shutdown_delay(workers: str) -> None:
    """For --shutdown-delay the service still answers those who come, but is no longer ready."""
    with serving("--workers", workers, "--shutdown-delay", "2s") as process:
        assert get(process.port, "/readyz") == 200
        process.popen.send_signal(signal.SIGTERM)
        until(lambda: get(process.port, "/readyz") == 503)
        assert get(process.port, "/healthz") == 200
        assert get(process.port, "/raw/delayed/10ms") == 200
        process.popen.communicate(timeout=30)
    assert process.popen.returncode == 0


@pytest.fixture
def port() -> int:
    """Find a port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def test_admin_listen(workers: str, port: int) -> None:
    """What is for the operator alone is elsewhere, and goes on until the last answer is given."""
    with serving("--workers", workers, "--admin-listen", f"tcp:{port}:interface=127.0.0.1") as process:
        pages = ["/healthz", "/readyz", "/metrics"]
        assert [get(process.port, page) for page in pages] == [404] * 3
        assert [get(port, page) for page in [*pages, "/", "/delayed/0"]] == [200, 200, 200, 404, 404]
        described: Any = json.loads(answer(ask(process.port, "/openapi.json"))[1])
        assert not set(pages) & set(described["paths"])
        waiting = ask(process.port, "/delayed/2s")
        until(lambda: _figure(port) == 1)
        process.popen.send_signal(signal.SIGTERM)
        until(lambda: refused(process.port))
        assert [get(port, page) for page in pages] == [200, 503, 200]
        assert answer(waiting)[0].status == 200
        process.popen.communicate(timeout=30)
    assert process.popen.returncode == 0

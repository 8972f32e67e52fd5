import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from threading import Event

import pytest

from tests.support.process import BOUND, Process, serving, until
from tests.system.test_drain import get

CLIENTS = 16

CONFIGURATION = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option redispatch
frontend public
    bind 127.0.0.1:{public}
    default_backend replicas
backend replicas
    option httpchk GET /readyz
    default-server check inter 100ms fall 1 rise 1
    server first 127.0.0.1:{first}
    server second 127.0.0.1:{second}
"""


haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")

pytestmark = pytest.mark.skipif(haproxy is None, reason="haproxy is not installed")


def ports(count: int) -> list[int]:
    """Find ports that are free."""
    with ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in found]


@contextmanager
def balancing(configuration: Path, public: int) -> Iterator[None]:
    """Run HAProxy until it has found both replicas."""
    assert haproxy is not None
    with subprocess.Popen([haproxy, "-db", "-f", configuration], stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: answers(public))
            yield
        finally:
            process.terminate()


def answers(port: int) -> bool:
    try:
        return get(port, "/delayed/0") == 200
    except OSError:
        return False


def load(public: int, path: str, over: Event) -> list[int]:
    """Ask again and again over one connection, as long as that stays open; give the status of each answer."""
    statuses = []
    connection = HTTPConnection("127.0.0.1", public, timeout=30)
    while not over.is_set():
        connection.request("GET", path)
        with connection.getresponse() as response:
            response.read()
            statuses.append(response.status)
    connection.close()
    return statuses


def answered(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether a replica has been sent its part of the load."""
    connection = HTTPConnection(host, port, timeout=30)
    connection.request("GET", "/metrics")
    with connection.getresponse() as response:
        page = response.read().decode()
    connection.close()
    lines = [line for line in page.splitlines() if line.startswith("latebin_answers_total{") and "site" not in line]
    return sum(float(line.split()[1]) for line in lines) > CLIENTS


@contextmanager
def replica(port: int, pool: ThreadPoolExecutor) -> Iterator[Process]:
    with serving("--port", str(port), "--shutdown-delay", "1s") as process:
        assert process.popen.stdout is not None
        # A pipe that nobody reads is full after some hundred lines of the log, and then the service stands still.
        pool.submit(process.popen.stdout.read)
        until(lambda: answers(port))
        yield process


def test_rolling_replacement(tmp_path: Path) -> None:
    """Replicas are replaced one after the other behind a load balancer, under load, and no request is lost."""
    public, first, second = ports(3)
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(CONFIGURATION.format(public=public, first=first, second=second))
    over = Event()
    with ThreadPoolExecutor(CLIENTS + 4) as pool, ExitStack() as stack:
        replicas = [(port, stack.enter_context(replica(port, pool))) for port in (first, second)]
        stack.enter_context(balancing(configuration, public))
        stack.callback(over.set)
        paths = ["/delayed/50ms", "/raw/delayed/50ms"] * (CLIENTS // 2)
        asking = [pool.submit(load, public, path, over) for path in paths]
        for port, process in replicas:
            until(partial(answered, port))
            process.popen.send_signal(signal.SIGTERM)
            assert process.popen.wait(BOUND) == 0
            stack.enter_context(replica(port, pool))
            until(partial(answered, port))
        over.set()
        statuses = [status for each in asking for status in each.result()]
    assert set(statuses) == {200}

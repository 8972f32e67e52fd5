"""HAProxy before replicas, and a load of which no request may be lost."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from threading import Event

from tests.support.process import status, until
from tests.support.samples import read

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")

CLIENTS = 16


@contextmanager
def balancing(configuration: Path, public: int) -> Iterator[None]:
    """Run HAProxy until it has found a replica."""
    assert HAPROXY is not None
    with subprocess.Popen([HAPROXY, "-db", "-f", configuration], stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: answers(public))
            yield
        finally:
            process.terminate()


def answers(port: int) -> bool:
    """Ask, and return whether a replica has answered."""
    try:
        return status(port, "/delayed/0") == 200
    except OSError:
        return False


def load(public: int, path: str, over: Event) -> list[int]:
    """Ask again and again over one connection, and return the status of each answer."""
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
    """Return whether a replica has been sent its part of the load."""
    connection = HTTPConnection(host, port, timeout=30)
    connection.request("GET", "/metrics")
    with connection.getresponse() as response:
        samples = read(response.read())
    connection.close()
    answers = [value for key, value in samples.items() if key[0] == "latebin_answers_total" and "site" not in key]
    return sum(answers) > CLIENTS

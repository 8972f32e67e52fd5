"""The soak test: the memory of the service over a million answers and more.

    python -m tests.bench.soak [--answers 1000000] [--clients 200]

Each client sends one request after another on a persistent connection, until the service closes that. The requests are
for delayed answers in both styles, bodies in pieces, problems and faults. One client in twenty leaves before the
answer. After each tenth of the answers a line is printed.
"""

import re
import time
from itertools import count
from typing import Any

import click
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import react
from twisted.python.failure import Failure

from latebin.load.footprint import read
from tests.bench.servers import SERVE, Load, Server, running

REQUESTS = [
    f"{method} {prefix}{target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    for method, target in (
        *[("GET", "/delayed?delay=1ms")] * 8,
        ("GET", "/delayed?delay=1ms..20ms&seed=7"),
        ("HEAD", "/delayed?delay=1ms"),
        ("GET", "/delayed?delay=1ms&size=256k"),
        ("GET", "/delayed?delay=1ms&chunks=4&over=10ms"),
        ("GET", "/delayed?delay=soon"),
        ("GET", "/nothing"),
        ("GET", "/delayed?delay=1ms&fault=reset"),
        ("GET", "/delayed?delay=1ms&fault=close"),
        ("GET", "/delay/0.001?a=1"),
        ("GET", "/predict?delay=1s..3s"),
    )
    for prefix in ("", "/raw")
]

LEAVES = 20
"""The number of requests of which the client leaves one."""

_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n")


class Soak:
    """All clients together, with the number of their answers."""

    def __init__(self, port: int, pid: int, answers: int) -> None:
        self.endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        self.done: Deferred[None] = Deferred()
        self.numbers = count()
        self._pid = pid
        self._planned = answers
        self._started = time.monotonic()
        self._ended = 0

    @property
    def over(self) -> bool:
        return self._ended >= self._planned

    def count(self) -> None:
        """Count a request that ended with an answer, a fault or a disconnect."""
        self._ended += 1
        if self._ended % (self._planned // 10) == 0:
            memory = read([self._pid]).memory
            elapsed = time.monotonic() - self._started
            click.echo(f"{self._ended:>9,} answers  {memory / 1e6:6.1f} MB  {self._ended / elapsed:5.0f}/s")
        if self.over and not self.done.called:
            self.done.callback(None)

    def connect(self) -> None:
        connectProtocol(self.endpoint, Client(self)).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        if not self.done.called:
            self.done.errback(failure)


class Client(Protocol):
    """One connection; when it is closed, another one takes its place."""

    transport: Any

    def __init__(self, soak: Soak) -> None:
        self._soak = soak
        self._received = b""
        self._head = False

    def connectionMade(self) -> None:
        self._send()

    def _send(self) -> None:
        number = next(self._soak.numbers)
        request = REQUESTS[number % len(REQUESTS)]
        self._received, self._head = b"", request.startswith(b"HEAD")
        self.transport.write(request)
        if number % LEAVES == 0:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = _LENGTH.search(head + b"\r\n")
        if length is None or self._head or len(body) == int(length[1]):
            self._soak.count()
            if not self._soak.over:
                self._send()

    def connectionLost(self, reason: object = None) -> None:
        if not self._soak.over:
            self._soak.count()
            self._soak.connect()


@click.command()
@click.option("--answers", default=1_000_000, show_default=True, help="Number of answers.")
@click.option("--clients", default=200, show_default=True, help="Number of clients at once.")
def soak(answers: int, clients: int) -> None:
    """Send requests for very many answers, and print the memory of the service."""
    service = Server("service", SERVE, "/")
    with running(service, Load(0, 0)) as (port, pid):

        def main(_: object) -> Deferred[None]:
            run = Soak(port, pid, answers)
            for _client in range(clients):
                run.connect()
            return run.done

        react(main)


if __name__ == "__main__":
    soak()

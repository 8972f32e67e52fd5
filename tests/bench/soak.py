"""The soak: a million answers and more, mixed with clients that leave, and what memory the service has meanwhile.

    python -m tests.bench.soak [--answers 1000000] [--clients 200]

Each client asks for one thing after another on a connection that it keeps, as long as the service does: late answers in
both styles, bodies in pieces, problems, faults. Of every twenty, one leaves instead of waiting. A line is printed for
every tenth of the answers.
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

ASKED = [
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
"""Of so many requests, one is left."""

_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n")


class Soak:
    """All clients together: how many answers they have had, and how many there are to be."""

    def __init__(self, port: int, pid: int, answers: int) -> None:
        self.endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        self.done: Deferred[None] = Deferred()
        self._pid = pid
        self._answers = answers
        self._started = time.monotonic()
        self.asked = count()
        self._had = 0

    @property
    def over(self) -> bool:
        return self._had >= self._answers

    def had(self) -> None:
        """Take note of an answer, or of a request that came to nothing as it was to."""
        self._had += 1
        if self._had % (self._answers // 10) == 0:
            memory = read([self._pid]).memory
            took = time.monotonic() - self._started
            click.echo(f"{self._had:>9,} answers  {memory / 1e6:6.1f} MB  {self._had / took:5.0f}/s")
        if self.over and not self.done.called:
            self.done.callback(None)

    def connect(self) -> None:
        connectProtocol(self.endpoint, Client(self)).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        if not self.done.called:
            self.done.errback(failure)


class Client(Protocol):
    """One connection, and another when it is closed."""

    transport: Any

    def __init__(self, soak: Soak) -> None:
        self._soak = soak
        self._received = b""
        self._head = False

    def connectionMade(self) -> None:
        self._ask()

    def _ask(self) -> None:
        number = next(self._soak.asked)
        asked = ASKED[number % len(ASKED)]
        self._received, self._head = b"", asked.startswith(b"HEAD")
        self.transport.write(asked)
        if number % LEAVES == 0:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = _LENGTH.search(head + b"\r\n")
        if length is None or self._head or len(body) == int(length[1]):
            self._soak.had()
            if not self._soak.over:
                self._ask()

    def connectionLost(self, reason: object = None) -> None:
        if not self._soak.over:
            self._soak.had()
            self._soak.connect()


@click.command()
@click.option("--answers", default=1_000_000, show_default=True, help="How many answers there are to be.")
@click.option("--clients", default=200, show_default=True, help="How many ask at once.")
def soak(answers: int, clients: int) -> None:
    """Ask for very many answers, and tell what memory the service has."""
    service = Server("service", SERVE, "/")
    with running(service, Load(0, 0)) as (port, pid):

        def main(_: object) -> Deferred[None]:
            all_of_them = Soak(port, pid, answers)
            for _client in range(clients):
                all_of_them.connect()
            return all_of_them.done

        react(main)


if __name__ == "__main__":
    soak()

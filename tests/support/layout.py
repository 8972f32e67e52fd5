"""Tells how large the attributes are of a hundred connections that came before one was answered, and of their requests.

python -m tests.support.layout [rehearsed]

It is a process of its own, as it is for the first few instances of a class to say how those that follow are laid out.
"""

import sys
from typing import TYPE_CHECKING

import click
from twisted.internet.task import Clock

from latebin.core.settings import Settings
from latebin.server.warmup import MemoryTransport, warm_up
from latebin.site.factory import ServiceSite
from latebin.site.root import root

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latebin.overrides.request import Request

SETTINGS = Settings()


class Keeping(ServiceSite):
    """A site that keeps the requests it has answered."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(root(SETTINGS, clock), clock)
        self.kept: list[Request] = []

    def log(self, request: "Request") -> None:  # type: ignore[override]  # as in its base
        self.kept.append(request)


def sizes() -> tuple[int, int]:
    """Give the bytes of the largest attributes: of a connection's, and of a request's."""
    clock = Clock()
    site = Keeping(clock)
    connections = [site.buildProtocol(None) for _ in range(100)]
    stages = [MemoryTransport() for _ in connections]
    for connection, stage in zip(connections, stages, strict=True):
        connection.makeConnection(stage)
    for connection in connections:
        connection.dataReceived(b"GET /raw/delayed?delay=1s HTTP/1.1\r\nHost: localhost\r\n\r\n")
    clock.advance(1)
    assert len(site.kept) == sum(stage.sent.startswith(b"HTTP/1.1 200 OK") for stage in stages) == len(stages)
    return _largest([connection._channel for connection in connections]), _largest(site.kept)


def _largest(objects: "Sequence[object]") -> int:
    return max(sys.getsizeof(vars(each)) for each in objects)


if __name__ == "__main__":
    if sys.argv[1:] == ["rehearsed"]:
        warm_up(SETTINGS)
    click.echo("{} {}".format(*sizes()))

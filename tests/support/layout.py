"""Print the size of the attributes of a hundred simultaneous connections and of their requests.

Run it with `python -m tests.support.layout [warm]`; with `warm`, the service answers itself first. It needs a process
of its own: in CPython the first few instances of a class decide the layout of all later ones.
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
    """A site that keeps its answered requests."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(root(SETTINGS, clock), clock)
        self.kept: list[Request] = []

    def log(self, request: "Request") -> None:  # type: ignore[override]  # as in its base
        self.kept.append(request)


def sizes() -> tuple[int, int]:
    """Return the bytes of the largest attributes of a connection and of a request."""
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
    if sys.argv[1:] == ["warm"]:
        warm_up(SETTINGS)
    click.echo("{} {}".format(*sizes()))

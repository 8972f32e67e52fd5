"""A rehearsal: the service answers itself once, in memory, before it is listened for."""

from collections.abc import Iterable
from typing import Final

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from latebin.core.settings import Settings
from latebin.site.factory import ServiceSite, site

PATHS: Final = b"/delayed", b"/raw/delayed"
"""What is asked for, each on a connection of its own."""

_REQUEST: Final = b"GET %s?delay=0s HTTP/1.1\r\nHost: localhost\r\n\r\n"


@implementer(ITransport)
class MemoryTransport:
    """A connection that nobody else is at the end of; it keeps what it is given to send."""

    # No part of the interface, but `LineReceiver` asks for it.
    disconnecting = False

    def __init__(self) -> None:
        self.sent = b""

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.sent += data

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Keep them."""
        self.sent += b"".join(data)

    def loseConnection(self) -> None:
        """Do nothing: there is nothing to be closed."""

    def getPeer(self) -> IPv4Address:
        """Tell an address."""
        return IPv4Address("TCP", "127.0.0.1", 0)

    getHost = getPeer


def warm_up(settings: Settings) -> list[bytes]:
    """Have a service answer once in each style, by itself, from beginning to end.

    What is made when it is first needed, as Klein's map of routes is, is made by then, and nobody waits for it. And
    CPython finds out what an instance of a class has from the first few that it sees: each leaves less room for names
    that are still to come (`_PyObject_InitInlineValues`). Where five clients come at once before one is answered, none
    of them and nobody after them has its attributes within it, but in a dictionary, which takes 1.6 kB more for each
    connection and a twentieth more CPU for each answer.

    Args:
        settings: those of the service that is to be listened for.

    Returns:
        The answers.
    """
    clock = Clock()
    made = site(settings, clock)
    made.log = lambda _: None  # type: ignore[method-assign,assignment]  # neither the log nor the figures are to have it
    return [_answer(made, clock, path) for path in PATHS]


def _answer(site: ServiceSite, clock: Clock, path: bytes) -> bytes:
    stage = MemoryTransport()
    connection = site.buildProtocol(stage.getPeer())
    connection.makeConnection(stage)
    connection.dataReceived(_REQUEST % path)
    clock.advance(0)
    connection.connectionLost(Failure(ConnectionDone()))
    return stage.sent

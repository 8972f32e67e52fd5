"""A warm-up: the service answers itself once, in memory, before it listens."""

from collections.abc import Iterable
from typing import Final

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from latebin.core.settings import Settings
from latebin.site.factory import site

PATHS: Final = b"/delayed", b"/raw/delayed"
"""The paths of the warm-up, each on a connection of its own."""

_REQUEST: Final = b"GET %s?delay=0s HTTP/1.1\r\nHost: localhost\r\n\r\n"


@implementer(ITransport)
class MemoryTransport:
    """A connection without a peer, which keeps the bytes that are written to it."""

    # No part of the interface, but `LineReceiver` asks for it.
    disconnecting = False

    def __init__(self) -> None:
        self.sent = b""

    def write(self, data: bytes) -> None:
        """Keep the bytes."""
        self.sent += data

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Keep the bytes of all pieces."""
        self.sent += b"".join(data)

    def loseConnection(self) -> None:
        """Do nothing: there is nothing to be closed."""

    def getPeer(self) -> IPv4Address:
        """Return an address of loopback."""
        return IPv4Address("TCP", "127.0.0.1", 0)

    getHost = getPeer


def warm_up(settings: Settings) -> list[bytes]:
    """Let a service answer once in each style, by itself, from beginning to end.

    Klein's map of routes and other things that are made when first needed are made by then, so that no client waits for
    them.

    CPython sizes the instances of a class by the first few of them (`_PyObject_InitInlineValues`): each leaves less
    room for names that are still to come. If five clients come at once before one is answered, no instance from then on
    holds its attributes inline. Each has a dictionary for them, which takes 1.6 kB more for a connection and a
    twentieth more CPU for an answer.

    Args:
        settings: those of the service that is about to listen.

    Returns:
        The answers.
    """
    clock = Clock()
    made = site(settings, clock)
    made.log = lambda _: None  # type: ignore[method-assign,assignment]  # the warm-up is neither logged nor counted
    answers = []
    for path in PATHS:
        stage = MemoryTransport()
        connection = made.buildProtocol(stage.getPeer())
        connection.makeConnection(stage)
        connection.dataReceived(_REQUEST % path)
        clock.advance(0)
        connection.connectionLost(Failure(ConnectionDone()))
        answers.append(stage.sent)
    return answers

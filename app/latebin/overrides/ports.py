"""Listening on a socket that another process has bound, by whatever endpoint it bound it."""

import os
import socket
from typing import Final, cast

import attrs
from twisted.internet import tcp, unix
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorSocket

AT_ONCE: Final = 1
"""Connections accepted in a turn of the reactor: in the long turns of a busy one, others come in between.

With 8, the first worker to wake took all the 64 connections of a load generator in one of four tries, while the other
waited for a core.
"""


@attrs.frozen
class AdoptingReactor:
    """As much of a reactor as a server endpoint listens with: it takes a socket over in the place of binding one.

    So an endpoint still does what belongs to it (TLS, the PROXY protocol), and does it in the worker.

    Attributes:
        reactor: what reads the socket.
        descriptor: of the socket, which listens already; it is duplicated.
    """

    reactor: IReactorSocket
    descriptor: int

    def listenTCP(
        self, port: object, factory: IProtocolFactory, backlog: int = 0, interface: str = ""
    ) -> IListeningPort:
        """Accept connections of TCP; the backlog and the address are as they were bound."""
        return _listening(SharedPort._fromListeningDescriptor(self.reactor, self.descriptor, self._family(), factory))  # noqa: SLF001

    def listenUNIX(
        self, address: str, factory: IProtocolFactory, backlog: int = 50, mode: int = 0o666, wantPID: int = 0
    ) -> IListeningPort:
        """Accept connections of a UNIX domain socket, whose path is left to the process that bound it."""
        port = SharedUNIXPort._fromListeningDescriptor(self.reactor, self.descriptor, factory)  # noqa: SLF001
        # Listening on it anew, as the port does, leaves both as they were bound.
        port.backlog, port.mode = backlog, mode
        return _listening(port)

    def _family(self) -> int:
        with socket.socket(fileno=os.dup(self.descriptor)) as same:
            return same.family


class SharedPort(tcp.Port):
    """A port that takes one connection at a time, and leaves others for those that listen on the same socket.

    Twisted's own, which `adoptStreamPort` gives, takes 100 in a row: all that a client with a pool of connections opens
    at once, for as long as it keeps them.
    """

    def doRead(self) -> None:
        self.numberAccepts = AT_ONCE
        super().doRead()


class SharedUNIXPort(unix.Port):
    """The same for a UNIX domain socket, whose path is not this process's to remove, nor the socket its to shut."""

    _shouldShutdown = False

    def doRead(self) -> None:
        self.numberAccepts = AT_ONCE
        super().doRead()

    def connectionLost(self, reason: object) -> None:
        tcp.Port.connectionLost(self, reason)


def _listening(port: tcp.Port) -> IListeningPort:
    port.startListening()
    return cast("IListeningPort", port)

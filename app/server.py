"""Listening, and stopping."""

import os
import re
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, FirstError, gatherResults, maybeDeferred
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from app import clock
from app.board import Board
from app.collector import Collector
from app.metrics import WIDTH
from app.outgoing import outgoing
from app.preceded import HAPROXY, Preceding
from app.settings import Settings
from app.site import Root, ServiceSite, site
from app.sockets import Adopting
from app.workers import BOARD, FIRST_SOCKET, READY, Inheritance, Leash, Workers

if TYPE_CHECKING:
    from twisted.internet.interfaces import (
        IListeningPort,
        IProtocolFactory,
        IReactorProcess,
        IReactorSocket,
        IReactorTime,
        IStreamServerEndpoint,
    )
    from twisted.internet.tcp import Port

log = Logger()

BACKLOG: Final = 5000
"""Connections that may wait to be accepted. At Twisted's 50, a hundred clients that come at once lose their SYNs, and
wait a second and more before they have sent anything."""

_WITH_BACKLOG: Final = re.compile("(haproxy:)?(tcp|tcp6|ssl|unix):")


def endpoints(settings: Settings) -> tuple[str, ...]:
    """Give the Twisted endpoint descriptions that the settings ask for."""
    host = quoteStringArgument(settings.host)
    return settings.listen or (f"tcp:{settings.port}:interface={host}:backlog={BACKLOG}",)


def _endpoint(reactor: object, description: str) -> "IStreamServerEndpoint":
    """Let as many wait on an endpoint as on our own, if its description can say how many, and does not."""
    if _WITH_BACKLOG.match(description) and ":backlog=" not in description:
        # It may say so without the name, as the last of all.
        with suppress(TypeError):
            return _parsed(reactor, f"{description}:backlog={BACKLOG}")
    return _parsed(reactor, description)


def _parsed(reactor: object, description: str) -> "IStreamServerEndpoint":
    if description.startswith(HAPROXY):
        return _parsed(Preceding(reactor), description.removeprefix(HAPROXY))
    return cast("IStreamServerEndpoint", serverFromString(reactor, description))


def serve(settings: Settings, reactor: ReactorBase, board: int | None = None) -> "Deferred[Any]":
    """Accept connections on every endpoint, and log the URLs at which the service can be reached.

    Args:
        settings: what to listen on, and in how many processes.
        reactor: what stops the workers when it is stopped, and waits for them.
        board: the descriptor of the memory that several workers count in.

    Returns:
        A Deferred that fires when all workers accept; it fails with CannotListenError, or with StillbornError.
    """
    if board is None:
        factory = _factory(settings, reactor)
        return _announcing(settings, reactor, factory).addCallback(lambda _: _collect(factory, reactor))
    return _bound(settings, reactor).addCallback(lambda ports: _staffed(settings, reactor, board, ports))


def listen(settings: Settings, reactor: object) -> "Deferred[list[IListeningPort]]":
    """Accept connections in this process, on every endpoint.

    Returns:
        The listening ports; the Deferred fails if one of the endpoints cannot be listened on.
    """
    return _announcing(settings, reactor, _factory(settings, reactor))


def accept(inheritance: Inheritance, reactor: ReactorBase) -> "Deferred[Any]":
    """Accept connections in a worker, on the sockets of its parent, until that is gone; tell the parent of it.

    Args:
        inheritance: what the parent gave to it.
        reactor: what is stopped when the parent is gone.
    """
    Leash(reactor)
    settings = inheritance.settings
    board = Board(WIDTH, settings.workers, BOARD)
    factory = _factory(settings, reactor, board, inheritance.worker)
    sockets = cast("IReactorSocket", reactor)
    ports = [
        _endpoint(Adopting(sockets, descriptor), description).listen(factory)
        for descriptor, description in enumerate(endpoints(settings), FIRST_SOCKET)
    ]
    return (
        gatherResults(ports)
        .addCallback(lambda _: os.write(READY, b"."))
        .addCallback(lambda _: _collect(factory, reactor))
    )


def _factory(settings: Settings, reactor: object, board: Board | None = None, worker: int = 0) -> ServiceSite:
    steady = clock.for_reactor(cast("IReactorTime", reactor))
    agent = outgoing(reactor) if settings.upstreams else None
    return site(settings, steady, agent, board, worker)


def _collect(factory: ServiceSite, reactor: object) -> None:
    """Let a process that does nothing but serve collect its garbage between answers."""
    steady = clock.for_reactor(cast("IReactorTime", reactor))
    root = cast("Root", factory.resource)
    collector = Collector(steady, lambda: root.next_due() - steady.seconds())
    collector.start().addErrback(lambda failure: log.failure("garbage is collected no more", failure))


def _announcing(settings: Settings, reactor: object, factory: ServiceSite) -> "Deferred[list[IListeningPort]]":
    return _listening(settings, reactor, factory).addCallback(partial(_announced, settings))


def _listening(settings: Settings, reactor: object, factory: "IProtocolFactory") -> "Deferred[list[IListeningPort]]":
    ports = [_endpoint(reactor, description).listen(factory) for description in endpoints(settings)]
    return gatherResults(ports, consumeErrors=True).addErrback(_first)


def _bound(settings: Settings, reactor: object) -> "Deferred[list[IListeningPort]]":
    """Listen on every endpoint, and accept nothing: that is for the workers."""
    return _listening(settings, reactor, Factory()).addCallback(_unread)


def _unread(ports: "list[IListeningPort]") -> "list[IListeningPort]":
    for port in ports:
        cast("Port", port).stopReading()
    return ports


def _staffed(settings: Settings, reactor: ReactorBase, board: int, ports: "list[IListeningPort]") -> "Deferred[Any]":
    """Let workers accept on ports that are bound, and let go of the ports when they have stopped."""
    sockets = [cast("Port", port).fileno() for port in ports]
    steady = clock.for_reactor(cast("IReactorTime", reactor))
    workers = Workers(cast("IReactorProcess", reactor), steady, settings, board, sockets)

    def stop() -> "Deferred[Any]":
        return workers.stop().addCallback(lambda _: gatherResults([maybeDeferred(p.stopListening) for p in ports]))

    reactor.addSystemEventTrigger("before", "shutdown", stop)
    return workers.start().addCallback(lambda _: _announced(settings, ports))


def _first(failure: Failure) -> Failure:
    failure.trap(FirstError)
    return cast("FirstError", failure.value).subFailure


def _announced(settings: Settings, ports: "list[IListeningPort]") -> "list[IListeningPort]":
    for description, port in zip(endpoints(settings), ports, strict=True):
        base = _url(description, port.getHost())
        log.info("serving {klein} (Klein) and {raw} (raw)", klein=f"{base}/delayed", raw=f"{base}/raw/delayed")
    return ports


def _url(description: str, address: object) -> str:
    scheme = "https" if description.removeprefix(HAPROXY).startswith("ssl:") else "http"
    if isinstance(address, IPv6Address):
        return f"{scheme}://[{address.host}]:{address.port}"
    if isinstance(address, IPv4Address):
        return f"{scheme}://{address.host}:{address.port}"
    return description

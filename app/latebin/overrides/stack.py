"""The only door to this room: Twisted's and Klein's own classes, or ours instead.

With `STOCK`, the contract is kept by public names of the libraries alone. Of this room, only `imports` and `stock` are
imported beside this module.
`TUNED` adds speed, bounds on what a client sends, bodies that stream, and the manners of HTTP/2.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, cast

import attrs

from latebin.core.settings import Settings
from latebin.overrides import imports
from latebin.overrides.stock import StockListening

if TYPE_CHECKING:
    from klein import Klein
    from twisted.internet.base import ReactorBase
    from twisted.internet.interfaces import (
        IProtocol,
        IReactorSocket,
        IReactorTime,
        IStreamServerEndpoint,
    )
    from twisted.internet.tcp import Port
    from twisted.web.resource import IResource
    from twisted.web.server import Request


class Listening(Protocol):
    """The ways to listen: on an endpoint, another process's socket, or for others."""

    def endpoint(self, reactor: object, description: str) -> "IStreamServerEndpoint":
        """Parse a server endpoint description.

        Raises:
            ValueError: the description is malformed, or names no endpoint.
        """
        ...

    def adopt(self, reactor: "IReactorSocket", descriptor: int) -> object:
        """Return a reactor for one endpoint, which adopts a socket instead of binding one."""
        ...

    def lend(self, port: "Port") -> None:
        """Stop accepting on a port whose socket other processes go on to use."""
        ...

    def watch(self, port: "Port", clock: "IReactorTime", failed: Callable[[], object]) -> None:
        """Call a function for each connection that a port fails to accept."""
        ...


@attrs.frozen
class Stack:
    """The classes that a service is made of, each imported when its attribute is called.

    Attributes:
        protocol: gives the factory of a connection's protocol, which reports to its site; None for Twisted's own, which
            the site watches from outside.
        request: gives the class of a request.
        klein: gives the function that makes a resource of a Klein application.
        ports: gives the ways to listen.
        reactor: gives the reactor of the process; installs it if none is installed.
        prepare: spares the process imports that its settings do not need, as long as Twisted is not imported.
    """

    protocol: "Callable[[], Callable[[], IProtocol] | None]"
    request: "Callable[[], type[Request]]"
    klein: "Callable[[], Callable[[Klein], IResource]]"
    ports: Callable[[], Listening]
    reactor: "Callable[[], ReactorBase]"
    prepare: Callable[[Settings], None]


def _stock_request() -> "type[Request]":
    from twisted.web.server import Request  # noqa: PLC0415  # as `Stack` says, here and below

    return Request


def _stock_klein() -> "Callable[[Klein], IResource]":
    from klein import Klein  # noqa: PLC0415

    return Klein.resource


def _stock_reactor() -> "ReactorBase":
    from twisted.internet import reactor  # noqa: PLC0415

    return cast("ReactorBase", reactor)


def _tuned_protocol() -> "Callable[[], IProtocol]":
    from latebin.overrides.channel_share import SharingChannel  # noqa: PLC0415
    from latebin.overrides.connection import Connection  # noqa: PLC0415

    return lambda: Connection(SharingChannel())


def _tuned_request() -> "type[Request]":
    from latebin.overrides.request import Request  # noqa: PLC0415

    return Request


def _tuned_klein() -> "Callable[[Klein], IResource]":
    from latebin.overrides.klein import TidyKleinResource  # noqa: PLC0415

    return TidyKleinResource


def _tuned_ports() -> Listening:
    from latebin.overrides.ports import TunedListening  # noqa: PLC0415

    return TunedListening()


def _tuned_reactor() -> "ReactorBase":
    from latebin.overrides.reactor import reactor  # noqa: PLC0415

    return reactor


STOCK: Final = Stack(
    protocol=lambda: None,
    request=_stock_request,
    klein=_stock_klein,
    ports=StockListening,
    reactor=_stock_reactor,
    prepare=lambda _: None,
)
"""Twisted's and Klein's own classes."""

TUNED: Final = Stack(
    protocol=_tuned_protocol,
    request=_tuned_request,
    klein=_tuned_klein,
    ports=_tuned_ports,
    reactor=_tuned_reactor,
    prepare=lambda settings: imports.prepare(secure=settings.secure),
)
"""The classes of this room."""


def choose(name: str) -> Stack:
    """Return the stack of a name, one of `latebin.core.settings.STACKS`."""
    return {"stock": STOCK, "tuned": TUNED}[name]

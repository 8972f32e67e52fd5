"""Listening, and stopping."""

from functools import partial
from typing import TYPE_CHECKING, Final, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.logger import Logger
from twisted.python.failure import Failure

from app import clock
from app.outgoing import outgoing
from app.settings import Settings
from app.site import site

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort, IReactorTime

log = Logger()

BACKLOG: Final = 5000
"""Connections that may wait to be accepted. At Twisted's 50, a hundred clients that come at once lose their SYNs, and
wait a second and more before they have sent anything."""


def endpoints(settings: Settings) -> tuple[str, ...]:
    """Give the Twisted endpoint descriptions that the settings ask for."""
    host = quoteStringArgument(settings.host)
    return settings.listen or (f"tcp:{settings.port}:interface={host}:backlog={BACKLOG}",)


def listen(settings: Settings, reactor: object) -> "Deferred[list[IListeningPort]]":
    """Accept connections on every endpoint, and log the URLs at which the service can be reached.

    Returns:
        The listening ports; the Deferred fails if one of the endpoints cannot be listened on.
    """
    agent = outgoing(reactor) if settings.upstreams else None
    factory = site(settings, clock.for_reactor(cast("IReactorTime", reactor)), agent)
    ports = [
        serverFromString(reactor, description).listen(factory).addCallback(partial(_announced, description))
        for description in endpoints(settings)
    ]
    return gatherResults(ports, consumeErrors=True).addErrback(_first)


def _first(failure: Failure) -> Failure:
    failure.trap(FirstError)
    return cast("FirstError", failure.value).subFailure


def _announced(description: str, port: "IListeningPort") -> "IListeningPort":
    base = _url(description, port.getHost())
    log.info("serving {klein} (Klein) and {raw} (raw)", klein=f"{base}/delayed", raw=f"{base}/raw/delayed")
    return port


def _url(description: str, address: object) -> str:
    scheme = "https" if description.startswith("ssl:") else "http"
    if isinstance(address, IPv6Address):
        return f"{scheme}://[{address.host}]:{address.port}"
    if isinstance(address, IPv4Address):
        return f"{scheme}://{address.host}:{address.port}"
    return description

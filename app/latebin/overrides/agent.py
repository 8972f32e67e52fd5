"""Connections to upstreams: verbatim targets, and answers that may come before the body is sent.

Overrides `twisted.web.client.Agent`, `HTTPConnectionPool` and `twisted.web._newclient.HTTP11ClientProtocol` of Twisted
26.10. Twisted's own parse a target and write it anew, so that the upstream would not get what the client sent. They
deliver no answer before the last byte of the request, so that an early refusal would be lost with the connection.
"""

from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.defer import Deferred, succeed
from twisted.python.components import proxyForInterface
from twisted.web._newclient import HTTP11ClientProtocol, Request
from twisted.web.client import URI, Agent, HTTPConnectionPool, _HTTP11ClientFactory
from twisted.web.iweb import IAgent, IBodyProducer, IClientRequest, IResponse

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, ITCPTransport
    from twisted.web.http_headers import Headers

IDLE_CONNECTIONS: Final = 100
"""Connections to one upstream that are kept open for the next request."""

IDLE_TIMEOUT: Final = 15
"""Seconds that a connection is kept open: fewer than common servers wait, so that this side closes it.

A POST cannot be tried again if the server closes the connection under it.
"""


class Overlapping(proxyForInterface(IClientRequest, "request")):  # type: ignore[misc]  # a class made when it is run
    """A request that counts as written once its headers are.

    So it can be answered while its body is on its way. Twisted's client delivers no answer before the last byte is
    sent. An early refusal would be lost with the connection, and a malformed answer waited for without end.
    """

    _whole = False

    @property
    def persistent(self) -> bool:
        """Whether another request may follow: not before this one is whole."""
        return self._whole and bool(self.request.persistent)

    def writeTo(self, transport: "ITCPTransport") -> Deferred[None]:
        """Write the headers, and the body as it comes.

        A body that does not come whole aborts the connection.
        """
        self.request.writeTo(transport).addCallbacks(self._written, lambda _: transport.abortConnection())
        return succeed(None)

    def _written(self, _: None) -> None:
        self._whole = True


class Connection(HTTP11ClientProtocol):
    """Twisted's connection to a server, on which an answer may overlap with its request."""

    def request(self, request: Request) -> Deferred[IResponse]:
        return super().request(cast("Request", Overlapping(request)))


class ClientFactory(_HTTP11ClientFactory):
    """The factory of the pool's connections."""

    noisy = False

    def buildProtocol(self, addr: "IAddress | None") -> Connection:
        return Connection(self._quiescentCallback)


class Pool(HTTPConnectionPool):
    """Connections that are kept open for a while after a request, up to a limit."""

    maxPersistentPerHost = IDLE_CONNECTIONS
    cachedConnectionTimeout = IDLE_TIMEOUT
    _factory = ClientFactory


class VerbatimAgent(Agent):
    """Twisted's agent, except that a target is sent as it is written."""

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: "Headers | None" = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        origin = URI.fromBytes(uri)
        key = origin.scheme, origin.host, origin.port
        _, _, target = uri.partition(b"://")[2].partition(b"/")
        endpoint = self._getEndpoint(origin)
        return self._requestWithEndpoint(key, endpoint, method, origin, headers, bodyProducer, b"/" + target)


def outgoing(reactor: Any) -> IAgent:  # noqa: ANN401  # Twisted has no name for all that an agent asks of a reactor
    """Make the agent that passes requests on."""
    return VerbatimAgent(reactor, pool=Pool(reactor))

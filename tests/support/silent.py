"""An upstream in memory."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer


@implementer(IAgent)
class Silent:
    """An agent whose upstream takes all that it is sent, and never answers."""

    def __init__(self) -> None:
        self.upstream = StringTransport()
        self.given_up = 0
        self.body: Any = None

    def request(
        self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        self.body = bodyProducer
        if self.body is not None:
            self.body.startProducing(self.upstream).addErrback(lambda _: None)
        return Deferred(self._give_up)

    def _give_up(self, _: object) -> None:
        self.given_up += 1

"""A request that remembers what it was promised, and tells of its end, however it ends."""

from typing import TYPE_CHECKING, Protocol, cast

from twisted.internet.interfaces import ITCPTransport
from twisted.web import server

from app.upload import Upload

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from app.plan import Plan


class Told(Protocol):
    """Whom a request tells that its client has left."""

    def left(self, request: "Request") -> None: ...


class Request(server.Request):
    """Twisted's request, and what the access log wants to know.

    A style that runs under a plain `twisted.web.server.Site` is given Twisted's own request instead. That serves as
    well: the attributes are set on it all the same, and nobody reads them.

    Attributes:
        style: who answers: `klein`, `resource`, or `site` for what belongs to neither.
        plan: what the request was promised; None where it was promised nothing, as in a refusal.
        measured: seconds that its answer was waited for; None until there is an answer.
        broken: whether it was an upstream that broke its answer off.
    """

    # Twisted declares them None until the path is split, which is before any resource sees the request.
    prepath: list[bytes]
    postpath: list[bytes]

    # Twisted gives a request the transport of its channel, which the faults are done to.
    transport: ITCPTransport

    style: str = "site"
    plan: "Plan | None" = None
    measured: float | None = None
    broken: bool = False

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Process the request when it is whole, unless it was processed before; then its body is whole now."""
        if self.args is None:
            super().requestReceived(command, path, version)
        elif isinstance(self.content, Upload):
            self.content.complete()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the body; if there is an answer already, nobody wants it any more."""
        if self.content is not None:
            super().handleContentChunk(data)

    def connectionLost(self, reason: "Failure") -> None:
        """Tell the site that the client left, if the request had been received and was not answered."""
        super().connectionLost(reason)
        if self.site is not None and not self.finished:
            cast("Told", self.site).left(self)

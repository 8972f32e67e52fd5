"""The root: Klein at `/`, the raw tree at `/raw`, and the pages that belong to neither."""

from functools import partial
from secrets import token_hex
from typing import Final, cast
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IReactorTime
from twisted.web import server
from twisted.web.iweb import IAgent
from twisted.web.resource import IResource, getChildForRequest

from latebin.answers.interfaces import BodySink
from latebin.answers.request_body import DroppedBody, KeptBody
from latebin.core.http.echo import MAX_BODY
from latebin.core.http.request_id import RequestIds
from latebin.core.settings import Settings
from latebin.overrides.channel import Channel
from latebin.overrides.connection import Connection
from latebin.overrides.request import Request
from latebin.overrides.request_proxied import ProxiedRequest
from latebin.site.resources import ReplyResource
from latebin.site.root import AdminRoot, Root, root
from latebin.telemetry.access import AccessLog
from latebin.telemetry.counters import SharedCounters
from latebin.timing.timeouts import Timeouts

ECHOED: Final = (b"/delay/", b"/raw/delay/")
"""Under these paths a request is told what was in its body."""


def _channel() -> Connection:
    # As Twisted's own factory does it, which has no name for what goes on to HTTP/2 where TLS agrees on it.
    return Connection(Channel())


class ServiceSite(server.Site):
    """A `Site` that keeps few bodies and streams others, writes the access log, and counts what the metrics tell.

    Args:
        resource: the root, of the service or of its administration.
        clock: the clock by which requests were promised their answers.
        reactor: what the idle timeouts go by; the clock, if there is no other.
        settings: the size of the largest body that is kept, and the proxies that are trusted.

    Attributes:
        connections: those that are open.
        identify: gives a request its id, as `RequestIds` does.
        settings: as they were given.
        timeouts: how long its connections are waited for.
    """

    requestFactory = Request
    noisy = False

    protocol = staticmethod(_channel)

    def __init__(
        self,
        resource: Root | AdminRoot,
        clock: IReactorTime,
        reactor: IReactorTime | None = None,
        settings: Settings | None = None,
    ) -> None:
        super().__init__(resource, reactor=reactor or clock, parsePOSTFormSubmission=False)
        self._access = AccessLog(clock)
        self.settings = settings or Settings()
        if self.settings.proxy_headers:
            # Twisted declares a class, and takes whatever makes requests.
            self.requestFactory = cast("type[Request]", partial(ProxiedRequest, self.settings.proxy_headers))
        self._metrics = resource.metrics
        self.timeouts = Timeouts(self.reactor)
        self.connections = resource.connections
        self.assign = RequestIds(token_hex(10)).assign

    def startFactory(self) -> None:
        """Begin with the first port that is listened on.

        Twisted's own would keep the time of day for its access log, which is not written here, by a timer of a second.
        """
        self._metrics.start()

    def stopFactory(self) -> None:
        """End with the last port."""
        self._metrics.stop()

    def body(self, target: bytes, length: int | None) -> BodySink:
        """Decide from the path what becomes of a body.

        Args:
            target: the request target; nobody has looked at it yet.
            length: bytes, as announced; None for a body that comes without an announcement.
        """
        path = unquote_to_bytes(target.partition(b"?")[0])
        most = self.settings.max_body
        return KeptBody(most, length, MAX_BODY) if path.startswith(ECHOED) else DroppedBody(most, length)

    def getResourceFor(self, request: Request) -> IResource:
        """Find who answers a request; one that was refused before it was whole is nobody else's."""
        if request.refusal is not None:
            return ReplyResource(request.refusal.reply())
        found: IResource = getChildForRequest(self.resource, request)
        return found

    def log(self, request: Request) -> None:  # type: ignore[override]  # it makes no others
        self._access.answered(request)
        self._metrics.answered(request)

    def left(self, request: Request) -> None:
        self._access.left(request)
        self._metrics.left(request)

    def connection_error(self, cause: str) -> None:
        """Count a connection or stream that was ended by an error, as `Metrics` does."""
        self._metrics.connection_error(cause)


def site(
    settings: Settings,
    clock: IReactorTime,
    agent: IAgent | None = None,
    counters: SharedCounters | None = None,
    worker: int = 0,
) -> ServiceSite:
    """Make the whole service, ready to be listened for.

    Args:
        settings: what the operator chose.
        clock: where every delay comes from.
        agent: what requests are passed on through, if there is somewhere to pass them on to.
        counters: where all workers count; without it, this process is the only one.
        worker: which of them this is.
    """
    return ServiceSite(root(settings, clock, agent, counters, worker), clock, settings=settings)


def admin_site(service: ServiceSite, clock: IReactorTime) -> ServiceSite:
    """Make what is listened for at `--admin-listen`, for a service that was made with settings that say so."""
    return ServiceSite(AdminRoot(cast("Root", service.resource)), clock)

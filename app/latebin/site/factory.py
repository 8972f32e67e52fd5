"""The root: Klein at `/`, the raw tree at `/raw`, and the pages that belong to neither."""

from functools import partial
from secrets import token_hex
from typing import Final, cast
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IReactorTime
from twisted.web import server
from twisted.web.iweb import IAgent
from twisted.web.resource import IResource, Resource, getChildForRequest

from latebin.answers.interfaces import BodySink
from latebin.answers.pending import Capacity
from latebin.answers.request_body import DroppedBody, KeptBody
from latebin.answers.service import Service
from latebin.core.http.echo import MAX_BODY
from latebin.core.http.host import is_host
from latebin.core.http.reply import NOT_FOUND, NOT_FOUND_BY_ADMIN, Problem, Reply
from latebin.core.http.request_id import RequestIds
from latebin.core.http.upstream_url import VIA
from latebin.core.settings import Settings
from latebin.overrides.channel import Channel
from latebin.overrides.connection import Connection, Connections
from latebin.overrides.klein import TidyKleinResource
from latebin.overrides.request import Request
from latebin.overrides.request_proxied import ProxiedRequest
from latebin.site import compare_page
from latebin.site.pages import ReplyResource, description, figures, health, index, readiness
from latebin.styles.klein import DelayedKlein
from latebin.styles.resource import tree
from latebin.telemetry.access import AccessLog
from latebin.telemetry.counters import SharedCounters
from latebin.telemetry.metrics import Metrics
from latebin.timing.timeouts import Timeouts

NOT_UTF8: Final = Problem(400, "The path is not UTF-8.", parameter="path", accepted="percent-encoded UTF-8")

BAD_HOST: Final = Problem(400, "The Host header is not a host.", parameter="Host", accepted="a name or an address")

# As a number: bytes are asked for a number first, and fail, which takes ten times as long as to find one.
_PERCENT: Final = b"%"[0]

ECHOED: Final = (b"/delay/", b"/raw/delay/")
"""Under these paths a request is told what was in its body."""


class Root(Resource):
    """Sends a request to the style it is for; a request to one style costs the other nothing.

    Args:
        klein: what the Klein routes are given.
        resource: what the raw resources are given.
        settings: what the pages tell.
        counters: where all workers count; without it, this process is the only one.
        worker: which of them this is.

    Attributes:
        metrics: the figures at `/metrics`; it is for the site to count its answers there.
        asked: how many requests there have been.
        connections: those of the site, which tells of them; the service takes traffic until they are to end.
    """

    def __init__(
        self,
        klein: Service,
        resource: Service,
        settings: Settings,
        counters: SharedCounters | None = None,
        worker: int = 0,
    ) -> None:
        super().__init__()
        self.asked = 0
        self._pending = klein.pending, resource.pending
        pending = {"klein": klein.pending, "resource": resource.pending}
        self.metrics = Metrics(klein.clock, pending, counters, worker)
        self.connections = Connections()
        self._klein = TidyKleinResource(DelayedKlein(klein).router)
        self.putChild(b"", index(settings))
        if not settings.admin_listen:
            _put_admin(self, self)
        self.putChild(b"openapi.json", description(settings))
        for path, page in compare_page.resources().items():
            self.putChild(path, page)
        self.putChild(b"raw", tree(resource))
        self._styles = dict.fromkeys(self.children, "site") | {b"raw": "resource"}

    @property
    def pending(self) -> int:
        """How many answers are waited for, in both styles together."""
        return sum(map(len, self._pending))

    def due_by(self, moment: float) -> bool:
        """Tell whether an answer of either style is due by a moment, in seconds of the service's clock."""
        return any(pending.due_by(moment) for pending in self._pending)

    def getChildWithDefault(self, path: bytes, request: Request) -> IResource:
        self.asked += 1
        _hide_from_routers(path, request)
        refusal = _unroutable(path, request)
        if refusal is not None:
            return ReplyResource(refusal)
        request.style = self._styles.get(path, "klein")
        found: IResource = super().getChildWithDefault(path, request)
        return found

    def getChild(self, path: bytes, request: Request) -> IResource:
        # Klein routes by the path that is left over, so the segment that was taken is given back to it.
        request.postpath.insert(0, request.prepath.pop())
        return self._klein


class AdminRoot(Resource):
    """What those ask who look after the service, on an address of their own.

    Args:
        root: the service.

    Attributes:
        metrics: the service's, where the answers given here are counted as well.
        connections: those of the address alone, which do not end with the service's.
    """

    def __init__(self, root: Root) -> None:
        super().__init__()
        self.metrics = root.metrics
        self.connections = Connections()
        _put_admin(self, root)

    def getChild(self, path: bytes, request: Request) -> IResource:
        return ReplyResource(NOT_FOUND_BY_ADMIN.reply())


def _put_admin(place: Resource, root: Root) -> None:
    place.putChild(b"healthz", health())
    place.putChild(b"readyz", readiness(lambda: root.connections.ending))
    place.putChild(b"metrics", figures(root.metrics))


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
        """Begin with the first port that is listened on, as Twisted has it."""
        super().startFactory()
        self._metrics.start()

    def stopFactory(self) -> None:
        """End with the last port."""
        self._metrics.stop()
        super().stopFactory()

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


def root(
    settings: Settings,
    clock: IReactorTime,
    agent: IAgent | None = None,
    counters: SharedCounters | None = None,
    worker: int = 0,
) -> Root:
    """Make the whole service as one resource, each style with a `Service` of its own."""
    capacity = Capacity(settings.max_pending)
    klein, resource = (Service(clock, settings, agent=agent, capacity=capacity) for _ in range(2))
    return Root(klein, resource, settings, counters, worker)


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


def _hide_from_routers(path: bytes, request: Request) -> None:
    """Cut off what follows the name of an upstream: no router is to read or refuse what is the upstream's to read."""
    if path == VIA:
        del request.postpath[1:]
    elif path == b"raw" and request.postpath[:1] == [VIA]:
        del request.postpath[2:]


def _unroutable(path: bytes, request: Request) -> Reply | None:
    """Refuse what Klein's router would raise on or read its own way, so that both styles meet the same requests."""
    if _PERCENT in request.path or not request.path.isascii():
        try:
            segments = b"/".join([path, *request.postpath]).decode("utf-8")
        except UnicodeDecodeError:
            return NOT_UTF8.reply()
        if segments.count("/") > len(request.postpath):
            return NOT_FOUND.reply()
    # Not by `given`: under a plain Site the request is Twisted's own.
    hosts = request.requestHeaders.getRawHeaders(b"Host") or [b""]
    if len(hosts) > 1 or not is_host(hosts[0]):
        return BAD_HOST.reply()
    return None

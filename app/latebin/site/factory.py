"""The factory of connections: a site for a root, on one of the stacks."""

from secrets import token_hex
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IAddress, IProtocol, IReactorTime
from twisted.protocols.policies import WrappingFactory
from twisted.web import server
from twisted.web.resource import IResource, getChildForRequest

from latebin.answers.interfaces import BodySink, BodySource, ServedRequest
from latebin.answers.request_body import DroppedBody, KeptBody, NoBody
from latebin.core.http.cors import Cors
from latebin.core.http.echo import MAX_BODY
from latebin.core.http.reply import Refused, Reply, allow, too_large
from latebin.core.http.request_head import MISDIRECTED, elements, examine, malformed, options, read_length
from latebin.core.http.request_id import HEADER, PARENT, RequestIds
from latebin.core.http.upstream_url import streams
from latebin.core.settings import Settings
from latebin.overrides.stack import choose
from latebin.site.connections import WatchedConnection, make_last
from latebin.site.resources import ReplyResource
from latebin.site.root import AdminRoot, Root, ScenarioRoot, root
from latebin.telemetry.access import AccessLog
from latebin.telemetry.counters import SharedCounters
from latebin.timing.timeouts import Timeouts

if TYPE_CHECKING:
    from latebin.answers.paced_body import PacedBody
    from latebin.answers.upstreams import Asker
    from latebin.state.redis.connection import Store

KEPT: Final = (b"/delay/", b"/raw/delay/", b"/control/")
"""The paths below which the body of a request is read."""

OPTIONS_OF_ALL: Final = Reply(200, ((b"Content-Length", b"0"),))
"""The answer to `OPTIONS *` (RFC 9110, section 9.3.7)."""

_REQUEST: Final = b"Access-Control-Request-"

_READ: Final = b"read"

_IN_HEADER: Final = b"Latebin-Read"

IN_MEMORY: Final = 100_000
"""Bytes of a body that Twisted's own request keeps in memory; a longer body goes to a temporary file."""


class ServiceSite(server.Site):
    """A `Site` that picks a sink for each body, logs the answers and counts them.

    Args:
        resource: the root, of the service or of its administration.
        clock: the clock that measures the answers.
        reactor: the clock of the idle timeouts; None for `clock`.
        settings: the size of the largest body that is kept, and the proxies that are trusted.

    Attributes:
        connections: the open connections.
        budget: the budget of each turn for what the clients send.
        identify: a function that gives a request its id, as `RequestIds` does.
        settings: the settings as they were given.
        period: the value of `Keep-Alive` in answers over HTTP/1.1 whose connection stays open.
        keep_alive: the end of the head of such an answer.
        timeouts: the timeouts of the connections.
        unread: the answers that clients leave unread.
    """

    noisy = False

    def __init__(
        self,
        resource: Root | AdminRoot | ScenarioRoot,
        clock: IReactorTime,
        reactor: IReactorTime | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.settings = settings or Settings()
        # Twisted declares whole seconds, and takes others.
        idle = cast("int", self.settings.keep_alive_timeout)
        super().__init__(resource, timeout=idle, reactor=reactor or clock, parsePOSTFormSubmission=False)
        # A client may use the connection for at least as long as it reads here.
        self.period = b"timeout=%d" % idle
        self.keep_alive = b"Connection: keep-alive\r\nKeep-Alive: %b\r\n\r\n" % self.period
        self._access = AccessLog(clock)
        self._clock = clock
        stack = choose(self.settings.stack)
        self.requestFactory = stack.request()
        if (protocol := stack.protocol()) is not None:
            # Twisted declares its own protocol, and takes any.
            self.protocol = protocol  # type: ignore[method-assign,assignment]
        self._root = resource
        self._cors = Cors(frozenset(self.settings.cors)) if self.settings.cors else None
        self._metrics = resource.metrics
        self.timeouts = Timeouts(self.reactor)
        self.budget = resource.budget
        self.connections = resource.connections
        self.unread = resource.unread
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
        """Pick the sink of a body by the path.

        Args:
            target: the request target, before any check.
            length: bytes, as announced; None for a body that comes without an announcement.
        """
        path = unquote_to_bytes(target.partition(b"?")[0])
        most = self.settings.max_body
        return KeptBody(most, length, MAX_BODY) if path.startswith(KEPT) else DroppedBody(most, length)

    def streams(self, target: bytes) -> bool:
        """Return whether the body of a request to this target is streamed."""
        name = self._root.scenario_of(target)
        return streams(target) if name is None else self._root.scenarios.forwards(name)

    def pace(self, request: ServedRequest, method: bytes, target: bytes, source: BodySource) -> "PacedBody | None":
        """Take the body of a request at a rate, if the request asks for one.

        Args:
            request: the request, of which the headers are there.
            method: its method.
            target: its target.
            source: the connection that the body comes from.

        Raises:
            Refused: the body would take too long at this rate.
        """
        name = self._root.scenario_of(target)
        if name is None and not (_may_have(_READ, target) or request.requestHeaders.hasHeader(_IN_HEADER)):
            return None
        from latebin.answers.paced_body import PacedBody, read_rate  # noqa: PLC0415  # for the bodies that ask for it

        scenario = None if name is None else self._root.scenarios.get(name)
        whole = self._root.whole_path(target)
        rate = read_rate(request, method, target, scenario, self.settings, whole=whole)
        if rate is None:
            return None
        request.style = self._root.style_of(target)
        return PacedBody(request, source, self._clock, rate, self.settings)

    def getResourceFor(self, request: ServedRequest) -> IResource:
        """Find the resource of a request; an early refusal skips the tree."""
        if self.connections.ending:
            make_last(request)
        shared = self._cors is not None and not self._root.is_control(request.path)
        if shared and (preflight := _share(cast("Cors", self._cors), request)) is not None:
            return ReplyResource(preflight)
        if request.refusal is not None:
            return ReplyResource(request.refusal.reply())
        if request.path == b"*":
            return ReplyResource(OPTIONS_OF_ALL if request.method == b"OPTIONS" else allow(request.method, ()))
        found: IResource = getChildForRequest(self.resource, request)
        return found

    def log(self, request: ServedRequest) -> None:  # type: ignore[override]  # it makes no others
        self._access.answered(request)
        self._metrics.answered(request)

    def left(self, request: ServedRequest) -> None:
        self._access.left(request)
        self._metrics.left(request)

    def connection_error(self, cause: str) -> None:
        """Count a connection or stream that was ended by an error, as `Metrics` does."""
        self._metrics.connection_error(cause)


class StockSite(ServiceSite):
    """A `ServiceSite` whose connections and requests are Twisted's own.

    The service's attributes are set on a request when it is received; its connection is watched from outside.
    """

    def buildProtocol(self, addr: IAddress | None) -> WatchedConnection:  # type: ignore[override]  # as above
        return WatchedConnection(WrappingFactory(self), cast("IProtocol", super().buildProtocol(addr)), self)

    def getContentFile(self, length: int | None) -> BodySink:
        """Keep every body, a large one in a file.

        Twisted's request asks by the length alone, which is None for an unknown one.
        """
        if length == 0:
            return NoBody()
        most = self.settings.max_body
        return KeptBody(most, length, most, SpooledTemporaryFile(IN_MEMORY))

    def getResourceFor(self, request: ServedRequest) -> IResource:
        """Set id, client and refusal of a request, and find its resource."""
        headers, networks = request.requestHeaders, self.settings.proxy_headers
        request.request_id = self.assign(headers.getRawHeaders(HEADER), headers.getRawHeaders(PARENT))
        request.setHeader(HEADER, request.request_id)
        if networks:
            from latebin.answers.client_address import believe  # noqa: PLC0415  # for services behind proxies

            believe(request, networks)
        try:
            _read_head(request)
        except Refused as error:
            request.refusal = error.problem
            make_last(request)
        if request.content.full:
            request.refusal = too_large("The body is larger than this service takes.", self.settings.max_body)
        if request.clientproto == b"HTTP/1.1" and request.channel.persistent:
            request.setHeader(b"Connection", b"keep-alive")
            request.setHeader(b"Keep-Alive", self.period)
        return super().getResourceFor(request)


def _may_have(name: bytes, target: bytes) -> bool:
    """Return whether a request target may name a parameter, percent-encoded or not."""
    return name in target or b"%" in target


def _read_head(request: ServedRequest) -> None:
    """Read the parts of a request's head that Twisted has not read.

    Raises:
        Refused: the request has no answer but this problem.
    """
    headers = request.requestHeaders.getRawHeaders
    if b"#" in request.uri:
        raise malformed("the request target has a fragment")
    if request.clientproto != b"HTTP/2":
        if b"close" in options(headers(b"Connection")):
            make_last(request)
        read_length(request.clientproto, headers)
    target = examine(request.method, request.uri, request.clientproto, headers)
    if target is None:
        return
    if target.secure and not request.isSecure():
        raise Refused(MISDIRECTED)
    request.requestHeaders.setRawHeaders(b"Host", [target.host])
    request.uri, request.path = target.path, target.path.partition(b"?")[0]
    request.postpath = [unquote_to_bytes(segment) for segment in request.path[1:].split(b"/")]


def site(
    settings: Settings,
    clock: IReactorTime,
    upstreams: "Asker | None" = None,
    counters: SharedCounters | None = None,
    worker: int = 0,
    *,
    store: "Store | None" = None,
) -> ServiceSite:
    """Make the whole service, ready to be listened for.

    Args:
        settings: what the operator chose.
        clock: where every delay comes from.
        upstreams: passes requests on, for a service that has upstreams.
        counters: where all workers count; without it, this process is the only one.
        worker: which of them this is.
        store: the Redis that keeps the state; None for memory.
    """
    return make_site(root(settings, clock, upstreams, counters, worker, store=store), clock, settings)


def scenario_site(service: ServiceSite, clock: IReactorTime, name: str) -> ServiceSite:
    """Make the site for a scenario's port, which shares all else with the service."""
    return make_site(ScenarioRoot(cast("Root", service.resource), name), clock, service.settings)


def _share(cors: Cors, request: ServedRequest) -> Reply | None:
    """Let pages of allowed origins read the answer, or answer a preflight now."""
    origins = request.requestHeaders.getRawHeaders(b"Origin")
    # Two origins are neither of them.
    origin = None if origins is None else b", ".join(origins)
    for name, value in cors.headers(origin):
        request.responseHeaders.setRawHeaders(name, [value])
    if request.method != b"OPTIONS":
        return None
    method, fields = (request.requestHeaders.getRawHeaders(_REQUEST + each) for each in (b"Method", b"Headers"))
    return cors.preflight(origin, b", ".join(method or ()), b", ".join(elements(fields)))


def admin_site(service: ServiceSite, clock: IReactorTime) -> ServiceSite:
    """Make the site for `--admin-listen`."""
    settings = Settings(stack=service.settings.stack, keep_alive_timeout=service.settings.keep_alive_timeout)
    return make_site(AdminRoot(cast("Root", service.resource)), clock, settings)


def make_site(
    resource: Root | AdminRoot | ScenarioRoot,
    clock: IReactorTime,
    settings: Settings,
    reactor: IReactorTime | None = None,
) -> ServiceSite:
    """Make the site of a root, on the stack that the settings name."""
    watched = choose(settings.stack).protocol() is None
    return (StockSite if watched else ServiceSite)(resource, clock, reactor, settings)

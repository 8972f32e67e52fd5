"""The root: Klein at `/`, the raw tree at `/raw`, and the common pages."""

from collections.abc import Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource, Resource

from latebin.answers.interfaces import ServedRequest
from latebin.answers.pending import Capacity
from latebin.answers.scenarios import Scenarios
from latebin.answers.service import Service
from latebin.answers.unread import UnreadAnswers
from latebin.core.endpoints import ENDPOINTS, PREFIXES
from latebin.core.http.control_access import Gate, names_of, public_gate
from latebin.core.http.host import is_host
from latebin.core.http.reply import NOT_FOUND, NOT_FOUND_BY_ADMIN, TWO_SLASHES, Problem, Reply
from latebin.core.http.request_head import BAD_HOST
from latebin.core.http.upstream_url import VIA, first_segment, scenario_name
from latebin.core.settings import Settings
from latebin.overrides.stack import choose
from latebin.site.connections import Connections
from latebin.site.control import ControlResource
from latebin.site.pages import comparison, description, figures, health, index, readiness, reference, watching
from latebin.site.prediction import PredictionResource, Simulations
from latebin.site.resources import ReplyResource
from latebin.site.state_control import StateControl
from latebin.state.choice import make_state
from latebin.styles.klein import DelayedKlein
from latebin.styles.resource import tree
from latebin.telemetry.counters import SharedCounters
from latebin.telemetry.metrics import Metrics
from latebin.timing.activity import Activity
from latebin.timing.budget import TurnBudget

if TYPE_CHECKING:
    from latebin.answers.upstreams import Asker
    from latebin.state.redis.connection import Store

NOT_UTF8: Final = Problem(400, "The path is not UTF-8.", parameter="path", accepted="percent-encoded UTF-8")


# As a number: bytes are asked for a number first, and fail, which takes ten times as long as to find one.
_PERCENT: Final = b"%"[0]


_OPEN: Final = frozenset({VIA, b"as"})
"""The endpoints below whose name every path is the client's own."""


DEEPEST: Final = 4
"""Segments below `/raw` that are looked at: more than any path there has, where the rest is not the client's own."""


_KLEIN: Final = _OPEN | {each.path.split("/")[1].encode("ascii") for each in ENDPOINTS if each.styled}
"""The first segments of the paths that Klein routes; a default scenario leaves them to it."""


class Root(Resource):
    """The root resource, which sends each request to its style or page.

    A request to one style costs the other nothing.

    Args:
        klein: the service of the Klein routes.
        resource: the service of the raw resources.
        settings: the settings that the pages show.
        counters: the counters of all workers; None for a service without other workers.
        worker: the number of this worker.

    Attributes:
        metrics: the figures at `/metrics`, in which the site counts its answers.
        asked: the number of requests so far.
        activity: brings the looks at an idle service back to their interval.
        unread: the answers that clients leave unread.
        connections: the site's connections; the service takes traffic until they are to end.
        scenarios: the scenarios, which both styles share.
        budget: the budget of each turn for what the clients send.
        state_control: the part of `/control` that is about keys, gates and pending answers.
        settings: the settings as they were given.
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
        self._connect: Callable[[], Deferred[None]] = lambda: succeed(None)
        self._disconnect: Callable[[], Deferred[Any]] = lambda: succeed(None)
        self._pending = klein.pending, resource.pending
        pending = {"klein": klein.pending, "resource": resource.pending}
        self.activity = Activity()
        self.metrics = Metrics(
            klein.clock,
            pending,
            counters,
            worker,
            self.activity,
            unread=lambda: self.unread.total,
            pools=klein.state.pools.all,
        )
        self.unread = UnreadAnswers(settings.max_unread, self.metrics.unread_aborted)
        self.connections = Connections(self.activity)
        self.scenarios = klein.scenarios
        self.budget = klein.budget
        self.state_control = StateControl(klein.state, self.connections, settings, klein.clock)
        self._default = settings.default_scenario
        self._klein = choose(settings.stack).klein()(DelayedKlein(klein).router)
        self.putChild(b"", index(settings))
        self.settings = settings
        if not settings.admin_listen:
            _put_admin(self, self, _gate(settings))
        self.putChild(b"docs", reference())
        self.putChild(b"openapi.json", description(settings))
        for path, page in (comparison() | watching()).items():
            self.putChild(path, page)
        self._raw = tree(resource)
        self.putChild(b"raw", self._raw)
        self._klein_resources = self._put_predictions(klein, resource)
        self._styles = dict.fromkeys(self.children, "site") | {b"raw": "resource"}
        self._own = self._styles.keys() | _KLEIN

    def keep_state_in(self, store: "Store", ready: Callable[[], Deferred[None]]) -> None:
        """Note the Redis that keeps the state; its figures are in the metrics.

        Args:
            store: the Redis.
            ready: waits until this process has read what it needs from the beginning.
        """
        store.observer = self.metrics
        self.metrics.state_up(store.connected)
        self._connect = lambda: store.start().addCallback(lambda _: ready())
        self._disconnect = store.stop

    def connect(self) -> Deferred[None]:
        """Reach the state of the service, and read what it needs from the beginning.

        Returns:
            A Deferred that fails with StateError; without a Redis it fires at once.
        """
        return self._connect()

    def leave(self) -> Deferred[Any]:
        """Take what is left here out of the shared state, and disconnect from it."""
        peers = self.state_control.state.peers
        return succeed(None) if peers is None else peers.leave().addBoth(lambda _: self._disconnect())

    @property
    def pending(self) -> int:
        """How many answers are waited for, in both styles together."""
        return sum(map(len, self._pending))

    def due_by(self, moment: float) -> bool:
        """Return whether an answer is due by a moment, in seconds of the service's clock."""
        return any(pending.due_by(moment) for pending in self._pending)

    def getChildWithDefault(self, path: bytes, request: ServedRequest) -> IResource:
        self.count()
        if self._default is not None and path not in self._own:
            return self.scenario(self._default, request)
        # The path behind the name of an upstream or a scenario is the client's own: no router may read or refuse it.
        if path in _OPEN:
            del request.postpath[1:]
        elif path == b"raw" and request.postpath[:1] and request.postpath[0] in _OPEN:
            del request.postpath[2:]
        refusal = _unroutable(path, request)
        if refusal is not None:
            return ReplyResource(refusal)
        if path == b"raw":
            # Each further segment would take a resource, and time that grows with the square of their number.
            del request.postpath[DEEPEST:]
        request.style = self._styles.get(path, "klein")
        found: IResource = super().getChildWithDefault(path, request)
        return found

    def getChild(self, path: bytes, request: ServedRequest) -> IResource:
        # Klein routes by the path that is left over, so the segment that was taken is given back to it.
        request.postpath.insert(0, request.prepath.pop())
        return self._klein_resources.get(path, self._klein)

    def _put_predictions(self, klein: Service, resource: Service) -> dict[bytes, IResource]:
        """Put what may have to simulate before each style's predictions."""
        simulations, name = Simulations(klein.clock), b"predict"
        self._raw.putChild(name, PredictionResource(self._raw.children[name], resource, simulations))
        return {name: PredictionResource(self._klein, klein, simulations)}

    def count(self) -> None:
        """Count a request, and let the looks at the service become regular again."""
        self.asked += 1
        if self.activity.resting:
            self.activity.begin()

    def scenario(self, name: str, request: ServedRequest) -> IResource:
        """Send a request to a scenario in Klein, with all of its path."""
        refusal = _bad_host(request)
        if refusal is not None:
            return ReplyResource(refusal)
        request.style, request.whole_path = "klein", True
        request.prepath, request.postpath = [], [b"as", name.encode("utf-8")]
        return self._klein

    def scenario_of(self, target: bytes) -> str | None:
        """Return the name of the scenario that answers a request target; None where none does."""
        if self._default is not None and first_segment(target) not in self._own:
            return self._default
        return scenario_name(target)

    def whole_path(self, target: bytes) -> bool:
        """Return whether all of a path is the client's own, as the default scenario's."""
        return self._default is not None and first_segment(target) not in self._own

    def style_of(self, target: bytes) -> str:
        """Return the style that answers a request target."""
        return "klein" if self.whole_path(target) else self._styles.get(first_segment(target), "klein")

    def is_control(self, path: bytes) -> bool:
        """Return whether a path is below `/control`, which no page of another origin reads."""
        return first_segment(path) == b"control" and b"control" in self.children


class ScenarioRoot(Resource):
    """The root of a port where every path is the same scenario's.

    Args:
        root: the service.
        name: the scenario.

    Attributes:
        metrics: the service's.
        unread: the service's.
        connections: the service's, so that they end with it.
        scenarios: the service's.
    """

    isLeaf = True

    def __init__(self, root: Root, name: str) -> None:
        super().__init__()
        self.metrics = root.metrics
        self.unread = root.unread
        self.connections = root.connections
        self.scenarios = root.scenarios
        self.budget = root.budget
        self._root = root
        self._name = name

    def render(self, request: ServedRequest) -> Any:  # noqa: ANN401  # a body, or NOT_DONE_YET
        self._root.count()
        return self._root.scenario(self._name, request).render(request)

    def scenario_of(self, target: bytes) -> str | None:
        """Return the name of the scenario, for every request target."""
        return self._name

    def whole_path(self, target: bytes) -> bool:
        """Return True: every path is the scenario's."""
        return True

    def style_of(self, target: bytes) -> str:
        """Return the style of every scenario with a port."""
        return "klein"

    def is_control(self, path: bytes) -> bool:
        """Return False: every path is the scenario's."""
        return False


class AdminRoot(Resource):
    """The root resource of the operator's own address: health, metrics and the like.

    Args:
        root: the root of the service.

    Attributes:
        metrics: the service's figures, in which the answers given here are counted as well.
        unread: the service's.
        connections: the connections of this address alone, which do not end with the service's.
    """

    def __init__(self, root: Root) -> None:
        super().__init__()
        self.metrics = root.metrics
        self.unread = root.unread
        self.connections = Connections(root.activity)
        self.scenarios = root.scenarios
        self.budget = root.budget
        settings = root.settings
        # This address is the operator's own.
        _put_admin(self, root, Gate(closed=False, token=settings.control_token, names=names_of(settings.admin_listen)))

    def scenario_of(self, target: bytes) -> str | None:
        """Return None: no scenario answers here."""
        return None

    def whole_path(self, target: bytes) -> bool:
        """Return False: no path is the client's own."""
        return False

    def style_of(self, target: bytes) -> str:
        """Return the style of every page here."""
        return "site"

    def is_control(self, path: bytes) -> bool:
        """Return True: no page of another origin reads anything here."""
        return True

    def getChild(self, path: bytes, request: ServedRequest) -> IResource:
        return ReplyResource((TWO_SLASHES if b"//" in request.path else NOT_FOUND_BY_ADMIN).reply())


def _put_admin(place: Resource, root: Root, gate: Gate) -> None:
    place.putChild(b"healthz", health())
    place.putChild(b"readyz", readiness(lambda: root.connections.ending))
    place.putChild(b"metrics", figures(root.metrics, root.budget))
    place.putChild(b"control", ControlResource(root.scenarios, root.state_control, root.settings, gate, root.budget))


def _gate(settings: Settings) -> Gate:
    return public_gate(
        settings.listen,
        () if settings.listen else (settings.host,),
        mode=settings.control,
        token=settings.control_token,
        proxied=bool(settings.proxy_headers),
    )


def root(
    settings: Settings,
    clock: IReactorTime,
    upstreams: "Asker | None" = None,
    counters: SharedCounters | None = None,
    worker: int = 0,
    *,
    store: "Store | None" = None,
) -> Root:
    """Make the whole service as one resource, each style with a `Service` of its own."""
    capacity = Capacity(inf if settings.max_pending is None else settings.max_pending)
    shared = partial(Service, clock, settings, upstreams=upstreams, capacity=capacity, budget=TurnBudget(clock))
    scenarios, ready = _scenarios(settings, clock, store)
    state = make_state(settings, clock, store)
    klein, resource = (shared(scenarios=scenarios, state=state, style=style) for style in PREFIXES)
    made = Root(klein, resource, settings, counters, worker)
    if store is not None:
        made.keep_state_in(store, ready)
    return made


def _scenarios(
    settings: Settings, clock: IReactorTime, store: "Store | None"
) -> tuple[Scenarios, Callable[[], Deferred[None]]]:
    """Make the scenarios, and a function that waits until their changes are read."""
    if store is None:
        return Scenarios(settings), lambda: succeed(None)
    from latebin.answers.shared_scenarios import SharedScenarios  # noqa: PLC0415  # for services with --state
    from latebin.state.redis.scenarios import SharedChanges  # noqa: PLC0415  # as above

    scenarios = SharedScenarios(settings)
    changes = SharedChanges(store, clock, settings.state_lifetime, scenarios.take_over)
    scenarios.changes = changes
    return scenarios, changes.ready


def _unroutable(path: bytes, request: ServedRequest) -> Reply | None:
    """Refuse a path that Klein's router would raise on or read in its own way.

    So both styles get the same requests.
    """
    if _PERCENT in request.path or not request.path.isascii():
        try:
            segments = b"/".join([path, *request.postpath]).decode("utf-8")
        except UnicodeDecodeError:
            return NOT_UTF8.reply()
        if segments.count("/") > len(request.postpath):
            return NOT_FOUND.reply()
    return _bad_host(request)


def _bad_host(request: ServedRequest) -> Reply | None:
    # Not by `given`: under a plain Site the request is Twisted's own.
    hosts = request.requestHeaders.getRawHeaders(b"Host") or [b""]
    if len(hosts) > 1 or not is_host(hosts[0]):
        return BAD_HOST.reply()
    return None

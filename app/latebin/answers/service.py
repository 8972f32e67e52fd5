"""The service behind both styles, which accepts requests and answers them late."""

import random
from collections.abc import Callable, Generator, Hashable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from latebin.answers.delivery import begin, deliver, timing
from latebin.answers.form import reading
from latebin.answers.forwarded import ForwardedAnswer
from latebin.answers.interfaces import ServedRequest, abort
from latebin.answers.pending import Capacity, PendingAnswer, PendingAnswers
from latebin.answers.preparation import Preparation
from latebin.answers.recording import begin as begin_record
from latebin.answers.recording import given_key, refused, watch
from latebin.answers.request_body import DroppedBody, StreamedBody
from latebin.answers.scenarios import Scenarios
from latebin.answers.steered import UNPLANNED, SteeredAnswer
from latebin.core import plan, scenarios
from latebin.core.http.echo import MAX_BODY, EchoedRequest, echoing
from latebin.core.http.reply import FULL, Problem, Refused, Reply, json_page, not_found, too_large
from latebin.core.http.upstream_url import Target, mount, mounted, rest, split_name, target
from latebin.core.language.prediction import Prediction
from latebin.core.language.queueing import Load, Simulation
from latebin.core.parameters import DRIP, ECHO, EVENTS, PREFIX, VIA, read_fields, split_query, wrong
from latebin.core.plan import TURN, Plan, Prepared
from latebin.core.scenarios import Rule
from latebin.core.settings import Settings
from latebin.state.choice import make_state
from latebin.state.interfaces import State, Taken
from latebin.timing import wakers
from latebin.timing.budget import TurnBudget
from latebin.timing.piecewise import complete

if TYPE_CHECKING:
    from latebin.answers.upstreams import Asker
    from latebin.core.stream import Kind

K = TypeVar("K")
V = TypeVar("V")

Endpoint = Literal["delayed", "delay", "drip", "sse", "jsonl", "via", "as", "default"]
"""The endpoints that answer late, by the first segment of their paths; `default` is every path without one."""

_QUERIED: Final = frozenset({"delayed", "drip", "jsonl", "sse"})
"""The endpoints that read parameters from the query; the query of the others is the client's own."""

CHANGED_MEANWHILE: Final = Problem(
    503, "The scenario was changed while the body came; send the request again.", headers=((b"Retry-After", b"0"),)
)

MAX_HOPS: Final = 8
"""The most services of this kind, one behind the other."""

LOOP: Final = Problem(508, "The upstream leads back to this service.", parameter="Via", accepted=f"{MAX_HOPS} hops")

SLICE: Final = 100
"""Requests that are simulated in one turn of the reactor; each takes some ten microseconds."""

MAX_SIMULATED: Final = 64
"""Simulations and predictions whose figures are remembered; at one more of either, all of these are forgotten."""

MAX_KNOWN: Final = 1024
"""URLs whose arguments are remembered; at one more, all are forgotten."""


@attrs.frozen(eq=False)
class Service:
    """The part of the service that does not depend on the style.

    Each style has a service of its own. Styles that are served together share capacity, scenarios and state.

    Attributes:
        clock: the clock that measures every delay.
        settings: the operator's choices.
        random: returns a float in [0, 1), for draws without a seed.
        upstreams: passes requests on; None where there is no upstream.
        capacity: the limit of pending answers.
        scenarios: the scenarios.
        budget: the budget of each turn for what the clients send.
        state: the keys, gates, pools and the journal.
        style: the style, which counts the requests of a seed for itself.
        pending: the answers of this style that wait.
    """

    clock: IReactorTime = attrs.field(factory=wakers.system)
    settings: Settings = attrs.field(factory=Settings)
    random: Callable[[], float] = attrs.field(factory=lambda: random.SystemRandom().random)
    upstreams: "Asker | None" = None
    capacity: Capacity = attrs.field(factory=Capacity)
    scenarios: Scenarios = attrs.field(default=attrs.Factory(lambda self: Scenarios(self.settings), takes_self=True))
    budget: TurnBudget = attrs.field(default=attrs.Factory(lambda self: TurnBudget(self.clock), takes_self=True))
    state: State = attrs.field(
        default=attrs.Factory(lambda self: make_state(self.settings, self.clock), takes_self=True)
    )
    style: str = "klein"
    _predicted: dict[plan.Forecast, Prediction] = attrs.field(factory=dict, init=False)
    _simulated: dict[Load, dict[str, Any]] = attrs.field(factory=dict, init=False)
    _known: dict[Hashable, Prepared] = attrs.field(factory=dict, init=False)
    pending: PendingAnswers = attrs.field(
        init=False, default=attrs.Factory(lambda self: PendingAnswers(self.capacity), takes_self=True)
    )

    def __attrs_post_init__(self) -> None:
        if self.settings.upstreams:
            # A first request should not wait for the import.
            import_module("latebin.answers.via")

    def accept(self, request: ServedRequest, endpoint: Endpoint, argument: str | None = None) -> PendingAnswer:
        """Plan the answer to a request; send the headers now if only the body waits.

        Args:
            request: the request; its attribute `pending_answer` is set.
            endpoint: the endpoint that the request came to.
            argument: the segment that follows in the path, decoded; None for a path that ends before it.

        Returns:
            The answer, which is the clock to wait for it by.

        Raises:
            Refused: the request is invalid, or too many answers are pending.
        """
        accepted = self.clock.seconds()
        # Before anything is planned: a request that is refused for want of capacity takes no draw from the others.
        if self.capacity.taken >= self.capacity.most:
            self._note(request, endpoint, argument, accepted, FULL)
            raise Refused(FULL)
        try:
            prepared, upstream = self._prepare(request, endpoint, argument)
            preparation = self._preparation(request) if endpoint == "delay" else None
        except Refused as error:
            self._note(request, endpoint, argument, accepted, error.problem)
            raise
        planned, steering = prepared.plan, prepared.steering
        if steering is not None:
            return self._steer(request, prepared, accepted, upstream, preparation)
        if planned is None:
            taken = self.state.keys.take(None, self.style, prepared.counted)
            if isinstance(taken, Deferred):
                return self._steer(request, prepared, accepted, upstream, preparation, taken=taken)
            planned = prepared.draw(*taken)
        if planned.stream is not None:
            planned = _resumed(request, planned)
        answer = PendingAnswer(planned, self.clock, self.pending, accepted, upstream, preparation)
        request.pending_answer = answer
        if preparation is not None:
            preparation.refused = answer.end
        if endpoint != "delayed" or planned.at == "body":
            _start(request, planned)
        return answer

    def _preparation(self, request: ServedRequest) -> Preparation:
        preparation = Preparation(_described(request), self.budget)
        preparation.start()
        return preparation

    def _steer(
        self,
        request: ServedRequest,
        prepared: Prepared,
        accepted: float,
        upstream: Target | None,
        preparation: Preparation | None,
        *,
        taken: Taken | None = None,
    ) -> PendingAnswer:
        """Accept a request whose answer waits for more than time.

        A request with a key is written into the journal.
        """
        answer = SteeredAnswer(
            UNPLANNED, self.clock, self.pending, accepted, upstream, preparation, prepared=prepared, state=self.state
        )
        if preparation is not None:
            preparation.refused = answer.end
        key = None if prepared.steering is None else prepared.steering.key
        record = None if key is None else begin_record(request, self.style, self.state.journal, key, accepted)

        def planned() -> None:
            if answer.turn is not None:
                request.setHeader(TURN, b"%d" % answer.turn)
            answer.plan = _resumed(request, answer.plan)
            if record is not None:
                record.planned(answer.turn, answer.plan.asked_ms)
            _start(request, answer.plan)

        try:
            if taken is None:
                taken = self.state.keys.take(key, self.style, prepared.counted)
            answer.take(taken, planned)
        except Refused as error:
            if record is not None:
                # A request whose own step cannot be answered has taken it.
                record.planned(taken[0] if isinstance(taken, tuple) else None, None)
                record.end(refused(error.problem, self.clock.seconds()))
            raise
        request.pending_answer = answer
        if record is not None:
            watch(request, answer, record, self.clock)
        return answer

    def _note(
        self, request: ServedRequest, endpoint: Endpoint, argument: str | None, accepted: float, problem: Problem
    ) -> None:
        """Write a refused request into the journal, if its key can be read."""
        if b"key" not in request.uri and request.getHeader(b"Latebin-Key") is None:
            return
        fields = _fields(request)
        if endpoint in {"as", "via"}:
            fields += split_name(argument or "")[1]
        key = given_key(fields, _query(request) if endpoint in _QUERIED else b"")
        if key is not None:
            record = begin_record(request, self.style, self.state.journal, key, accepted)
            record.end(refused(problem, accepted))

    def answer(self, request: ServedRequest) -> Deferred[bytes]:
        """Answer a request as planned, and measure how late.

        Returns:
            A Deferred of the bytes that the style writes before it finishes the request.

        Raises:
            Refused: the answer was ended before it was due.
        """
        answer = cast("PendingAnswer", request.pending_answer)
        if answer.refusal is not None:
            return _end(request, answer.refusal)
        if answer.preparation is not None:
            answer.plan = plan.with_content(answer.plan, answer.preparation.content)
        planned, measured = answer.plan, answer.answered(self.clock.seconds())
        if planned.forwarded:
            for name, value in planned.turns:
                request.setHeader(name, value)
            return self._forward(request, answer, timing(planned, measured, answer.held))
        if planned.at == "headers":
            begin(request, planned, measured, answer.held)
        return deliver(request, planned, self.clock, self.settings.max_delay)

    def predict(self, request: ServedRequest) -> Reply:
        """Predict the delays that the parameters ask for.

        Raises:
            Refused: the request is invalid.
        """
        asked = plan.forecast(_query(request), self.settings)
        found = (self._predicted.get(asked) or asked.predict()).as_json()
        load = asked.load
        if load is not None:
            if load not in self._simulated:
                complete(self._simulating(Simulation(load)))
            found["simulation"] = self._simulated[load]
        return json_page(found)

    def work(self, request: ServedRequest) -> Generator[None, None, None] | None:
        """Return the work before a prediction; None for a quick or a refused one.

        The figures are remembered at its end. So a caller that does the work piece by piece spares `predict` the time.
        There may be more to do behind it.
        """
        try:
            asked = plan.forecast(_query(request), self.settings)
        except Refused:
            return None  # `predict` refuses it, too
        if asked.long and asked not in self._predicted:
            return self._predicting(asked)
        load = asked.load
        return None if load is None or load in self._simulated else self._simulating(Simulation(load))

    def _predicting(self, asked: plan.Forecast) -> Generator[None, None, None]:
        found = yield from asked.predicting()
        _remember(self._predicted, asked, found, MAX_SIMULATED)

    def _simulating(self, simulation: Simulation) -> Generator[None, None, None]:
        while not simulation.run(SLICE):
            yield
        _remember(self._simulated, simulation.load, simulation.as_json(), MAX_SIMULATED)

    def _prepare(
        self, request: ServedRequest, endpoint: Endpoint, argument: str | None
    ) -> tuple[Prepared, Target | None]:
        """Read the arguments of a request.

        Returns:
            The arguments, and the place to pass the request on to; None for a request that is answered here.
        """
        if endpoint == "delayed":
            return self._delayed(request, argument), None
        if endpoint == "drip":
            return self._drip(request), None
        if endpoint in ("sse", "jsonl"):
            return self._events(request, "sse" if endpoint == "sse" else "ndjson"), None
        if endpoint == "delay":
            return self._echo(request, argument or ""), None
        name, fields = split_name(argument or "")
        if endpoint == "via":
            return self._via(request, name, fields)
        if endpoint == "default":
            if self.settings.default_scenario is None:
                raise Refused(not_found(request.path))
            name, fields = self.settings.default_scenario, []
        # Under a plain `Site` the request is Twisted's own, which does not have the attribute.
        whole = endpoint == "default" or getattr(request, "whole_path", False)
        return self._scenario(request, name, fields, lambda: 0 if whole else mounted(request.uri, b"as"))

    def _delayed(self, request: ServedRequest, path_delay: str | None) -> Prepared:
        """Read a URL, and remember its arguments for the same URL."""
        query, fields = _query(request), _fields(request)
        if fields:
            return self._prepared(plan.read_arguments(query, path_delay, self.settings, fields))
        return self._remembered((query, path_delay), lambda: plan.read_arguments(query, path_delay, self.settings))

    def _drip(self, request: ServedRequest) -> Prepared:
        arguments = read_fields([*split_query(_query(request)), *_fields(request)], DRIP, self.settings)
        return plan.fixed(plan.plan_drip(arguments), plan.steer(arguments, self.settings))

    def _events(self, request: ServedRequest, kind: "Kind") -> Prepared:
        arguments = read_fields([*split_query(_query(request)), *_fields(request)], EVENTS, self.settings)
        planned = plan.plan_events(arguments, kind, self.random)
        return plan.fixed(planned, plan.steer(arguments, self.settings))

    def _echo(self, request: ServedRequest, seconds: str) -> Prepared:
        planned = plan.plan_echo(seconds, b"", self.settings)
        arguments = read_fields(_fields(request), ECHO, self.settings)
        return plan.fixed(planned, plan.steer(arguments, self.settings))

    def _via(self, request: ServedRequest, name: str, fields: Sequence[tuple[str, str]]) -> tuple[Prepared, Target]:
        upstream = self._target(request, name, mounted(request.uri, b"via"))
        arguments = read_fields([*fields, *_fields(request)], VIA, self.settings)
        return plan.prepare(arguments, self.settings, self.random, upstream=True), upstream

    def _scenario(
        self, request: ServedRequest, name: str, fields: Sequence[tuple[str, str]], before: Callable[[], int]
    ) -> tuple[Prepared, Target | None]:
        """Prepare the answer of a scenario to a request.

        Args:
            request: the request, whose path and headers choose the rule.
            name: the scenario's name.
            fields: the parameters behind the name.
            before: counts the segments of the path before the client's own; most scenarios never ask.
        """
        rule = self.scenarios.find(name).rule(lambda: _matched(request, before()))
        own = [*fields, *_fields(request)]
        prepared = self._prepared(scenarios.overridden(rule, own, self.settings)) if own else self._prepared_rule(rule)
        upstream = rule.arguments.get("upstream")
        return prepared, None if upstream is None else self._target(request, upstream, before())

    def _prepared_rule(self, rule: Rule) -> Prepared:
        found: Prepared | None = rule.plans.get(self)
        if found is None:
            found = rule.plans[self] = self._prepared(rule.arguments)
        return found

    def _prepared(self, arguments: plan.Arguments) -> Prepared:
        return plan.prepare(arguments, self.settings, self.random)

    def _remembered(self, key: Hashable, read: Callable[[], plan.Arguments]) -> Prepared:
        found = self._known.get(key)
        if found is None:
            found = self._prepared(read())
            _remember(self._known, key, found, MAX_KNOWN)
        return found

    def _forward(self, request: ServedRequest, answer: PendingAnswer, header: tuple[bytes, bytes]) -> Deferred[bytes]:
        from latebin.answers.via import Forward  # noqa: PLC0415  # for services that have upstreams

        asked = Forward(
            request,
            cast("Target", answer.target),
            upstreams=cast("Asker", self.upstreams),
            clock=self.clock,
            settings=self.settings,
            timing=header,
            plan=answer.plan,
        )
        return ForwardedAnswer(request, asked.start(), self.pending.forwarding, answer.number).start()

    def _target(self, request: ServedRequest, name: str, before: int) -> Target:
        """Return the place at an upstream that a request is passed on to.

        Raises:
            Refused: there is no such upstream or place. 308 for a path that ends before its first slash: the
                references of a page are relative to the path with the slash.
        """
        from latebin.answers.via import refuse_unforwardable  # noqa: PLC0415  # as above

        vias = request.requestHeaders.getRawHeaders(b"Via", [])
        if sum(value.count(b" latebin") for value in vias) >= MAX_HOPS:
            raise Refused(LOOP)
        if name not in self.settings.upstreams:
            accepted = ", ".join(sorted(self.settings.upstreams))
            raise Refused(Problem(404, "Unknown upstream.", parameter="name", given=name, accepted=accepted))
        base = self.settings.upstreams[name]
        refuse_unforwardable(request)
        seen, bare = mount(request.uri, before)
        try:
            path = target(base, request.uri, before)
            if bare and before:
                raise Refused(_with_slash(request.uri, seen))
            return Target(name, base, path, seen)
        except ValueError as error:
            given = request.uri.decode("latin-1")
            raise wrong(f"This cannot be passed on: {error}.", "path", given, "visible ASCII without ..") from None


def _resumed(request: ServedRequest, planned: Plan) -> Plan:
    """Plan the rest of a stream for a client that has a part of it.

    A client that has all of it gets a 204, at which an EventSource stops (HTML, section 9.2.3).
    """
    if planned.stream is None or planned.stream.kind != "sse":
        return planned
    last = request.getHeader(b"Last-Event-ID")
    if not last:
        return planned
    text = last.decode("latin-1")
    try:
        rest = planned.stream.behind(last)
    except ValueError as error:
        detail = f"This stream cannot go on behind the last event: {error}."
        raise wrong(detail, "Last-Event-ID", text, "the id of an event of this stream") from None
    return attrs.evolve(planned, **({"status": 204, "body": None, "stream": None} if rest.ended else {"stream": rest}))


def _remember(known: dict[K, V], key: K, found: V, most: int) -> None:
    if len(known) >= most:
        known.clear()
    known[key] = found


def _end(request: ServedRequest, problem: Problem) -> Deferred[bytes]:
    """Refuse a request, or reset its connection if the headers are sent."""
    if not request.startedWriting:
        raise Refused(problem)
    # After the headers, only the end of the connection shows that the answer is not whole.
    request.broken = True
    abort(request)
    return Deferred()


def _with_slash(uri: bytes, path: bytes) -> Problem:
    """Redirect to the same path with a slash at its end, and the same query."""
    location = path + b"/" + uri[len(path) :]
    return Problem(308, "The paths of an upstream begin with a slash.", headers=((b"Location", location),))


def _query(request: ServedRequest) -> bytes:
    return request.uri.partition(b"?")[2]


def _described(request: ServedRequest) -> Generator[None, None, bytes]:
    """Describe a request as JSON, piece by piece, once the body is read."""
    headers = request.requestHeaders
    content_type = (request.getHeader(b"Content-Type") or b"").decode("latin-1")
    content = yield from reading(content_type, _body(request, MAX_BODY))
    echoed = EchoedRequest(
        target=request.uri,
        headers=[(name, value) for name, values in headers.getAllRawHeaders() for value in values],
        content=content,
        client=getattr(request.getClientAddress(), "host", None),
        server=_server(request),
        secure=request.isSecure(),
    )
    return (yield from echoing(echoed))


def _body(request: ServedRequest, longest: int) -> bytes:
    request.content.seek(0)
    body = request.content.read(longest + 1)
    if len(body) > longest:
        raise Refused(too_large("The body is too large to be echoed.", longest))
    return body


def _server(request: ServedRequest) -> str:
    address = request.getHost()
    # A UNIX socket has no host; its clients are on this machine.
    host, port = getattr(address, "host", "localhost"), getattr(address, "port", 80)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _fields(request: ServedRequest) -> list[tuple[str, str]]:
    """Find the parameters in request headers, with their names."""
    # Twisted spells every name in this way, however the client spelt it.
    return [
        (name.decode("latin-1").lower().removeprefix(PREFIX), value.decode("latin-1"))
        for name, values in request.requestHeaders.getAllRawHeaders()
        if name.startswith(b"Latebin-")
        for value in values
    ]


def _matched(request: ServedRequest, before: int) -> tuple[str, str, Callable[[str], list[str]]]:
    """Return the method, path and headers that the rules of a scenario match."""

    def values(name: str) -> list[str]:
        given = request.requestHeaders.getRawHeaders(name.encode("latin-1"), [])
        return [value.decode("latin-1") for value in given]

    return request.method.decode("latin-1"), rest(request.uri, before), values


def _start(request: ServedRequest, planned: Plan) -> None:
    """Do at once what need not wait.

    The body of a request that turns out to be answered here is dropped. The headers are sent if only the body waits.

    Raises:
        Refused: 503, the body that is to be passed on was dropped already.
    """
    content = request.content
    if not planned.forwarded:
        if isinstance(content, StreamedBody):
            content.close()
    elif type(content) is DroppedBody and content.tell():
        # Its headers came while the scenario had no upstream. Without its body, the upstream would see another request.
        raise Refused(CHANGED_MEANWHILE)
    if planned.at == "body":
        begin(request, planned, None)
        request.write(b"")

"""The service behind both styles, which accepts requests and answers them late."""

import random
from collections.abc import Callable, Generator, Hashable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Final, Literal, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from latebin.answers.delivery import begin, deliver, timing
from latebin.answers.form import reading
from latebin.answers.interfaces import ServedRequest, abort
from latebin.answers.pending import Capacity, PendingAnswer, PendingAnswers
from latebin.answers.preparation import Preparation
from latebin.answers.request_body import DroppedBody, StreamedBody
from latebin.answers.scenarios import Scenarios
from latebin.answers.seed_counter import SeedCounter
from latebin.core import plan, scenarios
from latebin.core.http.echo import MAX_BODY, EchoedRequest, echoing
from latebin.core.http.reply import FULL, Problem, Refused, Reply, json_page, not_found, too_large
from latebin.core.http.upstream_url import Target, mount, mounted, rest, target
from latebin.core.parameters import PREFIX, wrong
from latebin.core.plan import Plan, Source
from latebin.core.scenarios import Rule
from latebin.core.settings import Settings
from latebin.timing import wakers
from latebin.timing.budget import TurnBudget

if TYPE_CHECKING:
    from latebin.answers.upstreams import Asker
    from latebin.core.stream import Kind

Endpoint = Literal["delayed", "delay", "drip", "sse", "jsonl", "via", "as", "default"]
"""The endpoints that answer late, by the first segment of their paths; `default` is every path without one."""

CHANGED_MEANWHILE: Final = Problem(
    503, "The scenario was changed while the body came; send the request again.", headers=((b"Retry-After", b"0"),)
)

MAX_HOPS: Final = 8
"""The most services of this kind, one behind the other."""

LOOP: Final = Problem(508, "The upstream leads back to this service.", parameter="Via", accepted=f"{MAX_HOPS} hops")

MAX_KNOWN: Final = 1024
"""URLs whose arguments are remembered; at one more, all are forgotten."""


def _source() -> Source:
    return Source(SeedCounter().next, random.SystemRandom().random)


@attrs.frozen(eq=False)
class Service:
    """The part of the service that does not depend on the style.

    Each style has a service of its own. Styles that are served together share capacity and scenarios.

    Attributes:
        clock: the clock that measures every delay.
        settings: the operator's choices.
        source: the source of every draw.
        upstreams: passes requests on; None where there is no upstream.
        capacity: the limit of pending answers.
        scenarios: the scenarios.
        budget: the budget of each turn for what the clients send.
        pending: the answers of this style that wait.
    """

    clock: IReactorTime = attrs.field(factory=wakers.system)
    settings: Settings = attrs.field(factory=Settings)
    source: Source = attrs.field(factory=_source)
    upstreams: "Asker | None" = None
    capacity: Capacity = attrs.field(factory=Capacity)
    scenarios: Scenarios = attrs.field(default=attrs.Factory(lambda self: Scenarios(self.settings), takes_self=True))
    budget: TurnBudget = attrs.field(default=attrs.Factory(lambda self: TurnBudget(self.clock), takes_self=True))
    _known: dict[Hashable, Callable[[], Plan]] = attrs.field(factory=dict, init=False)
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
        # Before anything is read: a request that is refused for want of capacity takes no draw from the others.
        if self.capacity.full:
            raise Refused(FULL)
        accepted = self.clock.seconds()
        planned, upstream = self._plan(request, endpoint, argument)
        if planned.stream is not None:
            planned = _resumed(request, planned)
        preparation = None
        if endpoint == "delay":
            preparation = Preparation(_described(request), self.budget)
            preparation.start()
        answer = PendingAnswer(planned, self.clock, self.pending, accepted, upstream, preparation)
        request.pending_answer = answer
        if preparation is not None:
            preparation.refused = answer.end
        if planned.at == "body":
            begin(request, planned, None)
            request.write(b"")
        return answer

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
            return self._forward(request, cast("Target", answer.target), timing(planned, measured))
        if planned.at == "headers":
            begin(request, planned, measured)
        return deliver(request, planned, self.clock, self.settings.max_delay)

    def predict(self, request: ServedRequest) -> Reply:
        """Predict the delays that the parameters ask for.

        Raises:
            Refused: the request is invalid.
        """
        return json_page(plan.predict(_query(request), self.settings).as_json())

    def _plan(self, request: ServedRequest, endpoint: Endpoint, argument: str | None) -> tuple[Plan, Target | None]:
        """Read the arguments of a request.

        Returns:
            The plan, and the place to pass the request on to; None for a request that is answered here.
        """
        if endpoint == "delayed":
            return self._delayed(request, argument)(), None
        if endpoint == "drip":
            return plan.plan_drip(_query(request), self.settings), None
        if endpoint in ("sse", "jsonl"):
            kind: Kind = "sse" if endpoint == "sse" else "ndjson"
            return plan.plan_events(_query(request), kind, self.settings, self.source), None
        if endpoint == "delay":
            return plan.plan_echo(argument or "", b"", self.settings), None
        if endpoint == "via":
            return self._via(request, argument or "")
        name = self.settings.default_scenario if endpoint == "default" else argument
        if name is None:
            raise Refused(not_found(request.path))
        # Under a plain `Site` the request is Twisted's own, which does not have the attribute.
        whole = endpoint == "default" or getattr(request, "whole_path", False)
        return self._scenario(request, name, lambda: 0 if whole else mounted(request.uri, b"as"))

    def _delayed(self, request: ServedRequest, path_delay: str | None) -> Callable[[], Plan]:
        """Read a URL, and remember its arguments for the same URL."""
        query, fields = _query(request), list(_fields(request))
        if fields:
            return self._prepared(plan.read_arguments(query, path_delay, self.settings, fields))
        return self._remembered((query, path_delay), lambda: plan.read_arguments(query, path_delay, self.settings))

    def _via(self, request: ServedRequest, name: str) -> tuple[Plan, Target]:
        upstream = self._target(request, name, mounted(request.uri, b"via"))
        planned = plan.plan_via(_fields(request), self.settings, self.source)
        return _unless_forwarded(request, planned), upstream

    def _scenario(self, request: ServedRequest, name: str, before: Callable[[], int]) -> tuple[Plan, Target | None]:
        """Plan the answer of a scenario to a request.

        Args:
            request: the request, whose path and headers choose the rule.
            name: the scenario's name.
            before: counts the segments of the path before the client's own; most scenarios never ask.
        """
        rule = self.scenarios.find(name).rule(lambda: _matched(request, before()))
        fields = list(_fields(request))
        prepared = self._prepared(scenarios.overridden(rule, fields, self.settings)) if fields else self._plan_of(rule)
        # Before anything is drawn: a request that is refused takes no draw from the others.
        upstream = rule.arguments.get("upstream")
        target = None if upstream is None else self._target(request, upstream, before())
        planned = prepared()
        return _unless_forwarded(request, planned), target

    def _plan_of(self, rule: Rule) -> Callable[[], Plan]:
        found: Callable[[], Plan] | None = rule.plans.get(self)
        if found is None:
            found = rule.plans[self] = self._prepared(rule.arguments)
        return found

    def _prepared(self, arguments: plan.Arguments) -> Callable[[], Plan]:
        return plan.prepare(arguments, self.settings, self.source)

    def _remembered(self, key: Hashable, read: Callable[[], plan.Arguments]) -> Callable[[], Plan]:
        found = self._known.get(key)
        if found is None:
            found = self._prepared(read())
            if len(self._known) == MAX_KNOWN:
                self._known.clear()
            self._known[key] = found
        return found

    def _forward(self, request: ServedRequest, target: Target, header: tuple[bytes, bytes]) -> Deferred[bytes]:
        from latebin.answers.via import forward  # noqa: PLC0415  # for services that have upstreams

        return forward(
            request,
            target,
            upstreams=cast("Asker", self.upstreams),
            clock=self.clock,
            settings=self.settings,
            timing=header,
        )

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
            raise Refused(Problem(404, "There is no upstream of this name.", parameter="name", given=name))
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
    last = request.getHeader(b"Last-Event-ID")
    if not last or planned.stream is None or planned.stream.kind != "sse":
        return planned
    text = last.decode("latin-1")
    try:
        rest = planned.stream.behind(text)
    except ValueError as error:
        detail = f"This stream cannot go on behind the last event: {error}."
        raise wrong(detail, "Last-Event-ID", text, "the id of an event of this stream") from None
    return attrs.evolve(planned, **({"status": 204, "body": None, "stream": None} if rest.ended else {"stream": rest}))


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


def _fields(request: ServedRequest) -> Iterator[tuple[str, str]]:
    """Find the parameters in request headers, with their names."""
    for name, values in request.requestHeaders.getAllRawHeaders():
        # Twisted spells every name in this way, however the client spelt it.
        if name.startswith(b"Latebin-"):
            for value in values:
                yield name.decode("latin-1").lower().removeprefix(PREFIX), value.decode("latin-1")


def _matched(request: ServedRequest, before: int) -> tuple[str, str, Callable[[str], list[str]]]:
    """Return the method, path and headers that the rules of a scenario match."""

    def values(name: str) -> list[str]:
        given = request.requestHeaders.getRawHeaders(name.encode("latin-1"), [])
        return [value.decode("latin-1") for value in given]

    return request.method.decode("latin-1"), rest(request.uri, before), values


def _unless_forwarded(request: ServedRequest, planned: Plan) -> Plan:
    """Drop the body of a request that turns out to be answered here.

    Raises:
        Refused: 503, the body that is to be passed on was dropped already.
    """
    if not planned.forwarded and isinstance(request.content, StreamedBody):
        request.content.close()
    if planned.forwarded and type(request.content) is DroppedBody and request.content.tell():
        # Its headers came while the scenario had no upstream. Without its body, the upstream would see another request.
        raise Refused(CHANGED_MEANWHILE)
    return planned

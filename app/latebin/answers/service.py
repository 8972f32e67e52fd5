"""What a style is given, so that it is left with nothing but how that style says it."""

import random
from collections.abc import Callable, Iterator
from typing import Final, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IAgent

from latebin.answers.delivery import deliver
from latebin.answers.form import understand
from latebin.answers.head import begin, timing
from latebin.answers.pending import Pending, Room
from latebin.answers.promise import Promise
from latebin.answers.request_body import Upload
from latebin.answers.seed_counter import Turns
from latebin.answers.via import Forward
from latebin.core.http.echo import MAX_BODY, told
from latebin.core.http.echo import Asked as Told
from latebin.core.http.reply import FULL, Problem, Refused, Reply, json_page, too_large
from latebin.core.http.upstream_url import target
from latebin.core.parameters import PREFIX, wrong
from latebin.core.plan import Plan, Source, ask, drip, echo, foresee, planner, read_via
from latebin.core.settings import Settings
from latebin.overrides.request import Request
from latebin.timing import clock

MAX_KNOWN: Final = 1024
"""How many URLs are remembered with what they ask for; before one more, all are forgotten."""


def _source() -> Source:
    return Source(Turns().next, random.SystemRandom().random)


@attrs.frozen(eq=False)
class Service:
    """The part of the service that does not depend on the style; each style has one of its own.

    Attributes:
        clock: where every delay comes from.
        settings: what the operator chose.
        source: where every draw comes from.
        agent: what requests are passed on through; None where there is nowhere to pass them on to.
        room: how much may be pending; styles that are served together share it.
        pending: who is waiting for this style's answers.
    """

    clock: IReactorTime = attrs.field(factory=clock.system)
    settings: Settings = attrs.field(factory=Settings)
    source: Source = attrs.field(factory=_source)
    agent: IAgent | None = None
    room: Room = attrs.field(factory=Room)
    _known: dict[tuple[bytes, str | None], Callable[[], Plan]] = attrs.field(factory=dict, init=False)
    pending: Pending = attrs.field(init=False, default=attrs.Factory(lambda self: self.room.share(), takes_self=True))

    def accept(self, request: Request, path_delay: str | None = None) -> Promise:
        """Decide what a request is promised; send the headers if they are not to wait.

        Raises:
            Refused: the request asks for what there is not, or there is no room for another.
        """
        accepted = self._admit()
        plan = self._planner(_query(request), path_delay)()
        promise = _promised(request, plan, accepted)
        if plan.at == "body":
            begin(request, plan, None)
            request.write(b"")
        return promise

    def _planner(self, query: bytes, path_delay: str | None) -> Callable[[], Plan]:
        """Read a URL, and remember it: those who test ask for the same again and again."""
        key = query, path_delay
        found = self._known.get(key)
        if found is None:
            found = planner(ask(query, path_delay, self.settings), self.settings, self.source)
            if len(self._known) == MAX_KNOWN:
                self._known.clear()
            self._known[key] = found
        return found

    def _admit(self) -> float:
        # Before anything is read: what is refused for want of room takes no draw from those that are answered.
        if self.room.full:
            raise Refused(FULL)
        return self.clock.seconds()

    def echo(self, request: Request, seconds: str) -> Promise:
        """Decide when a request is told what it was.

        Raises:
            Refused: the seconds are none, or the body is too large or malformed.
        """
        accepted = self._admit()
        answer = told(_told_of(request, MAX_BODY))
        return _promised(request, echo(seconds, answer, self.settings), accepted)

    def drip(self, request: Request) -> Promise:
        """Decide when a request is sent how many bytes.

        Raises:
            Refused: the request asks for what there is not.
        """
        accepted = self._admit()
        return _promised(request, drip(_query(request), self.settings), accepted)

    def answer(self, request: Request, promise: Promise) -> Deferred[bytes]:
        """Answer as planned, telling how late it is.

        Returns:
            A Deferred of what is left for the style to write before it finishes the request.
        """
        plan, measured = promise.plan, promise.keep(self.clock.seconds())
        if plan.at == "headers":
            begin(request, plan, measured)
        return deliver(request, plan, self.clock, self.settings.max_delay)

    def accept_via(self, request: Request, name: str) -> Promise:
        """Decide what a request is promised that is to be passed on.

        Args:
            request: what asks for it, in headers; path and query are the upstream's.
            name: of the upstream.

        Raises:
            Refused: there is no such upstream, the request asks for what there is not, or its target is none.
        """
        accepted = self._admit()
        self._target(request, name)
        plan = read_via(_headers(request), self.settings, self.source)
        if not plan.forwarded and isinstance(request.content, Upload):
            request.content.close()
        return _promised(request, plan, accepted)

    def forward(self, request: Request, name: str, promise: Promise) -> Deferred[bytes]:
        """Pass a request on, and its answer back, or answer as planned instead.

        Returns:
            A Deferred of what is left for the style to write before it finishes the request.
        """
        plan = promise.plan
        if not plan.forwarded:
            return self.answer(request, promise)
        return Forward(
            request,
            self._target(request, name),
            agent=cast("IAgent", self.agent),
            clock=self.clock,
            timeout=self.settings.upstream_timeout,
            timing=timing(plan, promise.keep(self.clock.seconds())),
        ).sent

    def _target(self, request: Request, name: str) -> bytes:
        if name not in self.settings.upstreams:
            raise Refused(Problem(404, "There is no upstream of this name.", parameter="name", given=name))
        try:
            return target(self.settings.upstreams[name], request.uri)
        except ValueError as error:
            given = request.uri.decode("latin-1")
            raise wrong(f"This cannot be passed on: {error}.", "path", given, "visible ASCII without ..") from None

    def predict(self, request: Request) -> Reply:
        """Answer at once what to expect of a delay.

        Raises:
            Refused: the request asks for what there is not.
        """
        return json_page(foresee(_query(request), self.settings).as_json())


def _promised(request: Request, plan: Plan, accepted: float) -> Promise:
    promise = request.promise = Promise(plan, accepted)
    return promise


def _query(request: Request) -> bytes:
    return request.uri.partition(b"?")[2]


def _told_of(request: Request, longest: int) -> Told:
    headers = request.requestHeaders
    content_type = (request.getHeader(b"Content-Type") or b"").decode("latin-1")
    return Told(
        target=request.uri,
        headers=[(name, value) for name, values in headers.getAllRawHeaders() for value in values],
        content=understand(content_type, _body(request, longest)),
        client=getattr(request.getClientAddress(), "host", None),
        server=_server(request),
        secure=request.isSecure(),
    )


def _body(request: Request, longest: int) -> bytes:
    request.content.seek(0)
    body = request.content.read(longest + 1)
    if len(body) > longest:
        raise Refused(too_large("The body is too large to be told of.", longest))
    return body


def _server(request: Request) -> str:
    address = request.getHost()
    # A UNIX socket has no host; whoever connects to it is on this machine.
    host, port = getattr(address, "host", "localhost"), getattr(address, "port", 80)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _headers(request: Request) -> Iterator[tuple[str, str]]:
    for name, values in request.requestHeaders.getAllRawHeaders():
        asked = name.decode("latin-1").lower()
        if asked.startswith(PREFIX):
            for value in values:
                yield asked.removeprefix(PREFIX), value.decode("latin-1")

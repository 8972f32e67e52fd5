"""What a style is given, so that it is left with nothing but how that style says it."""

import random

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from app import clock
from app.delivery import deliver
from app.echo import Asked, told
from app.form import understand
from app.head import head
from app.pending import Pending
from app.plan import Plan, Source, drip, echo, foresee, read
from app.reply import Problem, Refused, Reply, json_page
from app.request import Request
from app.settings import Settings
from app.size import render
from app.turns import Turns


def _source() -> Source:
    return Source(Turns().next, random.SystemRandom().random)


@attrs.frozen(eq=False)
class Service:
    """The part of the service that does not depend on the style; each style has one of its own.

    Attributes:
        clock: where every delay comes from.
        settings: what the operator chose.
        source: where every draw comes from.
        pending: who is waiting for this style's answers.
    """

    clock: IReactorTime = attrs.field(factory=clock.system)
    settings: Settings = attrs.field(factory=Settings)
    source: Source = attrs.field(factory=_source)
    pending: Pending = attrs.field(factory=Pending, init=False)

    def accept(self, request: Request, path_delay: str | None = None) -> Plan:
        """Decide what a request is promised; send the headers if they are not to wait.

        Raises:
            Refused: the request asks for what there is not.
        """
        plan = read(_query(request), path_delay, self.settings, self.source, self.clock.seconds())
        request.plan = plan
        if plan.at == "body":
            head(plan, None).start(request)
            request.write(b"")
        return plan

    def echo(self, request: Request, seconds: str) -> Plan:
        """Decide when a request is told what it was.

        Raises:
            Refused: the seconds are none, or the body is too large or malformed.
        """
        answer = told(_asked(request, self.settings.max_body))
        request.plan = echo(seconds, answer, self.settings, self.clock.seconds())
        return request.plan

    def drip(self, request: Request) -> Plan:
        """Decide when a request is sent how many bytes.

        Raises:
            Refused: the request asks for what there is not.
        """
        request.plan = drip(_query(request), self.settings, self.clock.seconds())
        return request.plan

    def answer(self, request: Request, plan: Plan) -> Deferred[bytes]:
        """Answer as planned, telling how late it is.

        Returns:
            A Deferred of what is left for the style to write before it finishes the request.
        """
        request.measured = self.clock.seconds() - plan.started
        if plan.at == "headers":
            head(plan, request.measured).start(request)
        return deliver(request, plan, self.clock, self.settings.max_delay)

    def predict(self, request: Request) -> Reply:
        """Answer at once what to expect of a delay.

        Raises:
            Refused: the request asks for what there is not.
        """
        return json_page(foresee(_query(request), self.settings).as_json())


def _query(request: Request) -> bytes:
    return request.uri.partition(b"?")[2]


def _asked(request: Request, longest: int) -> Asked:
    headers = request.requestHeaders
    content_type = (request.getHeader(b"Content-Type") or b"").decode("latin-1")
    return Asked(
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
        accepted = f"at most {render(longest)} bytes"
        raise Refused(Problem(413, "The body is too large to be told of.", parameter="body", accepted=accepted))
    return body


def _server(request: Request) -> str:
    address = request.getHost()
    # A UNIX socket has no host; whoever connects to it is on this machine.
    host, port = getattr(address, "host", "localhost"), getattr(address, "port", 80)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

"""What a style is given, so that it is left with nothing but how that style says it."""

import random

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from app import clock
from app.delivery import deliver
from app.head import head
from app.pending import Pending, Room
from app.plan import Plan, Source, foresee, read
from app.reply import FULL, Refused, Reply, json_page
from app.request import Request
from app.settings import Settings
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
        room: how much may be pending; styles that are served together share it.
        pending: who is waiting for this style's answers.
    """

    clock: IReactorTime = attrs.field(factory=clock.system)
    settings: Settings = attrs.field(factory=Settings)
    source: Source = attrs.field(factory=_source)
    room: Room = attrs.field(factory=Room)
    pending: Pending = attrs.field(init=False, default=attrs.Factory(lambda self: self.room.share(), takes_self=True))

    def accept(self, request: Request, path_delay: str | None = None) -> Plan:
        """Decide what a request is promised; send the headers if they are not to wait.

        Raises:
            Refused: the request asks for what there is not, or there is no room for another.
        """
        # Before it is read: what is refused for want of room takes no draw from those that are answered.
        if self.room.full:
            raise Refused(FULL)
        plan = read(_query(request), path_delay, self.settings, self.source, self.clock.seconds())
        request.plan = plan
        if plan.at == "body":
            head(plan, None).start(request)
            request.write(b"")
        return plan

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

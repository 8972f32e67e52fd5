"""What a style is given, so that it is left with nothing but how that style says it."""

import attrs
from twisted.internet.interfaces import IReactorTime

from app import clock
from app.pending import Pending
from app.plan import Plan, read
from app.reply import Reply, sorry
from app.request import Request
from app.settings import Settings


@attrs.frozen(eq=False)
class Service:
    """The part of the service that does not depend on the style; each style has one of its own.

    Attributes:
        clock: where every delay comes from.
        settings: what the operator chose.
        pending: who is waiting for this style's answers.
    """

    clock: IReactorTime = attrs.field(factory=clock.system)
    settings: Settings = attrs.field(factory=Settings)
    pending: Pending = attrs.field(factory=Pending, init=False)

    def plan(self, request: Request, path_delay: str | None = None) -> Plan:
        """Decide what a request is promised, and note it on the request for the access log.

        Raises:
            Refused: the request asks for what there is not.
        """
        query = request.uri.partition(b"?")[2]
        request.plan = read(query, path_delay, self.settings, self.clock.seconds())
        return request.plan

    def sorry(self, request: Request, plan: Plan) -> Reply:
        """Answer as planned, telling how late it is."""
        request.measured = self.clock.seconds() - plan.started
        return sorry(asked=plan.wait, measured=request.measured)

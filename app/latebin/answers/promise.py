"""What a request is promised, and how that is kept."""

import attrs

from latebin.core.plan import Plan


@attrs.define(eq=False)
class Promise:
    """What one request was promised: the plan may be that of many.

    It is an object of its own because CPython keeps what an instance has within the instance only as long as its class
    knows of no more than thirty names (`SHARED_KEYS_MAX_SIZE`), and Twisted's request has 25 by itself.

    Attributes:
        plan: how it is to be answered.
        accepted: when that was promised, in seconds of the service's clock.
        measured: seconds from then to its answer; None until there is one.
    """

    plan: Plan
    accepted: float
    measured: float | None = attrs.field(default=None, init=False)

    @property
    def due(self) -> float:
        """When it is to be answered, in seconds of the service's clock."""
        return self.accepted + self.plan.wait

    def keep(self, now: float) -> float:
        """Take note that it is answered now, in seconds of the service's clock; tell how long that took."""
        self.measured = now - self.accepted
        return self.measured

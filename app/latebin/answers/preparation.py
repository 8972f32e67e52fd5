"""The content of an answer, made piece by piece while the answer waits."""

from collections.abc import Callable, Generator

import attrs
from twisted.logger import Logger

from latebin.core.http.reply import BROKEN, Problem, Refused
from latebin.timing.budget import TurnBudget

log = Logger()


@attrs.define(eq=False)
class Preparation:
    """Content that may take longer to make than one turn of the reactor.

    Attributes:
        budget: the budget of each turn.
        content: the content; empty before it is whole.
        refused: a function that is called with the reason if there can be no content; None for no call.
        problem: that reason.
    """

    _steps: Generator[None, None, bytes] | None
    budget: TurnBudget
    content: bytes = attrs.field(default=b"", init=False)
    refused: Callable[[Problem], object] | None = attrs.field(default=None, init=False)
    problem: Problem | None = attrs.field(default=None, init=False)

    @property
    def done(self) -> bool:
        """Whether nothing is left to be made."""
        return self._steps is None

    def start(self) -> None:
        """Make what this turn has room for, all of it in nearly every case.

        Raises:
            Refused: there can be no content.
        """
        self._advance()
        if not self.done:
            self.budget.begin()
        while not self.done:
            if self.budget.spent():
                self.budget.enter(self)
                return
            self._advance()
        if self.problem is not None:
            raise Refused(self.problem)

    def step(self) -> None:
        """Make one piece, in a turn that has room for it."""
        self._advance()
        if not self.done:
            self.budget.enter(self)
        elif self.problem is not None and self.refused is not None:
            self.refused(self.problem)

    def stop(self) -> None:
        """Make no more: the answer was given without it, or is not wanted."""
        self._steps = self.refused = None
        self.budget.leave(self)

    def _advance(self) -> None:
        if self._steps is None:
            return
        try:
            next(self._steps)
        except StopIteration as end:
            self.content, self._steps = end.value, None
        except Refused as refused:
            self.problem, self._steps = refused.problem, None
        except Exception:  # noqa: BLE001  # it is answered as every failure of the service
            log.failure("failed to make an answer")
            self.problem, self._steps = BROKEN, None

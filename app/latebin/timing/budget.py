"""A budget of work for each turn of the reactor, which all clients share."""

import math
from collections import OrderedDict
from typing import Final, Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

PIECES: Final = 16
"""Pieces of work in a turn, beside the first of each read."""

SECONDS: Final = 0.002
"""Seconds of a turn for these pieces: a fifth of the 10 ms that no turn may take for what one client sent."""

TURN: Final = 0.00075
"""Seconds that a turn may take while work waits. When all else takes longer, answers are late by so much."""

SHARE: Final = 1 / 8
"""The part of the time that work gets in longer turns, so that it always goes on."""

DEBT: Final = 10
"""The most turns' worth of time that a long piece is a debt for, such as the first use of a module."""


class Work(Protocol):
    """Work that is done piece by piece."""

    def step(self) -> None:
        """Do one piece; enter the budget again if there is more."""
        ...


@attrs.define(eq=False)
class TurnBudget:
    """The work that a turn of the reactor has room for.

    The first piece of all that a client sends is done at once, and needs no budget. So a client that sends one request
    at a time costs nothing here. Every further piece takes from the budget, which all connections share: many hostile
    clients get no more of a turn than one. Work without room waits, and is served in turn, a piece each.

    A number and the clock bound the budget. With a stopped clock, the number gives the same result each time. The time
    is for pieces that take longer than others.

    All else comes first: when it takes `turn`, work has SHARE of the time. A piece that took longer than there was time
    for is a debt of the turns that follow, up to a bound.

    Attributes:
        clock: the clock of the turns: a call without a delay is made in the next one.
        pieces: pieces in a turn.
        seconds: seconds after which a turn takes no further piece.
        turn: seconds that a turn may take while work waits.
    """

    clock: IReactorTime
    pieces: int = PIECES
    seconds: float = SECONDS
    turn: float = TURN
    _waiting: "OrderedDict[Work, None]" = attrs.field(factory=OrderedDict, init=False)
    _call: IDelayedCall | None = attrs.field(default=None, init=False)
    _left: int = attrs.field(default=0, init=False)
    _until: float = attrs.field(default=-math.inf, init=False)
    _ended: float = attrs.field(default=0.0, init=False)
    _room: float = attrs.field(default=0.0, init=False)
    _busy: bool = attrs.field(default=False, init=False)

    def begin(self) -> None:
        """Take note that work begins outside of `step`, at the first of its pieces."""
        # As long as nothing waits, no call marks the turns: after a while, this is taken for another one.
        if self._call is None and self.clock.seconds() >= self._until + self.seconds:
            # In a turn that all else has filled, work has to wait until the next one has been measured.
            self._renew(0.0 if self._busy else self.seconds)

    def spent(self) -> bool:
        """Take a piece from the budget of this turn.

        Returns:
            Whether there was nothing left to take, so that the work has to wait.
        """
        self._left -= 1
        return self._left < 0 or self.clock.seconds() >= self._until

    def over(self) -> bool:
        """Return whether the time of this turn is over.

        Work of small parts stops within a piece then.
        """
        return self.clock.seconds() >= self._until

    def enter(self, work: Work) -> None:
        """Let work wait for the next turn that has room for a piece of it."""
        self._waiting[work] = None
        if self._call is None:
            self._ended = self.clock.seconds()
            self._call = self.clock.callLater(0, self._turn)

    def leave(self, work: Work) -> None:
        """Wait no longer, if the work does."""
        self._waiting.pop(work, None)
        if not self._waiting and self._call is not None:
            self._call.cancel()
            self._call = None

    def _renew(self, seconds: float) -> None:
        self._left, self._until = self.pieces, self.clock.seconds() + seconds

    def _turn(self) -> None:
        self._call = None
        began = self.clock.seconds()
        others = began - self._ended
        self._busy = others >= self.turn
        self._room = min(self._room + max(self.turn - others, others * SHARE), self.seconds)
        self._renew(self._room)
        try:
            while self._waiting and not self.spent():
                work, _ = self._waiting.popitem(last=False)
                work.step()
        finally:
            self._ended = self.clock.seconds()
            self._room = max(self._room - (self._ended - began), -DEBT * self.seconds)
            if self._waiting and self._call is None:
                self._call = self.clock.callLater(0, self._turn)

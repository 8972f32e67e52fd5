"""Where "now" and "later" come from."""

import time
from typing import cast

from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IReactorTime


def steady(reactor: object) -> IReactorTime:
    """Make a reactor keep the monotonic time, so that a step of the wall clock changes no delay.

    Twisted's reactors take `seconds` from `time.time`: a clock set back by 3 s makes a delay of 2 s take 5 s.

    Args:
        reactor: a reactor on which nothing is scheduled yet; a fake one, or one that has started, is left as it is.

    Returns:
        The same reactor, as the clock of every delay.
    """
    if isinstance(reactor, ReactorBase) and not reactor.getDelayedCalls():
        reactor.seconds = time.monotonic
    return cast("IReactorTime", reactor)


def system() -> IReactorTime:
    """Give the clock of this process: its global reactor, kept steady."""
    from twisted.internet import reactor  # noqa: PLC0415  # importing it installs it: not before it is wanted

    return steady(reactor)

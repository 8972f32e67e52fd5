from typing import TYPE_CHECKING, Any, cast

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred

from latebin.answers.forwarded import ForwardedAnswer
from latebin.answers.pending import Endable
from latebin.core.http.reply import STOPPING, Refused

if TYPE_CHECKING:
    from latebin.answers.interfaces import ServedRequest


@attrs.define
class Request:
    """A client's request, as far as it is used here."""

    startedWriting: int = 0
    broken: bool = False
    aborted: bool = False

    @property
    def transport(self) -> "Request":
        return self

    def abortConnection(self) -> None:
        self.aborted = True


@attrs.frozen
class Waiting:
    """An answer that waits for its upstream."""

    request: Request = attrs.field(factory=Request)
    registry: dict[int, Endable] = attrs.field(factory=dict)
    sent: Deferred[bytes] = attrs.field(factory=Deferred)
    results: list[Any] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        answer = ForwardedAnswer(cast("ServedRequest", self.request), self.sent, self.registry, 7)
        answer.start().addBoth(self.results.append)


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


def test_sent(waiting: Waiting) -> None:
    """An answer is in the registry until it is sent."""
    assert list(waiting.registry) == [7]
    waiting.sent.callback(b"")
    assert (waiting.results, waiting.registry) == ([b""], {})


def test_left(waiting: Waiting) -> None:
    """An answer leaves the registry when its client leaves."""
    waiting.sent.cancel()
    assert (waiting.results[0].type, waiting.registry) == (CancelledError, {})


def test_ended(waiting: Waiting) -> None:
    """An answer is a refusal when it is ended before it has begun."""
    waiting.registry[7].end(STOPPING)
    assert (waiting.results[0].type, waiting.results[0].value.problem) == (Refused, STOPPING)
    assert (waiting.request.aborted, waiting.registry) == (False, {})


def test_broken_off(waiting: Waiting) -> None:
    """An answer is broken off when it is ended after it has begun."""
    waiting.request.startedWriting = 1
    waiting.registry[7].end(STOPPING)
    assert (waiting.request.broken, waiting.request.aborted, waiting.results) == (True, True, [])

"""An upstream in memory."""

from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.testing import StringTransport

from latebin.answers.upstream_connection import Listener, Question


class Silent:
    """An upstream that takes all that it is sent, and never answers."""

    def __init__(self) -> None:
        self.upstream = StringTransport()
        self.given_up = 0
        self.body: Any = None

    def ask(self, question: Question, listener: Listener) -> "Silent":
        self.body = question.body
        if self.body is not None:
            self.body.startProducing(self.upstream).addErrback(lambda _: None)
        return self

    def cancel(self) -> None:
        self.given_up += 1

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        pass

    def tunnel(self, producer: IPushProducer) -> None:
        pass

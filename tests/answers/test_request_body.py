from typing import Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.testing import StringTransport
from twisted.web.iweb import UNKNOWN_LENGTH

from latebin.answers.request_body import WINDOW, StreamedBody

MOST = 1024**2


class Source:
    """A connection that remembers whether it is held."""

    held = False

    def hold(self) -> None:
        assert not self.held
        self.held = True

    def release(self) -> None:
        assert self.held
        self.held = False


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def upload(source: Source) -> StreamedBody:
    return StreamedBody(None, source, MOST)


@pytest.fixture
def consumer() -> Any:
    return StringTransport()


def test_length(source: Source) -> None:
    """A body has the length that was announced, or none that is known."""
    assert StreamedBody(5, source, MOST).length == 5
    assert StreamedBody(None, source, MOST).length is UNKNOWN_LENGTH


def test_kept(upload: StreamedBody, source: Source, consumer: Any) -> None:
    """Bytes are kept up to a window, then the source is held, without a consumer."""
    upload.write(b"x" * (WINDOW - 1))
    assert not source.held
    upload.write(b"y")
    assert source.held
    upload.startProducing(consumer)
    assert not source.held
    assert consumer.value() == b"x" * (WINDOW - 1) + b"y"


def test_paused(upload: StreamedBody, source: Source, consumer: Any) -> None:
    """Bytes that come during a pause are kept up to a window."""
    upload.startProducing(consumer)
    upload.pauseProducing()
    upload.write(b"x" * WINDOW)
    assert source.held
    assert consumer.value() == b""
    upload.resumeProducing()
    assert not source.held
    assert consumer.value() == b"x" * WINDOW


@pytest.mark.parametrize("paused", [False, True])
def test_whole(upload: StreamedBody, consumer: Any, paused: bool) -> None:  # noqa: FBT001  # both ways
    """A body is produced when all of it was passed on, without empty writes."""
    produced: list[object] = []
    upload.startProducing(consumer).addCallback(produced.append)
    if paused:
        upload.pauseProducing()
    upload.write(b"all")
    upload.complete()
    assert produced == [None] * (not paused)
    upload.resumeProducing()
    assert produced == [None]
    assert consumer.value() == b"all"


def test_starved(upload: StreamedBody, consumer: Any) -> None:
    """The client is waited for when all bytes so far were passed on."""
    assert upload.starved
    upload.write(b"x")
    assert not upload.starved
    upload.startProducing(consumer)
    assert upload.starved
    upload.pauseProducing()
    assert not upload.starved
    upload.resumeProducing()
    upload.complete()
    assert not upload.starved


def test_closed(upload: StreamedBody, source: Source, consumer: Any) -> None:
    """The rest is dropped, and the consumer notified, when the request is over."""
    failures: list[Any] = []
    upload.startProducing(consumer).addErrback(failures.append)
    upload.pauseProducing()
    upload.write(b"x" * WINDOW)
    upload.close()
    assert not source.held
    assert [failure.type for failure in failures] == [CancelledError]
    upload.write(b"x" * WINDOW)
    upload.complete()
    assert not source.held
    assert consumer.value() == b""


def test_stopped(upload: StreamedBody, source: Source, consumer: Any) -> None:
    """A consumer that has stopped gets no more, and the rest is dropped."""
    fired: list[object] = []
    upload.startProducing(consumer).addBoth(fired.append)
    upload.stopProducing()
    upload.write(b"x" * WINDOW)
    upload.complete()
    assert (fired, source.held, consumer.value()) == ([], False, b"")

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
    """What comes before anybody wants it is kept up to a window, then the source is held until it is wanted."""
    upload.write(b"x" * (WINDOW - 1))
    assert not source.held
    upload.write(b"y")
    assert source.held
    upload.startProducing(consumer)
    assert not source.held
    assert consumer.value() == b"x" * (WINDOW - 1) + b"y"


def test_paused(upload: StreamedBody, source: Source, consumer: Any) -> None:
    """What comes in a pause is kept up to a window as well."""
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
    """A body is produced once all of it has come and was passed on, and it never passes on nothing."""
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
    """It is the client who is waited for, unless something of the body is here, or all of it."""
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
    """When the request is over, what was kept and what still comes is dropped, and whoever was to have it is told."""
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
    """A consumer that wants no more is told no more, and the rest is dropped."""
    fired: list[object] = []
    upload.startProducing(consumer).addBoth(fired.append)
    upload.stopProducing()
    upload.write(b"x" * WINDOW)
    upload.complete()
    assert (fired, source.held, consumer.value()) == ([], False, b"")

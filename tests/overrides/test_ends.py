"""How an answer that was lost is named, by the log and in the figures."""

from collections.abc import Callable, Iterator
from typing import cast

import attrs
import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame, RstStreamFrame
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher

from latebin.answers.service import Service
from latebin.core.endpoints import PREFIXES
from latebin.core.http.reply import STOPPING
from latebin.core.settings import Settings
from latebin.overrides.request import Request
from latebin.site.factory import ServiceSite
from latebin.site.root import Root
from latebin.telemetry.access import NAMESPACE
from tests.overrides.test_http2 import Line
from tests.overrides.test_http2_conformance import (
    AUTHORITY,
    PING,
    POST,
    SCHEME,
    START,
    Peer,
    data,
    goaway,
    headers,
    reset,
)
from tests.support.silent import Silent
from tests.support.wire import Wire


@attrs.frozen
class Site:
    """A service, and the access events that it has published."""

    clock: Clock
    site: ServiceSite
    root: Root
    prefix: str
    events: list[LogEvent] = attrs.field(factory=list)

    def peer(self) -> Peer:
        return Peer(Line(self.site, self.clock), self.clock)

    def late(self, path: str = "/delayed/1m") -> bytes:
        return headers(((":method", "GET"), SCHEME, (":path", self.prefix + path), AUTHORITY))

    def statuses(self) -> list[int | str]:
        return [event["status"] for event in self.events if event["log_namespace"] == NAMESPACE]

    def figures(self) -> str:
        return self.root.metrics.page().body.decode()


@pytest.fixture
def site(prefix: str) -> Iterator[Site]:
    clock, settings = Clock(), Settings(upstreams={"up": "http://up"})
    klein, resource = (Service(clock, settings, upstreams=Silent()) for _ in PREFIXES)
    root = Root(klein, resource, settings)
    site = Site(clock, ServiceSite(root, clock, settings=settings), root, prefix)
    observer = cast("ILogObserver", site.events.append)
    globalLogPublisher.addObserver(observer)
    yield site
    globalLogPublisher.removeObserver(observer)


def leave(_: Site, peer: Peer) -> None:
    peer.line.leave()


def cancel(_: Site, peer: Peer) -> None:
    peer.send(reset())


def end_with_error(_: Site, peer: Peer) -> None:
    peer.send(goaway(ErrorCodes.INTERNAL_ERROR))


def break_frames(_: Site, peer: Peer) -> None:
    peer.send(data(stream=0))


def break_stream(_: Site, peer: Peer) -> None:
    peer.send(data())


def stop(site: Site, _: Peer) -> None:
    site.root.connections.abort()
    site.clock.advance(0)


WAYS: list[tuple[Callable[[Site, Peer], None], str]] = [
    (leave, "left"),
    (cancel, "left"),
    (end_with_error, "goaway"),
    (break_frames, "protocol_error"),
    (break_stream, "protocol_error"),
    (stop, "aborted"),
]


@pytest.mark.parametrize(("way", "end"), WAYS)
def test_named(site: Site, style: str, way: Callable[[Site, Peer], None], end: str) -> None:
    """A pending answer of HTTP/2 is lost by the name of what ended it."""
    peer = site.peer()
    peer.send(START + site.late())
    way(site, peer)
    assert site.statuses() == [end]
    left = f'latebin_left_total{{style="{style}"}} {1.0 if end == "left" else 0.0}'
    assert left in site.figures()
    if end != "left":
        assert f'latebin_lost_total{{end="{end}",style="{style}"}} 1.0' in site.figures()


def test_timeout(site: Site) -> None:
    """An answer is lost by a timeout when its client reads nothing for a minute."""
    peer = site.peer()
    peer.send(START + site.late("/delayed/0?size=1m"))
    site.clock.pump([30, 30, 0, 0])
    assert site.statuses() == ["timeout"]
    peer.send(b"")
    assert peer.of(GoAwayFrame)[0].error_code == ErrorCodes.ENHANCE_YOUR_CALM


def test_dismissed(site: Site) -> None:
    """An answer that has begun is lost as aborted when the drain ends."""
    peer = site.peer()
    peer.send(START + site.late("/drip?delay=0&duration=200"))
    site.root.connections.dismiss(STOPPING.reply())
    site.clock.advance(0)
    assert site.statuses() == ["aborted"]


def test_failed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pending answer is lost as failed when an exception ends its stream."""
    peer = site.peer()
    peer.send(START + headers((*POST[:2], (":path", f"{site.prefix}/via/up/"), AUTHORITY), end=False))

    def throw(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(Request, "handleContentChunk", throw)
    peer.send(data(end=False))
    assert site.statuses() == ["failed"]
    assert [each.error_code for each in peer.of(RstStreamFrame)] == [ErrorCodes.INTERNAL_ERROR]


@pytest.mark.parametrize(("end", "way"), [("left", "leave"), ("aborted", "stop")])
def test_http1(site: Site, end: str, way: str) -> None:
    """A pending answer of HTTP/1.1 is lost by the name of what ended it."""
    wire = Wire(site.site, site.clock)
    wire.send(f"GET {site.prefix}/delayed/1m HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    if way == "leave":
        wire.leave()
    else:
        site.root.connections.abort()
        site.clock.advance(0)
    assert site.statuses() == [end]


def test_goaway(site: Site) -> None:
    """Pending answers are given, then the connection closed, after the client's GOAWAY."""
    peer = site.peer()
    peer.send(START + site.late())
    peer.send(goaway(ErrorCodes.NO_ERROR) + PING)
    assert peer.line.connected
    site.clock.advance(60)
    peer.send(b"")
    assert peer.statuses == {1: "200"}
    assert site.statuses() == [200]
    assert [each.error_code for each in peer.of(GoAwayFrame)] == [ErrorCodes.NO_ERROR]
    assert not peer.line.connected


def test_stop(site: Site) -> None:
    """A new stream is refused by a GOAWAY, and earlier ones answered, during a stop."""
    peer = site.peer()
    peer.send(START + site.late())
    ended = site.root.connections.end()
    peer.send(headers(stream=3))
    [announced] = peer.of(GoAwayFrame)
    assert (announced.error_code, announced.last_stream_id) == (ErrorCodes.NO_ERROR, 1)
    assert [each.error_code for each in peer.of(RstStreamFrame, 3)] == [ErrorCodes.REFUSED_STREAM]
    site.clock.advance(60)
    peer.send(b"")
    assert peer.statuses == {1: "200"}
    assert ended.called


def test_resets(site: Site) -> None:
    """A connection is ended when more of its streams are reset than are allowed."""
    for end in (reset(), data()):
        peer = site.peer()
        peer.send(START)
        number = 1
        while peer.line.connected:
            assert number < 3000
            peer.send(_numbered(site.late(), number) + _numbered(end, number))
            number += 2
        assert peer.of(GoAwayFrame)[0].error_code == ErrorCodes.ENHANCE_YOUR_CALM


def _numbered(frame: bytes, number: int) -> bytes:
    return frame[:5] + number.to_bytes(4, "big") + frame[9:]

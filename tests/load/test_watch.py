from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from click.testing import CliRunner

from latebin.cli.main import cli
from latebin.cli.watch import figures, verdict
from latebin.load.watch import Arrival, Watched, WatchError, watch

BOUND = 30.0


def watched(*times: tuple[float, float]) -> Watched:
    """Make a stream from the moments when its events left and came."""
    return Watched([Arrival(number, left, left, came) for number, (left, came) in enumerate(times, 1)])


def test_through() -> None:
    """A stream comes through when its events come as they left, after any way."""
    found = watched((0.0, 5.0), (1.0, 6.0), (2.0, 7.05))
    assert found.held() == pytest.approx([0.0, 0.0, 0.05])
    assert found.burst() is None
    assert verdict(found) == "Streams through: 3 events, the latest 50 ms behind the others."


def test_buffered() -> None:
    """A stream is held back when events that left one by one come at once."""
    found = watched(*((0.5 * n, 5.0) for n in range(10)), (5.0, 5.5))
    burst = found.burst()
    assert burst is not None
    assert (burst.number, burst.held) == (10, 4.5)
    assert verdict(found).startswith("Buffered: held back for up to 4.5 s and let go in one burst of 10: something")
    assert figures(found)["burst"] == {"events": 10, "held_ms": 4500.0}


def test_one_late_event() -> None:
    """A single late event does not count: a network can lose a packet."""
    assert watched((0.0, 0.0), (1.0, 1.9), (2.0, 2.0)).burst() is None


def test_burst_at_the_source() -> None:
    """Events that leave together and come together are not held back."""
    assert watched((0.0, 0.0), (1.0, 1.2), (1.0, 1.2), (1.0, 1.2)).burst() is None


def test_one_event() -> None:
    """A stream of one event has no verdict."""
    assert verdict(watched((0.0, 1.0))).startswith("No verdict")


class Answers(BaseHTTPRequestHandler):
    """A server whose path says what it answers."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        body = {
            "/page": b"<html>\n</html>\n",
            "/long": b"x" * (2 << 20),
            "/stream": b'{"n": 1, "due_ms": 0, "left_ms": 0}\n{"n": "x", "due_ms": 1}\n[1]\n5\n',
            "/torn": b'{"n": 1, "due_ms": 0, "left_ms": 0}\n',
        }[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) + (self.path == "/torn")))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the base class
        """Log nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_read(url: str) -> None:
    """Lines that are not events are passed over."""
    found = watch(f"{url}/stream", longest=BOUND, most=9)
    assert [(each.number, each.left) for each in found.arrivals] == [(1, 0.0)]
    assert found.whole


def test_broken_off(url: str) -> None:
    """A stream that ends before its announced length is reported as broken off."""
    found = watch(f"{url}/torn", longest=BOUND, most=9)
    assert not found.whole
    assert "broke off" in verdict(found)


@pytest.mark.parametrize(
    ("path", "reason"), [("/missing", "404"), ("/page", "no event of this service"), ("/long", "a line is too long")]
)
def test_not_a_stream(url: str, path: str, reason: str) -> None:
    """An answer that is not a stream is refused with the reason."""
    with pytest.raises(WatchError, match=reason):
        watch(f"{url}{path}", longest=BOUND, most=9)


@pytest.mark.parametrize("url", ["localhost", "ftp://a/", "http://", "http://a:b/", "http://127.0.0.1:1/"])
def test_wrong_url(url: str) -> None:
    """A URL that cannot be watched ends the command with exit code 2."""
    done = CliRunner().invoke(cli, ["watch", url, "--for", "1s"])
    assert done.exit_code == 2
    assert url in done.output

import gzip
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


ODD = [
    b'{"n": 2, "due_ms": NaN, "left_ms": 0}',
    b'{"n": 2, "due_ms": 0, "left_ms": 1e400}',
    b'{"n": 1e400, "due_ms": 0, "left_ms": 0}',
    b'{"n": 2, "due_ms": 1' + b"0" * 400 + b', "left_ms": 0}',
    b'{"n": 2, "due_ms": "0", "left_ms": 0}',
    b'{"n": 1' + b"0" * 5000 + b', "due_ms": 0, "left_ms": 0}',
    b'"n"',
    b'{"a":' * 100_000,
    b"\xff",
]
"""Lines that are nearly events."""


class Answers(BaseHTTPRequestHandler):
    """A server whose path says what it answers."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/garbage":
            self.wfile.write(b"\x1b[31m\n")
            self.close_connection = True
            return
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "/\x1b[31m")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = {
            "/page": b"<html>\n</html>\n",
            "/long": b"x" * (2 << 20),
            "/stream": b'{"n": 1, "due_ms": 0, "left_ms": 0}\n{"n": "x", "due_ms": 1}\n[1]\n5\n',
            "/odd": b'{"n": 1, "due_ms": 0, "left_ms": 0}\n' + b"\n".join(ODD) + b"\n",
            "/two": b'{"n": 1, "due_ms": 0, "left_ms": 0}\n' * 2,
            "/silent": b'{"n": 1, "due_ms": 0, "left_ms": 0}\n',
            "/zipped": gzip.compress(b'{"n": 1, "due_ms": 0, "left_ms": 0}\n'),
            "/torn": b'{"n": 1, "due_ms": 0, "left_ms": 0}\n',
        }[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) + (self.path in {"/torn", "/silent"})))
        if self.path == "/zipped":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/silent":
            # Nothing more comes until the client leaves.
            self.rfile.read()
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


def test_odd(url: str) -> None:
    """A line that is nearly an event is passed over."""
    assert len(watch(f"{url}/odd", longest=BOUND, most=99).arrivals) == 1


def test_silent(url: str) -> None:
    """The watching ends when its time is up, also while nothing comes."""
    moments = iter((0.0, 0.0, 0.0, BOUND - 0.1, 2 * BOUND))
    found = watch(f"{url}/silent", longest=BOUND, most=9, clock=lambda: next(moments))
    assert (len(found.arrivals), found.whole, found.broken) == (1, False, "")


def test_most(url: str) -> None:
    """No more events are watched than were asked for."""
    assert len(watch(f"{url}/two", longest=BOUND, most=1).arrivals) == 1


def test_broken_off(url: str) -> None:
    """A stream that ends before its announced length is reported as broken off."""
    found = watch(f"{url}/torn", longest=BOUND, most=9)
    assert not found.whole
    assert "broke off" in verdict(found)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/missing", "404"),
        ("/page", "no event of this service"),
        ("/long", "a line is too long"),
        ("/moved", r"302, not 200: it redirects to '/\\x1b"),
        ("/zipped", "compressed"),
        ("/garbage", r"\\x1b\[31m"),
    ],
)
def test_not_a_stream(url: str, path: str, reason: str) -> None:
    """An answer that is not a stream is refused with the reason."""
    with pytest.raises(WatchError, match=reason):
        watch(f"{url}{path}", longest=BOUND, most=9)


WRONG = [
    *("localhost", "ftp://a/", "http://", "http://a:b/", "http://127.0.0.1:1/", "http://a@b/", "http://\xe9/"),
    f"http://{'a' * 70}/",
]


@pytest.mark.parametrize("url", WRONG)
def test_wrong_url(url: str) -> None:
    """A URL that cannot be watched ends the command with exit code 2."""
    done = CliRunner().invoke(cli, ["watch", url, "--for", "1s"])
    assert done.exit_code == 2
    assert url in done.output

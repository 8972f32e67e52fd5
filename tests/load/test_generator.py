"""A load counts every request, and judges an answer by when its request was sent."""

import errno
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from latebin.load.epoll_timer import BATCH
from latebin.load.generator import Connections, Load
from latebin.load.schedule import Schedule
from latebin.load.target import parse
from tests.support.late_server import SIZED, LateServer, late_server, refusing_port

LATE = 0.05

OVERDUE = 100.0
"""Seconds between a start in the past and now: every request is due at once, on any machine."""

AT_ONCE = Schedule(rate=1, delay=OVERDUE / 4, duration=2, warm_up=0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LateServer]:
    with late_server(LATE, tmp_path_factory.mktemp("load") / "stderr") as server:
        yield server


def load_on(server: LateServer, path: str, schedule: Schedule, connections: Connections) -> Load:
    target = parse(server.url(path), schedule.delay)
    return Load(
        (socket.AF_INET, (target.host, target.port)), target.request(keep=connections == "keep"), schedule, connections
    )


def start_overdue(load: Load) -> None:
    """Start a load in the past, so that the generator is late from the beginning."""
    load.start()
    load._start -= OVERDUE


@pytest.mark.parametrize("connections", ["keep", "fresh"])
def test_an_answer_is_early_by_when_its_request_was_sent(server: LateServer, connections: Connections) -> None:
    """An answer before the delay counts as early also when the generator was late."""
    with load_on(server, "/early", AT_ONCE, connections) as load:
        start_overdue(load)
        load.proceed(OVERDUE * 2)
        assert load.tally.answered == load.tally.sent == load.tally.early == AT_ONCE.count
        assert min(load.tally.lag) >= OVERDUE - AT_ONCE.span
        assert min(load.tally.lateness) > 0


def test_a_request_sent_late_and_answered_exactly_is_not_early(server: LateServer) -> None:
    """A punctual answer counts as late and not early when its request was sent late."""
    schedule = Schedule(rate=10, delay=LATE, duration=2, warm_up=0)
    with load_on(server, "/sized", schedule, "keep") as load:
        start_overdue(load)
        load.proceed(OVERDUE * 2)
        assert load.tally.answered == schedule.count
        assert load.tally.early == 0
        assert min(load.tally.lateness) >= OVERDUE - schedule.span


def test_kept_connections_are_opened_beforehand_and_more_when_none_is_idle(server: LateServer) -> None:
    """A load opens more connections when more requests are due than its pool has."""
    assert AT_ONCE.count <= BATCH
    with load_on(server, "/early", AT_ONCE, "keep") as load:
        load.open_pool(7)
        assert load.tally.opened == 7
        start_overdue(load)
        load.proceed(OVERDUE * 2)
        assert load.tally.opened == load.tally.answered == AT_ONCE.count


def test_a_kept_connection_serves_again(server: LateServer) -> None:
    """A request is sent on a kept connection when that is idle."""
    with load_on(server, "/sized", Schedule(rate=10, delay=0, duration=0.2, warm_up=0), "keep") as load:
        start_overdue(load)
        load._count = 1
        load.proceed(OVERDUE * 2)
        load._count = 2
        load.proceed(OVERDUE * 2)
        assert load.tally.answered == 2
        assert load.tally.opened == 1


def test_an_idle_connection_that_the_server_ends_is_no_error() -> None:
    """An idle connection is dropped, and no request fails, when the server closes it."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Load((socket.AF_INET, listener.getsockname()), b"", AT_ONCE, "keep") as load,
    ):
        load.open_pool(1)
        listener.accept()[0].close()
        load.start()
        load._start += OVERDUE
        while load._connections:
            load.proceed(time.monotonic() + 0.01 - load._start)
        assert (load.tally.opened, load.tally.sent, load.tally.failed) == (1, 0, 0)
        assert not load._idle


@pytest.mark.parametrize("connections", ["keep", "fresh"])
def test_a_request_that_does_not_fit_at_once_is_sent_on(connections: Connections) -> None:
    """The rest of a request is sent when the socket is writable again."""
    request = b"GET / HTTP/1.1\r\n\r\n".ljust(20_000_000)
    schedule = Schedule(rate=10, delay=0, duration=0.1, warm_up=0)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Load((socket.AF_INET, listener.getsockname()), request, schedule, connections) as load,
    ):
        load.open_pool(int(connections == "keep"))
        server = threading.Thread(target=swallow, args=(listener, len(request)))
        server.start()
        load.start()
        load.proceed(OVERDUE)
        server.join()
        assert (load.tally.sent, load.tally.answered, load.unfinished) == (1, 1, 0)


def swallow(listener: socket.socket, size: int) -> None:
    """Read a request of a known size, and answer it."""
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as stream:
        stream.read(size)
        connection.sendall(SIZED)


def test_a_connection_that_cannot_be_opened_is_an_error(server: LateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request counts as an error at once when the process is out of descriptors."""

    def exhausted(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with load_on(server, "/sized", AT_ONCE, "keep") as load:
        monkeypatch.setattr(socket, "socket", exhausted)
        load.open_pool(3)
        start_overdue(load)
        load.proceed(OVERDUE * 2)
        assert time.monotonic() < load._start + OVERDUE * 2
        assert load.tally.errors == {"EMFILE": AT_ONCE.count}
        assert load.tally.opened == 0


def test_a_stopped_load_does_nothing_more(server: LateServer) -> None:
    """A load opens and sends nothing, and `proceed` returns at once, when it was stopped."""
    with load_on(server, "/silent", AT_ONCE, "keep") as load:
        load.stop()
        load.open_pool(5)
        load.start()
        load.proceed(OVERDUE)
        assert (load.tally.opened, load.tally.sent, load.stopped) == (0, 0, True)


def test_the_pool_ends_at_the_first_refusal(server: LateServer) -> None:
    """`open_pool` ends without an error of a request when a connection is refused."""
    with Load((socket.AF_INET, ("127.0.0.1", refusing_port())), b"", AT_ONCE, "keep") as load:
        load.open_pool(5)
        assert (load.tally.opened, load.tally.failed) == (0, 0)

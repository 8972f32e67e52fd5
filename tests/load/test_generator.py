"""A load accounts for every request, and judges a server by when it was really asked."""

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
"""A start so long ago, in seconds, that every request is due at once, however slow the machine is."""

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
    """Start a load so that its generator is late from the beginning."""
    load.start()
    load._start -= OVERDUE


@pytest.mark.parametrize("connections", ["keep", "fresh"])
def test_an_answer_is_early_by_when_its_request_was_really_sent(server: LateServer, connections: Connections) -> None:
    """A late generator neither excuses a server that answers before the delay has passed, nor hides its own lag."""
    with load_on(server, "/early", AT_ONCE, connections) as load:
        start_overdue(load)
        load.proceed(OVERDUE * 2)
        assert load.tally.answered == load.tally.sent == load.tally.early == AT_ONCE.count
        assert min(load.tally.lag) >= OVERDUE - AT_ONCE.span
        assert min(load.tally.lateness) > 0


def test_a_request_sent_late_and_answered_exactly_is_not_early(server: LateServer) -> None:
    """The generator's lag makes an answer late by the plan, and never early."""
    schedule = Schedule(rate=10, delay=LATE, duration=2, warm_up=0)
    with load_on(server, "/sized", schedule, "keep") as load:
        start_overdue(load)
        load.proceed(OVERDUE * 2)
        assert load.tally.answered == schedule.count
        assert load.tally.early == 0
        assert min(load.tally.lateness) >= OVERDUE - schedule.span


def test_kept_connections_are_opened_beforehand_and_more_when_none_is_idle(server: LateServer) -> None:
    """With all requests due at once, the pool is taken first and a connection opened for each of the others."""
    assert AT_ONCE.count <= BATCH
    with load_on(server, "/early", AT_ONCE, "keep") as load:
        load.open_pool(7)
        assert load.tally.opened == 7
        start_overdue(load)
        load.proceed(OVERDUE * 2)
        assert load.tally.opened == load.tally.answered == AT_ONCE.count


def test_a_kept_connection_serves_again(server: LateServer) -> None:
    """Once answered, a connection is idle, and the next request goes out on it."""
    with load_on(server, "/sized", Schedule(rate=10, delay=0, duration=0.2, warm_up=0), "keep") as load:
        start_overdue(load)
        load._count = 1
        load.proceed(OVERDUE * 2)
        load._count = 2
        load.proceed(OVERDUE * 2)
        assert load.tally.answered == 2
        assert load.tally.opened == 1


def test_an_idle_connection_that_the_server_ends_is_no_error() -> None:
    """A pool connection that dies before it is needed is dropped, and no request is blamed."""
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
    """What the socket does not take follows when it does, and the answer counts once."""
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


def test_a_connection_that_cannot_be_had_is_an_error(server: LateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without descriptors every request is sent for nothing, and counted so, and nothing is waited for."""

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
    """After a stop nothing is opened or sent, and going on returns at once."""
    with load_on(server, "/silent", AT_ONCE, "keep") as load:
        load.stop()
        load.open_pool(5)
        load.start()
        load.proceed(OVERDUE)
        assert (load.tally.opened, load.tally.sent, load.stopped) == (0, 0, True)


def test_the_pool_ends_where_connections_end(server: LateServer) -> None:
    """A refused connection beforehand is no error of a request: none was sent yet."""
    with Load((socket.AF_INET, ("127.0.0.1", refusing_port())), b"", AT_ONCE, "keep") as load:
        load.open_pool(5)
        assert (load.tally.opened, load.tally.failed) == (0, 0)

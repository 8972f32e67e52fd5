"""An open-loop load on a server: requests leave when they are planned, and every one of them is accounted for."""

import os
import select
import socket
import time
from array import array
from collections import Counter
from collections.abc import MutableSequence
from contextlib import ExitStack
from errno import EINPROGRESS, errorcode
from math import inf
from typing import Final, Literal, Self

import attrs

from latebin.load.epoll_timer import BATCH, EpollTimer
from latebin.load.response import SURPLUS, Answer, ProtocolError, ResponseParser
from latebin.load.schedule import Schedule

Address = tuple[socket.AddressFamily, tuple[str | int | bytes, ...]]
"""An address family and a TCP address in it, as `socket.getaddrinfo` has them."""

Connections = Literal["keep", "fresh"]
"""Whether connections are opened beforehand and kept, or one is opened for each request."""

POOL_RATE: Final = 4000
"""How many connections per second are opened beforehand: more would overflow a short listen backlog."""

POOL_TIME: Final = 10.0
"""For how long connections are opened beforehand, in seconds; what is missing then is opened when it is needed."""

_CONNECT_TIME: Final = 1.5
"""How long one connection opened beforehand may take, in seconds: long enough for one lost SYN (RFC 6298)."""

_RECEIVED: Final = 16_384

_SUCCESS: Final = range(200, 300)

_monotonic = time.monotonic


@attrs.define
class Tally:
    """What became of the requests of a run: `sent` is the sum of `answered`, all `errors` and those still pending.

    Attributes:
        sent: requests whose turn came, whether or not a connection could be had for them.
        answered: whole answers with a 2xx status.
        early: how many of those began before the delay had passed since their request was really sent.
        errors: the others by kind: a kind of `latebin.load.response`, `status 500`, or the name of the system's errno.
        opened: connections.
        lateness: of each measured answer, in seconds; from its planned time to its last byte, less the delay.
        lag: how late each request after the warm-up was sent, in seconds.
    """

    sent: int = 0
    answered: int = 0
    early: int = 0
    errors: Counter[str] = attrs.field(factory=Counter)
    opened: int = 0
    lateness: MutableSequence[float] = attrs.field(factory=lambda: array("d"))
    lag: MutableSequence[float] = attrs.field(factory=lambda: array("d"))

    @property
    def failed(self) -> int:
        """How many requests ended as errors."""
        return self.errors.total()


class _Connection:
    """A connection, and the request outstanding on it if it is busy."""

    __slots__ = ("begun", "busy", "measured", "planned", "reader", "sent", "socket", "unsent")

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.reader = ResponseParser()
        self.busy = False
        self.measured = False
        self.planned = self.sent = self.begun = 0.0
        self.unsent = b""


class Load:
    """One run against one server.

    Call `open_pool` for kept connections, `start`, and `proceed` as often as there are moments to look at `tally`.

    A connection that a request needs is opened at its planned time, so that connecting is part of the lateness.
    """

    def __init__(self, address: Address, request: bytes, schedule: Schedule, connections: Connections) -> None:
        self.tally = Tally()
        self._family, self._address = address
        self._request = request
        self._keep = connections == "keep"
        self._rate = schedule.rate
        self._delay = schedule.delay
        self._count = schedule.count
        self._measured = schedule.measured
        self._start = inf
        self._stopped = False
        self._connections: dict[int, _Connection] = {}
        self._idle: dict[int, _Connection] = {}
        self._epoll = select.epoll()
        self._alarm = EpollTimer(self._epoll)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections.values():
            connection.socket.close()
        self._alarm.close()
        self._epoll.close()
        os.close(self._wake)

    @property
    def unfinished(self) -> int:
        """How many requests are outstanding: counted on the connections, not derived from the tally."""
        return sum(connection.busy for connection in self._connections.values())

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped

    def stop(self) -> None:
        """Send nothing more and wait for nothing more; may be called by a signal handler."""
        self._stopped = True
        os.eventfd_write(self._wake, 1)

    def open_pool(self, number: int) -> None:
        """Open connections beforehand: as many as can be had in POOL_TIME, without overrunning the server.

        Args:
            number: of connections.
        """
        began = _monotonic()
        for turn in range(number):
            time.sleep(max(0.0, began + turn / POOL_RATE - _monotonic()))
            if self._stopped or _monotonic() > began + POOL_TIME or not self._open_idle():
                return

    def start(self) -> None:
        """Let the first request be due now."""
        self._start = _monotonic()

    def proceed(self, until: float) -> None:
        """Send what is due and read what comes until a moment, or until there is nothing left to do.

        Args:
            until: seconds after `start`.
        """
        end = self._start + until
        while _monotonic() < end and not self._over():
            due = self._send_due()
            # Asked again: a request that fails at once leaves nothing to wait for.
            if not self._over():
                self._take(min(due, end))

    def _over(self) -> bool:
        everything_sent = self.tally.sent == self._count
        return self._stopped or (everything_sent and len(self._connections) == len(self._idle))

    def _take(self, until: float) -> None:
        for descriptor, events in self._alarm.wait(until):
            connection = self._connections.get(descriptor)
            if connection is not None:
                self._attend(connection, events)

    def _send_due(self) -> float:
        for _ in range(BATCH):
            due = self._due()
            if _monotonic() < due:
                break
            self._send(due)
        return self._due()

    def _due(self) -> float:
        number = self.tally.sent
        return self._start + number / self._rate if number < self._count else inf

    def _send(self, planned: float) -> None:
        number = self.tally.sent
        self.tally.sent += 1
        if number >= self._measured.start:
            self.tally.lag.append(_monotonic() - planned)
        try:
            connection = self._idle.popitem()[1] if self._idle else self._connect()
        except OSError as error:
            self._count_error(_name(error))
            return
        self._assign(connection, planned, measured=number in self._measured)

    def _assign(self, connection: _Connection, planned: float, *, measured: bool) -> None:
        connection.busy = True
        connection.planned = planned
        connection.measured = measured
        connection.begun = 0.0
        connection.unsent = self._request
        self._write(connection)

    def _connect(self) -> _Connection:
        sock = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        error = sock.connect_ex(self._address)
        if error not in {0, EINPROGRESS}:
            sock.close()
            raise OSError(error, os.strerror(error))
        return self._register(sock)

    def _open_idle(self) -> bool:
        try:
            sock = self._connected()
        except OSError:
            return False
        self._idle[sock.fileno()] = self._register(sock)
        return True

    def _connected(self) -> socket.socket:
        with ExitStack() as closing:
            sock = closing.enter_context(socket.socket(self._family, socket.SOCK_STREAM))
            sock.settimeout(_CONNECT_TIME)
            sock.connect(self._address)
            sock.settimeout(0)
            closing.pop_all()
            return sock

    def _register(self, sock: socket.socket) -> _Connection:
        connection = _Connection(sock)
        self._connections[sock.fileno()] = connection
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        self.tally.opened += 1
        return connection

    def _write(self, connection: _Connection) -> None:
        # Taken before the bytes can leave, so that no answer is called early for a time that the generator took.
        connection.sent = _monotonic()
        try:
            written = connection.socket.send(connection.unsent)
        except BlockingIOError:
            written = 0
        except OSError as error:
            self._fail(connection, _name(error))
            return
        connection.unsent = connection.unsent[written:]
        if connection.unsent:
            self._epoll.modify(connection.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _attend(self, connection: _Connection, events: int) -> None:
        if events & select.EPOLLOUT and connection.unsent:
            self._epoll.modify(connection.socket.fileno(), select.EPOLLIN)
            self._write(connection)
        if events & ~select.EPOLLOUT and connection.socket.fileno() >= 0:
            self._receive(connection)

    def _receive(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(_RECEIVED)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(connection, _name(error))
            return
        if connection.busy:
            self._read(connection, data, _monotonic())
        else:
            self._drop(connection)

    def _read(self, connection: _Connection, data: bytes, now: float) -> None:
        reader = connection.reader
        try:
            answer = reader.feed(data) if data else reader.end()
        except ProtocolError as flaw:
            self._fail(connection, flaw.kind)
            return
        if not connection.begun and (answer is not None or reader.begun):
            connection.begun = now
        if answer is not None:
            self._account(connection, answer, now)
            self._release(connection, answer)

    def _account(self, connection: _Connection, answer: Answer, now: float) -> None:
        if answer.surplus:
            self._count_error(SURPLUS)
        elif answer.status not in _SUCCESS:
            self._count_error(f"status {answer.status}")
        else:
            self.tally.answered += 1
            self.tally.early += connection.begun - connection.sent < self._delay
            if connection.measured:
                self.tally.lateness.append(now - connection.planned - self._delay)

    def _release(self, connection: _Connection, answer: Answer) -> None:
        connection.busy = False
        if self._keep and answer.reusable and not answer.surplus and not connection.unsent:
            self._idle[connection.socket.fileno()] = connection
        else:
            self._drop(connection)

    def _fail(self, connection: _Connection, kind: str) -> None:
        if connection.busy:
            connection.busy = False
            self._count_error(kind)
        self._drop(connection)

    def _count_error(self, kind: str) -> None:
        self.tally.errors[kind] += 1

    def _drop(self, connection: _Connection) -> None:
        descriptor = connection.socket.fileno()
        self._idle.pop(descriptor, None)
        del self._connections[descriptor]
        connection.socket.close()


def _name(error: OSError) -> str:
    return errorcode.get(error.errno or 0, type(error).__name__)

"""An open-loop load generator: requests leave at planned times, and each one is counted."""

import os
import select
import socket
import ssl
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
from latebin.load.response import SURPLUS, ProtocolError, ResponseParser
from latebin.load.schedule import Schedule

Address = tuple[socket.AddressFamily, tuple[str | int | bytes, ...]]
"""An address family and a TCP address of that family, as in the results of `socket.getaddrinfo`."""

Connections = Literal["keep", "fresh"]
"""Persistent connections that are opened beforehand, or a new one for each request."""

POOL_RATE: Final = 4000
"""Connections opened beforehand per second: more would overflow a short listen backlog."""

POOL_TIME: Final = 10.0
"""Seconds for opening connections beforehand; a connection that is missing then is opened for its request."""

_CONNECT_TIME: Final = 1.5
"""The timeout of a connection opened beforehand, in seconds: long enough for one lost SYN (RFC 6298)."""

_RECEIVED: Final = 16_384
"""The most bytes read at once."""

_SUCCESS: Final = range(200, 300)

_monotonic = time.monotonic


@attrs.define
class Tally:
    """The outcome of all requests of a run.

    `sent` is the sum of `answered`, of all `errors` and of the requests still pending.

    Attributes:
        sent: requests whose planned time came, with or without a connection for them.
        answered: complete answers with a 2xx status.
        early: answers among them whose first byte came before the delay had passed since their request was sent.
        errors: failed requests by kind: a kind of `latebin.load.response`, `status 500`, the name of an errno, or `TLS`
            with OpenSSL's reason.
        opened: connections.
        lateness: seconds from a request's planned time to its answer's last byte, less the delay; one for each measured
            answer.
        lag: seconds from a request's planned time to its sending; one for each request after the warm-up.
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
        """The number of failed requests."""
        return self.errors.total()


@attrs.frozen
class Tls:
    """The TLS of all connections of a run.

    Attributes:
        context: the trusted certificates.
        host: the name that the server's certificate must have.
    """

    context: ssl.SSLContext
    host: str

    def wrap(self, sock: socket.socket, *, handshake: bool) -> ssl.SSLSocket:
        """Put TLS on a socket that is not connected yet.

        Args:
            sock: the socket, which is of no use after that.
            handshake: whether connecting waits for the handshake; if not, the first write begins it.
        """
        return self.context.wrap_socket(sock, server_hostname=self.host, do_handshake_on_connect=handshake)


class _Connection:
    """A connection, with its outstanding request while it is busy."""

    __slots__ = ("busy", "first_byte", "measured", "parser", "planned", "sent", "socket", "unsent")

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.parser = ResponseParser()
        self.busy = False
        self.measured = False
        self.planned = self.sent = self.first_byte = 0.0
        self.unsent = b""


class Load:
    """One run against one server.

    Call `open_pool` for persistent connections, then `start`, then `proceed` for each moment at which to read `tally`.

    A connection for a request is opened at the request's planned time, so that connecting is part of the lateness.
    """

    def __init__(
        self,
        address: Address,
        request: bytes,
        schedule: Schedule,
        connections: Connections,
        tls: Tls | None = None,
    ) -> None:
        self.tally = Tally()
        self._tls = tls
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
        self._timer = EpollTimer(self._epoll)
        # A signal handler cannot end a wait on epoll, because Python waits again (PEP 475); an event can.
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections.values():
            connection.socket.close()
        self._timer.close()
        self._epoll.close()
        os.close(self._wake)

    @property
    def unfinished(self) -> int:
        """The number of outstanding requests, counted on the connections and not derived from the tally."""
        return sum(connection.busy for connection in self._connections.values())

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped

    def stop(self) -> None:
        """Send no more requests and end all waiting; a signal handler may call this."""
        self._stopped = True
        os.eventfd_write(self._wake, 1)

    def open_pool(self, number: int) -> None:
        """Open connections beforehand, at POOL_RATE and for at most POOL_TIME.

        Args:
            number: of connections; fewer are opened if one fails or the time is up.
        """
        began = _monotonic()
        for index in range(number):
            time.sleep(max(0.0, began + index / POOL_RATE - _monotonic()))
            if self._stopped or _monotonic() > began + POOL_TIME:
                return
            try:
                with ExitStack() as closing:
                    sock = closing.enter_context(socket.socket(self._family, socket.SOCK_STREAM))
                    sock.settimeout(_CONNECT_TIME)
                    if self._tls is not None:
                        sock = closing.enter_context(self._tls.wrap(sock, handshake=True))
                    sock.connect(self._address)
                    sock.settimeout(0)
                    closing.pop_all()
            except OSError:
                # Not counted: a request that then needs a connection fails with the same error, and is counted.
                return
            self._idle[sock.fileno()] = self._register(sock)

    def start(self) -> None:
        """Begin the schedule: the first request is due now."""
        self._start = _monotonic()

    def proceed(self, until: float) -> None:
        """Send requests and read answers until a moment, or until the run is over.

        Args:
            until: seconds after `start`.
        """
        end = self._start + until
        while _monotonic() < end and not self._over():
            due = self._send_due()
            # Checked again: a request that fails at once leaves nothing to wait for.
            if self._over():
                return
            for descriptor, events in self._timer.wait(min(due, end)):
                # The timer and the eventfd have no connection, nor has one that an event before this closed.
                connection = self._connections.get(descriptor)
                if connection is not None:
                    self._handle(connection, events)

    def _over(self) -> bool:
        all_sent = self.tally.sent == self._count
        return self._stopped or (all_sent and len(self._connections) == len(self._idle))

    def _send_due(self) -> float:
        """Send at most BATCH due requests; return when the next one is due."""
        for _ in range(BATCH):
            number, due = self.tally.sent, self._due()
            if _monotonic() < due:
                return due
            self.tally.sent += 1
            if number >= self._measured.start:
                self.tally.lag.append(_monotonic() - due)
            try:
                connection = self._idle.popitem()[1] if self._idle else self._connect()
            except OSError as error:
                self.tally.errors[_errno_name(error)] += 1
                continue
            connection.busy = True
            connection.planned = due
            connection.measured = number in self._measured
            connection.first_byte = 0.0
            connection.unsent = self._request
            self._write(connection)
        return self._due()

    def _due(self) -> float:
        number = self.tally.sent
        return self._start + number / self._rate if number < self._count else inf

    def _connect(self) -> _Connection:
        sock = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        if self._tls is not None:
            sock = self._tls.wrap(sock, handshake=False)
        error = sock.connect_ex(self._address)
        if error not in {0, EINPROGRESS}:
            sock.close()
            raise OSError(error, os.strerror(error))
        return self._register(sock)

    def _register(self, sock: socket.socket) -> _Connection:
        connection = _Connection(sock)
        self._connections[sock.fileno()] = connection
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        self.tally.opened += 1
        return connection

    def _write(self, connection: _Connection) -> None:
        # Taken before the bytes can leave: time that the generator needs must not make an answer early.
        connection.sent = _monotonic()
        try:
            written = connection.socket.send(connection.unsent)
        except ssl.SSLWantReadError:
            # The handshake goes on when the server has sent its part.
            return
        except (BlockingIOError, ssl.SSLWantWriteError):
            written = 0
        except OSError as error:
            self._fail(connection, _errno_name(error))
            return
        connection.unsent = connection.unsent[written:]
        if connection.unsent:
            self._epoll.modify(connection.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _handle(self, connection: _Connection, events: int) -> None:
        if connection.unsent and (events & select.EPOLLOUT or self._tls is not None):
            self._epoll.modify(connection.socket.fileno(), select.EPOLLIN)
            self._write(connection)
            if connection.unsent and self._tls is not None:
                # A read would go on with the handshake, after which no event would come for the request.
                return
        # A write that failed has closed the socket: its number is then -1.
        if not events & ~select.EPOLLOUT or connection.socket.fileno() < 0:
            return
        try:
            data = connection.socket.recv(_RECEIVED)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            # Over TLS, bytes can come beside those of answers, such as session tickets.
            return
        except OSError as error:
            self._fail(connection, _errno_name(error))
            return
        if connection.busy:
            self._parse(connection, data, _monotonic())
        else:
            # An idle connection has ended, or carries bytes that belong to no request: it cannot be used again.
            self._close(connection)

    def _parse(self, connection: _Connection, data: bytes, now: float) -> None:
        parser = connection.parser
        try:
            answer = parser.feed(data) if data else parser.end()
        except ProtocolError as error:
            self._fail(connection, error.kind)
            return
        if not connection.first_byte and (answer is not None or parser.begun):
            connection.first_byte = now
        if answer is not None:
            if answer.surplus:
                self.tally.errors[SURPLUS] += 1
            elif answer.status not in _SUCCESS:
                self.tally.errors[f"status {answer.status}"] += 1
            else:
                self.tally.answered += 1
                self.tally.early += connection.first_byte - connection.sent < self._delay
                if connection.measured:
                    self.tally.lateness.append(now - connection.planned - self._delay)
            connection.busy = False
            if self._keep and answer.reusable and not answer.surplus and not connection.unsent:
                self._idle[connection.socket.fileno()] = connection
            else:
                self._close(connection)

    def _fail(self, connection: _Connection, kind: str) -> None:
        if connection.busy:
            connection.busy = False
            self.tally.errors[kind] += 1
        self._close(connection)

    def _close(self, connection: _Connection) -> None:
        descriptor = connection.socket.fileno()
        self._idle.pop(descriptor, None)
        del self._connections[descriptor]
        connection.socket.close()


def _errno_name(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        # Its errno is a number of OpenSSL's.
        return f"TLS {error.reason or type(error).__name__}"
    return errorcode.get(error.errno or 0, type(error).__name__)

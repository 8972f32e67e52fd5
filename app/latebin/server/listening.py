"""Listening, and stopping."""

import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import count, repeat
from typing import TYPE_CHECKING, Any, Final, cast

import attrs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.base import ReactorBase
from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults, maybeDeferred, succeed
from twisted.internet.endpoints import quoteStringArgument
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.internet.tcp import Port
from twisted.logger import Logger
from twisted.python.failure import Failure

from latebin.core.settings import Settings
from latebin.overrides.stack import Listening, choose
from latebin.server.drain import Drain, longest
from latebin.server.guard import KILL
from latebin.server.signals import Signals
from latebin.server.warmup import warm_up
from latebin.server.worker_config import WorkerConfig
from latebin.server.workers import FIRST_SOCKET, READY, ParentWatch, Workers
from latebin.site.factory import ServiceSite, admin_site, scenario_site, site
from latebin.telemetry.counters import SharedCounters
from latebin.telemetry.metrics import pending_in
from latebin.telemetry.writer import Telemetry
from latebin.timing import wakers
from latebin.timing.garbage import GarbageScheduler

if TYPE_CHECKING:
    from twisted.internet.interfaces import (
        IListeningPort,
        IProtocolFactory,
        IReactorProcess,
        IReactorSocket,
        IReactorTime,
        IStreamServerEndpoint,
    )

    from latebin.answers.upstreams import Asker
    from latebin.site.root import Root
    from latebin.state.redis.connection import Store

log = Logger()

BACKLOG: Final = 5000
"""Connections that may wait to be accepted. At Twisted's 50, a hundred clients that come at once lose their SYNs, and
wait a second and more before they have sent a byte."""

_HAPROXY: Final = "haproxy:"
"""The prefix of an endpoint whose connections begin with a header of the PROXY protocol."""

_WITH_BACKLOG: Final = re.compile(f"({_HAPROXY})?(tcp|tcp6|ssl|unix):")


@attrs.frozen
class Ports:
    """The listening ports of a process.

    Attributes:
        public: those of the service in the order of its endpoints, then those of scenarios.
        admin: those of `--admin-listen`.
    """

    public: "list[IListeningPort]"
    admin: "list[IListeningPort]"


def endpoints(settings: Settings) -> tuple[str, ...]:
    """Return the Twisted endpoint descriptions that the settings ask for."""
    host = quoteStringArgument(settings.host)
    return settings.listen or (f"tcp:{settings.port}:interface={host}:backlog={BACKLOG}",)


def _endpoint(ports: Listening, reactor: object, description: str) -> "IStreamServerEndpoint":
    """Make an endpoint from its description.

    It has our backlog if the description can have one and has none.
    """
    if _WITH_BACKLOG.match(description) and ":backlog=" not in description:
        # The description may have a backlog without the name, as its last argument: that is a TypeError.
        with suppress(TypeError):
            return ports.endpoint(reactor, f"{description}:backlog={BACKLOG}")
    return ports.endpoint(reactor, description)


def serve(settings: Settings, telemetry: Telemetry, reactor: ReactorBase, signals: Signals) -> Deferred[object]:
    """Accept connections on every endpoint, and log the URLs of the service.

    Args:
        settings: the endpoints, and the number of processes.
        telemetry: the counters of this process or its workers, and the log.
        reactor: when it is stopped, it waits for the pending answers, or for the workers.
        signals: the second signal ends the waiting.

    Returns:
        A Deferred that fires when all workers accept; it fails with CannotListenError, with StateError, or
        with WorkersFailedError.
    """
    if settings.workers == 1:
        warm_up(settings)
        factory = _factory(settings, reactor, telemetry.counters)
        opened = _connected(factory).addCallback(
            lambda _: _opened(settings, repeat(reactor), factory, _steady(reactor))
        )
        return opened.addCallback(partial(announce, settings)).addCallback(partial(_served, reactor, signals, factory))
    # The ports of the parent accept nothing: the factories are never asked.
    bound = _checked(settings, reactor)
    bound.addCallback(lambda _: open_ports(settings, repeat(reactor), Factory(), Factory()))
    return bound.addCallback(lambda ports: _staffed(settings, telemetry, reactor, signals, ports))


def accept(
    inheritance: WorkerConfig, counters: SharedCounters, reactor: ReactorBase, signals: Signals
) -> Deferred[object]:
    """Accept connections in a worker on the sockets of its parent.

    The worker reports to its parent that it accepts, and stops when the parent is gone.

    Args:
        inheritance: the configuration from the parent.
        counters: the memory that all workers count in.
        reactor: when it is stopped, or the parent is gone, it waits for the pending answers.
        signals: the second signal ends the waiting.

    Returns:
        A Deferred that fires when this worker accepts.
    """
    ParentWatch(reactor)
    settings = inheritance.settings
    warm_up(settings)
    factory = _factory(settings, reactor, counters, inheritance.worker)
    sockets = cast("IReactorSocket", reactor)
    ports = choose(settings.stack).ports()
    adopting = (ports.adopt(sockets, descriptor) for descriptor in count(FIRST_SOCKET))
    # A worker that takes the place of a dead one serves what needs no state, also while Redis is away.
    connected = _connected(factory).addErrback(_without_state)
    opened = connected.addCallback(lambda _: _opened(settings, adopting, factory, _steady(reactor)))
    return opened.addCallback(_ready).addCallback(partial(_served, reactor, signals, factory))


def _ready(ports: Ports) -> Ports:
    # The ports have duplicates. A connection to an original that is open and not accepted on would wait for ever.
    os.closerange(FIRST_SOCKET, FIRST_SOCKET + len(ports.public) + len(ports.admin))
    os.write(READY, b".")
    return ports


def _served(reactor: ReactorBase, signals: Signals, factory: ServiceSite, ports: Ports) -> None:
    """Attend to a service that listens: its refused connections, its garbage and its stop."""
    root, steady = cast("Root", factory.resource), _steady(reactor)
    watch = choose(factory.settings.stack).ports().watch
    for port in (*ports.public, *ports.admin):
        if isinstance(port, Port):
            # Connections that cannot be accepted for want of a descriptor are counted and logged.
            watch(port, steady, root.metrics.accept_failed)

    def due_within(seconds: float) -> bool:
        return root.due_by(steady.seconds() + seconds)

    # Garbage is collected between answers, as a process that does nothing but serve can choose the time.
    GarbageScheduler(steady, due_within, lambda: root.asked, freed=root.unread.freed, activity=root.activity).start()
    drain = Drain(steady, factory.connections, factory.settings, partial(_refuse, reactor, ports.public))
    reactor.addSystemEventTrigger("before", "shutdown", lambda: drain.start().addCallback(lambda _: root.leave()))
    signals.on_second.append(drain.break_off)


def _refuse(reactor: ReactorBase, ports: "list[IListeningPort]") -> Deferred[Any]:
    """Accept the connections that closing a port would reset, and close the ports.

    Returns:
        A Deferred that fires when the first bytes of those connections are read, a turn of the reactor later.
    """
    for port in ports:
        if isinstance(port, Port):
            port.numberAccepts = BACKLOG
            Port.doRead(port)  # a port on a shared socket overrides it, and leaves some to others
    return _closed(ports).addCallback(lambda _: deferLater(reactor, 0))


def _closed(ports: "Iterable[IListeningPort]") -> Deferred[Any]:
    return gatherResults([maybeDeferred(port.stopListening) for port in ports])


def _factory(
    settings: Settings, reactor: object, counters: SharedCounters | None = None, worker: int = 0
) -> ServiceSite:
    steady, store = _steady(reactor), _store(settings, reactor)
    asker: Asker | None = None
    if settings.upstreams:
        from latebin.answers.upstreams import Upstreams  # noqa: PLC0415  # for services that have upstreams

        asker = Upstreams(reactor, settings)
        if settings.records:
            from latebin.answers.record import RecordingUpstreams  # noqa: PLC0415  # for services that record

            asker = recording = RecordingUpstreams(asker, settings.records, steady)
            cast("ReactorBase", reactor).addSystemEventTrigger("after", "shutdown", recording.close)
    return site(settings, steady, asker, counters, worker, store=store)


def _store(settings: Settings, reactor: object) -> "Store | None":
    if settings.state is None:
        return None
    from latebin.state.redis.connection import Store  # noqa: PLC0415  # for services with --state

    return Store(reactor, _steady(reactor), settings.state)


def _checked(settings: Settings, reactor: object) -> Deferred[Any]:
    """Try to reach the state from the parent of the workers.

    Returns:
        A Deferred that fails with StateError.
    """
    store = _store(settings, reactor)
    return succeed(None) if store is None else store.start().addBoth(_closing, store)


def _closing(result: Any, store: "Store") -> Deferred[Any]:  # noqa: ANN401  # None, or a Failure
    return store.stop().addCallback(lambda _: result)


def _connected(factory: ServiceSite) -> Deferred[Any]:
    """Reach the state, and read what the service needs from the beginning.

    Returns:
        A Deferred that fails with StateError.
    """
    return cast("Root", factory.resource).connect()


def _without_state(failure: Failure) -> None:
    log.warn("{error}; trying again", error=str(failure.value))


def _steady(reactor: object) -> "IReactorTime":
    return wakers.for_reactor(cast("IReactorTime", reactor))


def _opened(
    settings: Settings, reactors: Iterable[object], factory: ServiceSite, steady: "IReactorTime"
) -> Deferred[Ports]:
    return open_ports(
        settings, reactors, factory, admin_site(factory, steady), lambda name: scenario_site(factory, steady, name)
    )


def open_ports(
    settings: Settings,
    reactors: Iterable[object],
    service: "IProtocolFactory",
    admin: "IProtocolFactory",
    scenario: "Callable[[str], IProtocolFactory]" = lambda _: Factory(),
) -> Deferred[Ports]:
    """Listen on every endpoint, each with the next of the reactors.

    Args:
        settings: the endpoints, and the stack that listens on them.
        reactors: each binds, or adopts, a socket.
        service: accepts on the public endpoints.
        admin: accepts on the endpoints of `--admin-listen`.
        scenario: makes the factory that accepts on the endpoints of a scenario, by its name.

    Returns:
        A Deferred of the ports; it fails if one of the endpoints cannot be listened on.
    """
    each, ports = iter(reactors), choose(settings.stack).ports()
    public = [_endpoint(ports, next(each), description).listen(service) for description in endpoints(settings)]
    for name, description in settings.scenario_listen:
        public.append(_endpoint(ports, next(each), description).listen(scenario(name)))
    private = [_endpoint(ports, next(each), description).listen(admin) for description in settings.admin_listen]
    opened = gatherResults([*public, *private], consumeErrors=True).addErrback(_first)
    return opened.addCallback(lambda ports: Ports(ports[: len(public)], ports[len(public) :]))


def _staffed(
    settings: Settings, telemetry: Telemetry, reactor: ReactorBase, signals: Signals, ports: Ports
) -> Deferred[object]:
    """Let workers accept on bound ports, and close the ports when the workers stop."""
    every = *ports.public, *ports.admin
    lend = choose(settings.stack).ports().lend
    for port in every:
        lend(cast("Port", port))
    sockets = [cast("Port", port).fileno() for port in every]
    steady = _steady(reactor)
    workers = Workers(cast("IReactorProcess", reactor), steady, settings, telemetry, sockets)

    def stop() -> Deferred[Any]:
        # A worker ends itself; one that is stopped by SIGSTOP, say, does not.
        killing = steady.callLater(longest(settings) + KILL, workers.kill)

        def ended() -> Deferred[Any]:
            closing.cancel()
            if killing.active():
                killing.cancel()
            return _closed(every)

        # A client that connects to a socket that is open here, and on which no worker accepts, would wait.
        closing = deferLater(steady, settings.shutdown_delay, _closed, ports.public)
        closing.addErrback(lambda failure: failure.trap(CancelledError))
        return workers.stop().addCallback(lambda _: ended())

    reactor.addSystemEventTrigger("before", "shutdown", stop)
    signals.on_second.append(lambda: _break_off(telemetry.counters, workers))
    return workers.start().addCallback(lambda _: announce(settings, ports))


def _break_off(counters: SharedCounters, workers: Workers) -> None:
    """Kill the workers at a second signal, and log how many answers that loses."""
    log.warn("stopped by a second signal: {pending} pending broken off", pending=pending_in(counters))
    workers.kill()


def _first(failure: Failure) -> Failure:
    failure.trap(FirstError)
    return cast("FirstError", failure.value).subFailure


def announce(settings: Settings, ports: Ports) -> Ports:
    """Log the URLs of the service."""
    own = endpoints(settings)
    for description, port in zip(own, ports.public[: len(own)], strict=True):
        base = _url(description, port.getHost())
        klein, raw = f"{base}/delayed", f"{base}/raw/delayed"
        log.info("serving {klein} (Klein) and {raw} (raw)", klein=klein, raw=raw, **_start(port, klein, raw))
    for (name, description), port in zip(settings.scenario_listen, ports.public[len(own) :], strict=True):
        url = _url(description, port.getHost())
        log.info("serving {url} as {scenario}", url=url, **{**_start(port, url), "scenario": name})
    for description, port in zip(settings.admin_listen, ports.admin, strict=True):
        base = _url(description, port.getHost())
        ready, figures = f"{base}/readyz", f"{base}/metrics"
        log.info("serving {ready} and {figures}", ready=ready, figures=figures, **_start(port, ready, figures))
    return ports


def _start(port: "IListeningPort", *urls: str) -> dict[str, Any]:
    """Return what the log has in JSON about an endpoint."""
    return {"urls": urls, "port": getattr(port.getHost(), "port", None), "scenario": None}


def _url(description: str, address: object) -> str:
    scheme = "https" if description.removeprefix(_HAPROXY).startswith("ssl:") else "http"
    if isinstance(address, IPv6Address):
        return f"{scheme}://[{address.host}]:{address.port}"
    if isinstance(address, IPv4Address):
        return f"{scheme}://{address.host}:{address.port}"
    return description

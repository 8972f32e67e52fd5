"""Everything that can be configured, as one frozen value."""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from latebin.core.http.networks import Network
from latebin.core.language.duration import render
from latebin.core.language.trace import Trace

LOG_FORMATS: Final = ("text", "json")


@attrs.frozen
class Settings:
    """What the operator chose; the defaults are what `latebin serve` does when told nothing.

    Attributes:
        host: the address that `port` is bound to; loopback, unless the operator exposes the service.
        port: the TCP port, 0 for one that the system chooses.
        listen: Twisted server endpoint descriptions, instead of host and port.
        default_delay: seconds that `/delayed` waits when the caller asks for nothing.
        max_delay: seconds, the longest delay that a caller may ask for; a draw above it is cut to it.
        max_body: bytes of the largest body that a caller may ask for, or send.
        header_timeout: seconds that a client may take to send the headers of a request, from the first byte on.
        body_timeout: seconds that a client may take to send each 64 KiB of a body, or to leave when it was refused.
        traces: recorded latencies by the name under which `trace(NAME)` draws from them.
        upstreams: URLs by the name under which `/via/NAME` passes requests on, as
            `latebin.core.http.upstream_url.parse` reads them.
        upstream_timeout: seconds that an upstream may take to begin its answer.
        max_pending: answers that may be pending at once in each worker, both styles together; None for as many as
            come.
        log_format: one of LOG_FORMATS.
        proxy_headers: networks of the proxies whose word counts for the client of a request; none by default.
        workers: processes that accept; a single one is the process that was started.
        shutdown_delay: seconds from the signal to stop until nobody new is accepted.
        drain_timeout: seconds from then on that what is pending has to be answered.
        admin_listen: Twisted server endpoint descriptions, where health and figures are told instead of beside the
            service.
        scenarios: scenarios by their names, each as `latebin.core.scenarios.read` takes it.
        default_scenario: the name of the scenario that answers at every path that is not the service's own.
        scenario_listen: names of scenarios, each with a Twisted server endpoint description of its own.

    Raises:
        ValueError: the default delay is above the longest.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    listen: tuple[str, ...] = ()
    default_delay: float = 5.0
    max_delay: float = 600.0
    max_body: int = 16 * 1024**2
    max_pending: int | None = None
    traces: Mapping[str, Trace] = attrs.field(factory=dict, repr=False)
    upstreams: Mapping[str, str] = attrs.field(factory=dict)
    upstream_timeout: float = 30.0
    log_format: str = attrs.field(default="text", validator=attrs.validators.in_(LOG_FORMATS))
    proxy_headers: tuple[Network, ...] = ()
    workers: int = 1
    shutdown_delay: float = 0.0
    drain_timeout: float = 30.0
    header_timeout: float = 20.0
    body_timeout: float = 60.0
    admin_listen: tuple[str, ...] = ()
    scenarios: Mapping[str, "str | Mapping[str, Any]"] = attrs.field(factory=dict)
    default_scenario: str | None = None
    scenario_listen: tuple[tuple[str, str], ...] = ()

    def __attrs_post_init__(self) -> None:
        if self.default_delay > self.max_delay:
            longest = render(self.max_delay)
            raise ValueError(f"the default delay, {render(self.default_delay)}, is above the longest, {longest}")

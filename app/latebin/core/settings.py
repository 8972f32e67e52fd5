"""The configuration of a service, as one frozen value."""

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from latebin.core.http.control_access import MODES
from latebin.core.http.networks import Network
from latebin.core.language.duration import render
from latebin.core.language.trace import Trace

LOG_FORMATS: Final = ("text", "json")

STACKS: Final = ("stock", "tuned")
MIN_LOG_BUFFER: Final = 64 * 1024

MAX_LOG_BUFFER: Final = 1024**3

_PLAIN: Final = re.compile("(haproxy:)?(tcp|tcp6|unix):")
"""The beginning of the description of an endpoint without TLS; of any other endpoint, TLS may be a part."""


@attrs.frozen
class Settings:
    """The settings of a service; the defaults are those of `latebin serve`.

    Attributes:
        host: the address that `port` is bound to.
        port: the TCP port; 0 for a free one.
        listen: Twisted server endpoint descriptions, instead of host and port.
        default_delay: seconds that `/delayed` waits if the request has no delay.
        max_delay: seconds of the longest delay that a request may have; longer draws are cut to it.
        max_body: bytes of the largest body, of a request or of an answer.
        header_timeout: seconds for the headers of a request, from its first byte on.
        body_timeout: seconds for each 64 KiB of a request body, or for the client to leave after a refusal.
        traces: the traces by name, for `trace(NAME)`.
        upstreams: the URLs for `/via/NAME` by name, as from `latebin.core.http.upstream_url.parse`.
        upstream_timeout: seconds until an upstream has to begin its answer.
        max_pending: the most pending answers at once in each worker, both styles together; None for no limit.
        log_format: one of LOG_FORMATS.
        log_buffer: bytes of log lines that each process keeps while nothing reads its log.
        proxy_headers: networks of the proxies whose headers name the client of a request.
        workers: the number of processes that accept; a single one is the process that was started.
        shutdown_delay: seconds from the signal to stop until the service accepts no more.
        drain_timeout: seconds from then on for the pending answers.
        admin_listen: Twisted server endpoint descriptions for health and figures, instead of the service's own.
        scenarios: the scenarios by name, each as for `latebin.core.scenarios.read`.
        default_scenario: the name of the scenario for every path that is not one of the service's own.
        scenario_listen: names of scenarios, each with its own Twisted server endpoint description.
        cors: the origins whose pages may read answers; `*` for any.
        control: one of `latebin.core.http.control_access.MODES`: `open` lets every client change the service.
        control_token: the token that a client needs to change the service; None for none.
        stack: one of STACKS: Twisted's and Klein's own classes, or those of `latebin.overrides` in their place.

    Raises:
        ValueError: the default delay is above the longest; or the stock stack is to share a UNIX socket among workers.
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
    log_buffer: int = 1024**2
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
    cors: tuple[str, ...] = ()
    control: str = attrs.field(default="auto", validator=attrs.validators.in_(MODES))
    control_token: str | None = attrs.field(default=None, repr=False)
    stack: str = attrs.field(default="tuned", validator=attrs.validators.in_(STACKS))

    @property
    def secure(self) -> bool:
        """Whether TLS may be needed.

        It may be for an upstream, and for an endpoint that is not plain TCP or a UNIX socket.
        """
        endpoints = *self.listen, *self.admin_listen, *(endpoint for _, endpoint in self.scenario_listen)
        return not all(map(_PLAIN.match, endpoints)) or any(url.startswith("https:") for url in self.upstreams.values())

    def __attrs_post_init__(self) -> None:
        if self.default_delay > self.max_delay:
            longest = render(self.max_delay)
            raise ValueError(f"the default delay, {render(self.default_delay)}, is above the longest, {longest}")
        shared = self.workers > 1 and [each for each in (*self.listen, *self.admin_listen) if "unix:" in each]
        if self.stack == "stock" and shared:
            # Twisted's own port of such a socket removes its path, though others still accept on it.
            raise ValueError(f"several workers cannot share {shared[0]} on the stock stack: take tuned, or one worker")

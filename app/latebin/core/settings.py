"""The configuration of a service, as one frozen value."""

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from latebin.core.http.control_access import MODES
from latebin.core.http.networks import Network
from latebin.core.language.duration import render
from latebin.core.language.trace import Trace
from latebin.core.state_url import StateUrl

LOG_FORMATS: Final = ("text", "json")

STACKS: Final = ("stock", "tuned")

HOSTS: Final = ("own", "keep")

MIN_LOG_BUFFER: Final = 64 * 1024

MAX_LOG_BUFFER: Final = 1024**3

_NEEDED: Final = {
    "header_timeout": "the timeout of headers is 0s: each request in two parts would be a 408",
    "body_timeout": "the timeout of bodies is 0s: each body in two parts would be a 408",
    "keep_alive_timeout": "the keep-alive timeout is 0s: every connection would be closed before its request",
    "max_unread": "no byte may be unread: each answer would be aborted that its client does not read at once",
    "state_lifetime": "the lifetime of the state is 0s: each key would be forgotten before its next request",
    "upstream_timeout": "the timeout of upstreams is 0s: every request to one would be a 504",
}
"""The settings that cannot be 0, with the reason."""

_PLAIN: Final = re.compile("(haproxy:)?(tcp|tcp6|unix):")
"""The beginning of the description of an endpoint without TLS; of any other endpoint, TLS may be a part."""


OPTION: Final = "option"
"""The key of a field's `Option` in its metadata."""


@attrs.frozen
class Option:
    """The option of `latebin serve` that sets a field of `Settings`.

    Attributes:
        kind: the kind of its value, one of `latebin.cli.serve.KINDS`.
        meaning: its text in the help and in the reference.
        flag: its flag; None for the name of the field.
    """

    kind: str
    meaning: str
    flag: str | None = None


def _option(default: object, kind: str, meaning: str, flag: str | None = None, **field: Any) -> Any:  # noqa: ANN401  # attrs reads it
    """Declare a field with its option."""
    return attrs.field(default=default, metadata={OPTION: Option(kind, meaning, flag)}, **field)


@attrs.frozen
class Settings:
    """The settings of a service; the defaults are those of `latebin serve`.

    Each field has its meaning in its option. Durations are in seconds, sizes in bytes.

    Attributes:
        scenarios: the scenarios by name, each as for `latebin.core.scenarios.read`.
        control_token: the token that a client needs to change the service; None for none.

    Raises:
        ValueError: the keep-alive timeout is 0; the default delay is above the longest; or the stock stack is to share
            a UNIX socket among workers.
    """

    host: str = _option("127.0.0.1", "host", "Address to listen on.")
    port: int = _option(8080, "port", "TCP port; 0 for any that is free.")
    listen: tuple[str, ...] = _option((), "endpoint", "Twisted server endpoint, instead of host and port.")
    default_delay: float = _option(5.0, "duration", "Delay of /delayed if a request names no delay.")
    max_delay: float = _option(600.0, "duration", "Longest delay that a request may ask for.")
    upstreams: Mapping[str, str] = _option(
        attrs.Factory(dict), "upstream", "Pass requests under /via/NAME on to URL, late.", "--upstream"
    )
    upstream_timeout: float = _option(30.0, "duration", "How long an upstream may be silent, before and in its answer.")
    upstream_host: str = _option(
        "own",
        "upstream host",
        "Host that an upstream gets: its own, or keep for the client's.",
        validator=attrs.validators.in_(HOSTS),
    )
    upstream_ca: str | None = _option(
        None, "file", "File of certificates to trust for upstreams, besides those of the system."
    )
    upstream_certs: Mapping[str, str] = _option(
        attrs.Factory(dict),
        "upstream file",
        "File with the client certificate for an upstream, and its key.",
        "--upstream-cert",
    )
    upstream_insecure: tuple[str, ...] = _option((), "name", "Upstream whose certificate is not checked.")
    records: Mapping[str, str] = _option(
        attrs.Factory(dict),
        "record",
        "Append the own times of an upstream to a file, which --trace reads.",
        "--record",
    )
    max_body: int = _option(16 * 1024**2, "size", "Largest body of a request or an answer.")
    header_timeout: float = _option(20.0, "duration", "How long the headers of a request may take to arrive.")
    body_timeout: float = _option(60.0, "duration", "How long each 64 kB of a body may take to arrive.")
    keep_alive_timeout: float = _option(
        60.0,
        "duration",
        "How long an idle connection stays open; answers announce it in Keep-Alive.",
    )
    traces: Mapping[str, Trace] = _option(
        attrs.Factory(dict),
        "trace",
        "File of recorded latencies, for trace(NAME): NAME=FILE[,column=elapsed][,unit=ms].",
        "--trace",
        repr=False,
    )
    max_pending: int | None = _option(
        None, "pending", "Most answers pending at once in a worker; auto: as many as open files allow."
    )
    max_unread: int = _option(
        128 * 1024**2, "size", "Most bytes of answers in a worker that wait for clients to read them."
    )
    log_format: str = _option("text", "log format", "Format of the log.", validator=attrs.validators.in_(LOG_FORMATS))
    log_buffer: int = _option(1024**2, "log buffer", "Log lines kept in memory while nothing reads the log.")
    proxy_headers: tuple[Network, ...] = _option((), "network", "Network of proxies whose headers are believed.")
    workers: int = _option(1, "workers", "Processes that accept connections; auto: one per core.")
    shutdown_delay: float = _option(0.0, "duration", "How long to accept connections after the signal to stop.")
    state: StateUrl | None = _option(  # noqa: RUF009  # as for the other fields
        None, "state", "Redis or Valkey that keeps keys, gates and the like for all workers and replicas."
    )
    state_lifetime: float = _option(
        3600.0, "duration", "How long a key, an open gate or a pool is kept after its last request."
    )
    drain_timeout: float = _option(30.0, "duration", "How long pending answers may take after that.")
    admin_listen: tuple[str, ...] = _option(
        (), "endpoint", "Twisted server endpoint of /healthz, /readyz, /metrics and /control."
    )
    scenarios: Mapping[str, "str | Mapping[str, Any]"] = attrs.field(factory=dict)
    default_scenario: str | None = _option(
        None, "name", "Scenario that answers at every path that is not the service's own."
    )
    scenario_listen: tuple[tuple[str, str], ...] = _option(
        (), "scenario endpoint", "Twisted server endpoint where every path is a scenario's."
    )
    cors: tuple[str, ...] = _option((), "origin", "Origin whose web pages may read answers; * for any.")
    control: str = _option(
        "auto",
        "control",
        "Clients that may change the service: auto (on this machine, or with the token), or open to all.",
        validator=attrs.validators.in_(MODES),
    )
    control_token: str | None = attrs.field(default=None, repr=False)
    stack: str = _option(
        "tuned",
        "stack",
        "Twisted's and Klein's own classes, or tuned ones in their place.",
        validator=attrs.validators.in_(STACKS),
    )

    @property
    def shares_state(self) -> bool:
        """Whether every process of the service knows the same keys, gates and the like."""
        return self.workers == 1 or self.state is not None

    @property
    def secure(self) -> bool:
        """Whether TLS may be needed.

        It may be for an upstream, for a state, and for an endpoint that is not plain TCP or a UNIX socket.
        """
        endpoints = *self.listen, *self.admin_listen, *(endpoint for _, endpoint in self.scenario_listen)
        secure = self.upstream_ca is not None or any(url.startswith("https:") for url in self.upstreams.values())
        # txredisapi imports TLS in any case.
        secure = secure or self.state is not None
        return secure or not all(map(_PLAIN.match, endpoints))

    def __attrs_post_init__(self) -> None:
        for name, reason in _NEEDED.items():
            if not getattr(self, name):
                raise ValueError(reason)
        if self.default_delay > self.max_delay:
            longest = render(self.max_delay)
            raise ValueError(f"the default delay, {render(self.default_delay)}, is above the longest, {longest}")
        for flag, names in (("--upstream-cert", self.upstream_certs), ("--upstream-insecure", self.upstream_insecure)):
            for name in names:
                if not self.upstreams.get(name, "").startswith("https:"):
                    raise ValueError(f"{flag}: there is no --upstream {name}=https://...")
        for name in self.records.keys() - self.upstreams.keys():
            raise ValueError(f"--record: there is no --upstream {name}=URL")
        shared = self.workers > 1 and [each for each in (*self.listen, *self.admin_listen) if "unix:" in each]
        if self.stack == "stock" and shared:
            # Twisted's own port of such a socket removes its path, though others still accept on it.
            raise ValueError(f"several workers cannot share {shared[0]} on the stock stack: take tuned, or one worker")

"""The access of requests to the control of a running service."""

import hmac
import re
from collections.abc import Collection
from ipaddress import ip_address
from typing import Final

import attrs

from latebin.core.http.reply import Problem

MODES: Final = ("auto", "open")

CLOSED: Final = Problem(
    403,
    "The operator has not opened the control of the service here.",
    accepted="--control-token-file or LATEBIN_CONTROL_TOKEN for a token, --admin-listen for an address of its own, "
    "or --control open for every client",
)

NO_TOKEN: Final = Problem(
    403,
    "The token is missing or wrong.",
    parameter="Authorization",
    accepted="Bearer and the token of --control-token-file or LATEBIN_CONTROL_TOKEN",
)

FOREIGN: Final = Problem(
    403,
    "A web page of another origin may not change the service.",
    parameter="Origin",
    accepted="the service's own origin",
)

REBOUND: Final = Problem(
    403,
    "The Host header is not an address of this service.",
    parameter="Host",
    accepted="an IP address, localhost, a name without a dot, or a name of --host or --listen; "
    "any Host beside the token of --control-token-file",
)

_INTERFACE: Final = re.compile(r"(?<!\\):interface=((?:\\.|[^:\\])*)")


def is_loopback(description: str) -> bool:
    """Check that only this machine can reach a Twisted server endpoint.

    An endpoint of the PROXY protocol is behind a proxy, which other machines can reach.

    Args:
        description: the description of the endpoint.
    """
    kind = description.partition(":")[0]
    if kind == "unix":
        return True
    interface = _INTERFACE.search(description)
    return kind in {"tcp", "tcp6", "ssl"} and interface is not None and is_local(re.sub(r"\\(.)", r"\1", interface[1]))


def is_local(host: str) -> bool:
    """Check that a host is this machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@attrs.frozen
class Gate:
    """The conditions under which a request may change the service.

    Attributes:
        closed: whether the control is closed to every request.
        token: the token that a request needs; None if none is set.
        names: the names of the service that a Host header may have, beside addresses.
    """

    closed: bool
    token: str | None = attrs.field(default=None, repr=False)
    names: Collection[str] = ()

    def problem(
        self,
        *,
        host: str,
        origin: str | None,
        fetch_site: str | None,
        authorization: str | None,
        secure: bool,
    ) -> Problem | None:
        """Return the problem of a request without access; None for one with access.

        Args:
            host: its `Host`, with a port or without.
            origin: its `Origin`, which browsers add to all requests of a page that change something.
            fetch_site: its `Sec-Fetch-Site`.
            authorization: its `Authorization`.
            secure: whether it came over TLS.
        """
        if self.closed:
            return CLOSED
        own = f"{'https' if secure else 'http'}://{host}".lower()
        if (origin is not None and origin.lower() != own) or fetch_site not in {None, "same-origin", "none"}:
            return FOREIGN
        if self.token is not None:
            scheme, _, given = (authorization or "").partition(" ")
            # In constant time, so that the time does not reveal a correct beginning.
            same = hmac.compare_digest(given.strip().encode(), self.token.encode())
            return None if same and scheme.lower() == "bearer" else NO_TOKEN
        # A foreign name server can resolve any other host to this machine.
        name = re.sub(r":[0-9]*$", "", host).strip("[]").rstrip(".").lower()
        is_address = ":" in name or re.fullmatch(r"[0-9.]+", name) is not None
        ours = is_address or "." not in name or name.endswith(".localhost") or name in self.names
        return None if ours else REBOUND


def public_gate(
    endpoints: Collection[str], hosts: Collection[str], *, mode: str, token: str | None, proxied: bool
) -> Gate:
    """Make the gate of a service's public address.

    Args:
        endpoints: the Twisted server endpoint descriptions that it listens on.
        hosts: the names or addresses that it listens on.
        mode: one of MODES.
        token: what lets a request in; None without one.
        proxied: whether proxies pass requests of others on to it.
    """
    local = not proxied and all(map(is_loopback, endpoints)) and all(map(is_local, hosts))
    return Gate(
        closed=not (local or token is not None or mode == "open"), token=token, names=names_of(endpoints, hosts)
    )


def names_of(endpoints: Collection[str], hosts: Collection[str] = ()) -> frozenset[str]:
    """Collect the names and addresses of endpoints and hosts, in lower case."""
    found = [match[1] for each in endpoints if (match := _INTERFACE.search(each))]
    return frozenset(name.lower() for name in (*hosts, *found))

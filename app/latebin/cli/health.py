"""The command that checks whether a service is alive."""

import re
import socket
import ssl
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlsplit

import attrs
import click

from latebin.cli.options import DEFAULTS, DurationType, WholeType, setting

PATH: Final = "/healthz"

_PART: Final = re.compile(r"((?:\\.|[^:\\])*)(?::|$)")
"""A part of the description of an endpoint; a backslash escapes a colon."""

_NAMED: Final = re.compile(r"([A-Za-z]+)=(.*)", re.DOTALL)

_PROXY: Final = b"PROXY UNKNOWN\r\n"
"""The header of the PROXY protocol of a connection that a proxy makes itself."""

_ANY: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # to ask there, not to listen
"""The loopback address of a service that listens on every address."""


@click.command("health")
@click.option("--url", "chosen", help="URL to ask, instead of that of the other settings.")
@setting("--host", default=DEFAULTS.host, help="Address that the service listens on.")
@setting("--port", default=DEFAULTS.port, type=WholeType(0, 65535), help="TCP port that the service listens on.")
@setting("--listen", multiple=True, help="Twisted server endpoint of the service, instead of host and port.")
@setting("--admin-listen", multiple=True, help="Twisted server endpoint of /healthz.")
@click.option("--timeout", type=DurationType(), default="3s", show_default=True, help="How long the answer may take.")
def health_command(  # noqa: PLR0917  # click gives them by name
    chosen: str | None, host: str, port: int, listen: tuple[str, ...], admin_listen: tuple[str, ...], timeout: float
) -> None:
    """Ask /healthz of the service on this machine.

    Exit code: 0 the service is alive, 1 it is not, 2 wrong usage.
    """
    try:
        ask(Asked(chosen) if chosen else find(admin_listen or listen, host, port), timeout)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except UnhealthyError as error:
        raise click.ClickException(str(error)) from error


class UnhealthyError(Exception):
    """The service did not answer that it is alive."""


@attrs.frozen
class Asked:
    """The place of `/healthz`.

    Attributes:
        url: its URL.
        socket: the path of the UNIX socket that takes the place of the URL's host; None for TCP.
        proxied: whether the connection begins with a header of the PROXY protocol.
    """

    url: str
    socket: str | None = None
    proxied: bool = False

    def __str__(self) -> str:
        return self.url if self.socket is None else f"{self.socket}: {self.url}"


def find(endpoints: Sequence[str], host: str, port: int) -> Asked:
    """Find `/healthz` of a service on this machine.

    Args:
        endpoints: the Twisted endpoint descriptions of the service, in order of preference.
        host: the address that the service listens on without endpoints.
        port: the TCP port that it listens on without endpoints.

    Raises:
        ValueError: no endpoint can be asked.
    """
    if not endpoints:
        return Asked(_url("http", host, port))
    for description in endpoints:
        found = _find(description)
        if found is not None:
            return found
    raise ValueError(f"nothing to ask at {', '.join(endpoints)}: only at unix, tcp, tcp6 and ssl, with a port")


def _find(description: str) -> Asked | None:
    proxied = description.startswith("haproxy:")
    kind, *parts = (part[1] for part in _PART.finditer(description.removeprefix("haproxy:")))
    named = {found[1]: found[2] for part in parts if (found := _NAMED.fullmatch(part))}
    first = next((part for part in parts[:1] if not _NAMED.fullmatch(part)), "")
    if kind == "unix":
        path = _unescaped(named.get("address", first))
        return Asked(f"http://localhost{PATH}", path, proxied) if path else None
    port = named.get("port", first)
    if kind not in {"tcp", "tcp6", "ssl"} or not (port.isascii() and port.isdigit()) or not int(port):
        return None
    host = _unescaped(named.get("interface", "::" if kind == "tcp6" else ""))
    return Asked(_url("https" if kind == "ssl" else "http", host, int(port)), None, proxied)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _url(scheme: str, host: str, port: int) -> str:
    if not port:
        raise ValueError("nothing to ask at port 0, which is any that is free")
    address = _ANY.get(host, host)
    return f"{scheme}://[{address}]:{port}{PATH}" if ":" in address else f"{scheme}://{address}:{port}{PATH}"


def ask(asked: Asked, timeout: float) -> None:
    """Send one GET, and return if the answer is 200.

    Args:
        asked: the place, with an http or https URL.
        timeout: seconds that connecting, and each read from the connection, may take.

    Raises:
        ValueError: the URL has another scheme or no host.
        UnhealthyError: there was another answer, or none.
    """
    parts = urlsplit(asked.url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{asked.url!r} is not a URL such as http://127.0.0.1:8080{PATH}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    connection = HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        connection.sock = _connected(asked, parts.scheme, parts.hostname, port, timeout)
        connection.request("GET", f"{parts.path or PATH}?{parts.query}".removesuffix("?"))
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        raise UnhealthyError(f"{asked}: {error or type(error).__name__}") from error
    finally:
        connection.close()
    if status != 200:  # noqa: PLR2004  # OK
        raise UnhealthyError(f"{asked} answered {status}")


def _connected(asked: Asked, scheme: str, host: str, port: int, timeout: float) -> socket.socket:
    if asked.socket is None:
        connected = socket.create_connection((host, port), timeout)
    else:
        connected = socket.socket(socket.AF_UNIX)
        connected.settimeout(timeout)
        connected.connect(asked.socket)
    if asked.proxied:
        connected.sendall(_PROXY)
    if scheme == "http":
        return connected
    # The request and the answer hold no secret, and the certificate names the public host, not the loopback address.
    context = ssl._create_unverified_context()  # noqa: S323, SLF001  # the library has no public name for it
    return context.wrap_socket(connected, server_hostname=host)

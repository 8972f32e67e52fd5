"""The command that checks whether a service is alive."""

import re
import ssl
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

import click

from latebin.cli.options import DEFAULTS, DurationType, WholeType, setting

PATH: Final = "/healthz"

_TCP: Final = re.compile(r"(tcp|tcp6|ssl):(?:port=)?(\d+)(?::|$)")

_INTERFACE: Final = re.compile(r"(?<!\\):interface=((?:\\.|[^:\\])*)")

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
        ask(chosen or url(admin_listen or listen, host, port), timeout)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except UnhealthyError as error:
        raise click.ClickException(str(error)) from error


class UnhealthyError(Exception):
    """The service did not answer that it is alive."""


def url(endpoints: Sequence[str], host: str, port: int) -> str:
    """Give the URL of `/healthz` of a service on this machine.

    Args:
        endpoints: the Twisted endpoint descriptions of the service, in order of preference.
        host: the address that the service listens on without endpoints.
        port: the TCP port that it listens on without endpoints.

    Raises:
        ValueError: no endpoint is one that can be asked.
    """
    if not endpoints:
        return _url("http", host, port)
    for description in endpoints:
        found = _TCP.match(description)
        if found and int(found[2]):
            interface = _INTERFACE.search(description)
            every = "::" if found[1] == "tcp6" else ""
            host = re.sub(r"\\(.)", r"\1", interface[1]) if interface else every
            return _url("https" if found[1] == "ssl" else "http", host, int(found[2]))
    raise ValueError(f"nothing to ask at {', '.join(endpoints)}: only at tcp, tcp6 and ssl, with a port")


def _url(scheme: str, host: str, port: int) -> str:
    if not port:
        raise ValueError("nothing to ask at port 0, which is any that is free")
    address = _ANY.get(host, host)
    return f"{scheme}://[{address}]:{port}{PATH}" if ":" in address else f"{scheme}://{address}:{port}{PATH}"


def ask(url: str, timeout: float) -> None:
    """Send one GET, and return if the answer is 200.

    Args:
        url: an http or https URL.
        timeout: seconds that connecting, and each read from the connection, may take.

    Raises:
        ValueError: the URL has another scheme or no host.
        UnhealthyError: there was another answer, or none.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is not a URL such as http://127.0.0.1:8080{PATH}")
    connection = _connection(parts.scheme, parts.hostname, parts.port, timeout)
    try:
        connection.request("GET", f"{parts.path or PATH}?{parts.query}".removesuffix("?"))
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        raise UnhealthyError(f"{url}: {error or type(error).__name__}") from error
    finally:
        connection.close()
    if status != 200:  # noqa: PLR2004  # OK
        raise UnhealthyError(f"{url} answered {status}")


def _connection(scheme: str, host: str, port: int | None, timeout: float) -> HTTPConnection:
    if scheme == "http":
        return HTTPConnection(host, port, timeout=timeout)
    # The request and the answer hold no secret, and the certificate names the public host, not the loopback address.
    context = ssl._create_unverified_context()  # noqa: S323, SLF001  # the library has no public name for it
    return HTTPSConnection(host, port, timeout=timeout, context=context)

"""The target of a load run: the server's address and the bytes of a request."""

import ssl
from decimal import Decimal
from typing import Final
from urllib.parse import quote, urlsplit

import attrs

from latebin.load.schedule import RunError

PLACEHOLDER: Final = "{delay}"
"""The part of a URL that is replaced by the delay in seconds, as a plain decimal number that most servers read."""

PORTS: Final = {"http": 80, "https": 443}
"""The port of each scheme that a URL without a port has."""

_PRINTABLE: Final = "".join(map(chr, range(0x21, 0x7F)))


def tls_context(*, insecure: bool) -> ssl.SSLContext:
    """Make a context that trusts the certificates of the system, or all."""
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@attrs.frozen(kw_only=True)
class Target:
    """A server and a resource on it.

    Attributes:
        host: a name or an IP address, without brackets.
        port: the TCP port.
        authority: the value of the Host header, as in the URL.
        resource: path and query: the request target in origin form (RFC 9112, section 3.2.1).
        secure: whether the connection is over TLS.
    """

    host: str
    port: int
    authority: str
    resource: str
    secure: bool = False

    def request(self, *, keep: bool) -> bytes:
        """Return the bytes of a GET request.

        Args:
            keep: whether to ask for a persistent connection.

        Returns:
            The complete request.
        """
        lines = (
            f"GET {self.resource} HTTP/1.1",
            f"Host: {self.authority}",
            "User-Agent: latebin-measure",
            "Accept: */*",
            f"Connection: {'keep-alive' if keep else 'close'}",
        )
        return "".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii")


def parse(url: str, delay: float) -> Target:
    """Parse the URL of a run.

    PLACEHOLDER is replaced by the delay. A URL without it is sent as it is; the delay is then only the expected one.

    Args:
        url: an http or https URL; the fragment is removed, because HTTP never sends it.
        delay: in seconds.

    Returns:
        The target.

    Raises:
        RunError: the URL is malformed, or is not an http or https URL in ASCII with a host and without a password.
    """
    try:
        parts = urlsplit(url.replace(PLACEHOLDER, f"{Decimal(repr(delay)).normalize():f}"))
        port = parts.port or PORTS.get(parts.scheme, 0)
        # The look-up of the address does the same, but its UnicodeError would not be a refusal.
        (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise RunError(f"{url!r}: {error}") from error
    if parts.scheme not in PORTS or not parts.hostname or "@" in parts.netloc or not url.isascii():
        raise RunError(f"{url!r} is not an http:// or https:// URL in ASCII with a host and without a password")
    resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(
        host=parts.hostname,
        port=port,
        authority=parts.netloc,
        resource=quote(resource, _PRINTABLE),
        secure=parts.scheme == "https",
    )

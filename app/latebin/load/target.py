"""What a measured run sends, and to whom: a URL, and the bytes of a request for it."""

from decimal import Decimal
from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

import attrs

from latebin.load.schedule import RunError

PLACEHOLDER: Final = "{delay}"
"""Where a URL says the delay: replaced by its seconds as a plain decimal number, which most servers read."""

HTTP_PORT: Final = 80

_PRINTABLE: Final = "".join(map(chr, range(0x21, 0x7F)))


@attrs.frozen(kw_only=True)
class Target:
    """A server, and the resource asked of it.

    Attributes:
        host: a name or an address, without brackets.
        port: its TCP port.
        authority: the Host header's value, as the URL has it.
        resource: path and query, the request target in origin form (RFC 9112, section 3.2.1).
    """

    host: str
    port: int
    authority: str
    resource: str

    def request(self, *, keep: bool) -> bytes:
        """Write the GET request, the same for every turn.

        Args:
            keep: ask that the connection stays open for the next request.

        Returns:
            The whole request.
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
    """Read the URL of a run.

    A URL without PLACEHOLDER is sent exactly as it is: the delay then says only what to expect.

    Args:
        url: an http URL; a fragment is dropped, as it is never sent.
        delay: seconds.

    Returns:
        The target.

    Raises:
        RunError: the URL is not one that can be sent to.
    """
    parts, port = _split(url, url.replace(PLACEHOLDER, f"{Decimal(repr(delay)).normalize():f}"))
    if parts.scheme != "http" or not parts.hostname or "@" in parts.netloc or not url.isascii():
        raise RunError(f"{url!r} is not an http:// URL in ASCII with a host, and without a password")
    resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(host=parts.hostname, port=port, authority=parts.netloc, resource=quote(resource, _PRINTABLE))


def _split(url: str, filled: str) -> tuple[SplitResult, int]:
    try:
        parts = urlsplit(filled)
        port = parts.port or HTTP_PORT
        (parts.hostname or "").encode("idna")  # as whoever looks it up does, whose failure would be no OSError
    except ValueError as refusal:
        raise RunError(f"{url!r}: {refusal}") from refusal
    return parts, port

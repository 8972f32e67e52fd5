"""The URL of an upstream, and the URL of a request passed on to it."""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

VIA: Final = b"via"

ACCEPTED: Final = "NAME=URL such as api=http://127.0.0.1:9000 or shop=https://shop.example/v2"

_UPSTREAM: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,62})=(.*)", re.DOTALL)

_URL: Final = re.compile(
    r"https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*)(?::(?P<port>[0-9]{1,5}))?"
    r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)*/?"
)
"""An absolute http URL to which a path can be added (RFC 9110, section 4.2): no userinfo, query or fragment."""

_MAX_PORT: Final = 65535

_BEHIND: Final = re.compile(rb"[!\"$-~]*")
"""The characters of a request target: visible ASCII without a fragment (RFC 9112, section 3.2)."""

_CLIMBS: Final = re.compile(rb"(?:^|[/\\])\.\.(?:$|[/\\;])")
"""A segment that any server could read as `..`: also behind a backslash, or with path parameters."""


def parse(text: str) -> tuple[str, str]:
    """Read an upstream from NAME=URL.

    Returns:
        The name, and the URL without a slash at the end.

    Raises:
        ValueError: text is not NAME=URL, or a path cannot be added to the URL.
    """
    parts = _UPSTREAM.fullmatch(text)
    url = parts and _URL.fullmatch(parts[2])
    if not parts or not url or not 0 < int(url["port"] or 1) <= _MAX_PORT or _climbs(url[0].encode("ascii")):
        raise ValueError(f"expected {ACCEPTED}")
    return parts[1], parts[2].removesuffix("/")


def target(base: str, uri: bytes, mounted: int) -> bytes:
    """Add the rest of a request target, unchanged, to the URL of an upstream.

    Scheme, host and port are always those of the upstream: the rest begins with a slash or a question mark.

    Args:
        base: the URL of the upstream, as from `parse`.
        uri: the request target as received.
        mounted: the segments of its path before the rest, as from the function of this name.

    Raises:
        ValueError: the rest is not a path, or climbs out of the upstream's path.
    """
    path, mark, query = uri.partition(b"?")
    rest = b"".join(b"/" + segment for segment in path.split(b"/")[mounted + 1 :])
    if not _BEHIND.fullmatch(rest + mark + query):
        raise ValueError("expected visible ASCII without #")
    if _climbs(rest):
        raise ValueError("expected a path without ..")
    if not rest and "/" not in base.partition("://")[2]:
        rest = b"/"
    return base.encode("ascii") + rest + mark + query


def mounted(uri: bytes, endpoint: bytes) -> int:
    """Count the segments of a path up to the name behind an endpoint.

    These are 2 in `/via/api/b` and 3 in `/raw/via/api/b`.
    """
    return _segments(uri).index(endpoint) + 2


def rest(uri: bytes, mounted: int) -> str:
    """Return the client's own path, decoded, from its first slash on."""
    return b"/".join([b"", *_segments(uri)[mounted:]]).decode("utf-8", "backslashreplace")


def scenario_name(uri: bytes) -> str | None:
    """Return the scenario in a path such as `/as/NAME/...`; None in any other."""
    first, second, third, *_ = [*_segments(uri), b"", b"", b""]
    endpoint, name = (second, third) if first == b"raw" else (first, second)
    return name.decode("utf-8", "backslashreplace") if endpoint == b"as" else None


def first_segment(uri: bytes) -> bytes:
    """Return the first segment of a path, decoded."""
    return _segments(uri)[0] if uri.startswith(b"/") else b""


def streams(uri: bytes) -> bool:
    """Check whether the body of a request is passed on as it arrives.

    That is so if its path begins with `/via` or `/raw/via`.
    """
    first, second, *_ = [*_segments(uri), b"", b""]
    return VIA in (first, second if first == b"raw" else b"")


def _segments(uri: bytes) -> list[bytes]:
    path = uri.partition(b"?")[0]
    return [unquote_to_bytes(segment) for segment in path.split(b"/")[1:]]


def _climbs(path: bytes) -> bool:
    return _CLIMBS.search(unquote_to_bytes(path)) is not None

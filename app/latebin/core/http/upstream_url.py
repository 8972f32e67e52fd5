"""The URL of an upstream, and the URL of a request passed on to it."""

import re
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

import attrs

from latebin.core.http.host import MAX_PORT

VIA: Final = b"via"

ACCEPTED: Final = "NAME=URL such as api=http://127.0.0.1:9000, shop=https://shop.example/v2 or app=unix:/run/app.sock"

_UPSTREAM: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,62})=(.*)", re.DOTALL)

_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9._~-]{1,32})?\]|[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?)"
    r"(?::(?P<port>[0-9]{1,5}))?(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)*/?"
)
"""An absolute http URL to which a path can be added (RFC 9110, section 4.2): no userinfo, query or fragment.

A name is any that a resolver could know, whether or not DNS could: with underscores, hyphens anywhere, long labels. An
address of IPv6 may have a zone (RFC 6874).
"""

_SOCKET: Final = re.compile(r"unix:(/(?:[A-Za-z0-9._~+@,=-]+/)*[A-Za-z0-9._~+@,=-]+)")
"""The path of a UNIX socket."""

_UNIX: Final = "http+unix"
"""The scheme of a URL whose authority is the percent-encoded path of a socket."""

_MOST_HOST: Final = 255

_NOT_ASCII: Final = re.compile(r"(https?://)([^/:?#\[\]@%]*[^\x00-\x7f][^/:?#\[\]@%]*)(.*)", re.DOTALL)

_BEHIND: Final = re.compile(rb"[!\"$-~]*")
"""The characters of a request target: visible ASCII without a fragment (RFC 9112, section 3.2)."""

_CLIMBS: Final = re.compile(rb"(?:^|[/\\])\.\.(?:$|[/\\;])")
"""A segment that any server could read as `..`: also behind a backslash, or with path parameters."""


def parse(text: str) -> tuple[str, str]:
    """Read an upstream from NAME=URL.

    Returns:
        The name, and the URL without a slash at the end. A host in other letters than ASCII is its A-label there (RFC
        5891), and a UNIX socket is a URL with the scheme `http+unix`.

    Raises:
        ValueError: text is not NAME=URL, or a path cannot be added to the URL.
    """
    parts = _UPSTREAM.fullmatch(text)
    if parts is not None and (socket := _SOCKET.fullmatch(parts[2])) is not None:
        return parts[1], f"{_UNIX}://{socket[1].replace('/', '%2F')}"
    given = parts and _ascii(parts[2])
    url = given and _URL.fullmatch(given)
    if not parts or not url or not 0 < int(url["port"] or 1) <= MAX_PORT or _climbs(url[0].encode("ascii")):
        raise ValueError(f"expected {ACCEPTED}")
    if len(url["host"]) > _MOST_HOST:
        raise ValueError(f"expected a host of at most {_MOST_HOST} characters")
    return parts[1], url[0].removesuffix("/")


def _ascii(url: str) -> str:
    """Write the host of a URL in ASCII, if it is not."""
    found = _NOT_ASCII.fullmatch(url)
    if found is None:
        return url
    import idna  # noqa: PLC0415  # its tables take 10 ms, and few hosts need them

    try:
        return found[1] + idna.encode(found[2], uts46=True).decode("ascii") + found[3]
    except idna.IDNAError as error:
        raise ValueError(f"the host {found[2]!r} is not a domain name: {error}") from None


@attrs.frozen
class Origin:
    """The server of an upstream.

    Attributes:
        scheme: `http` or `https`.
        authority: host and port as in the URL, for `Host`.
        host: the name as it is looked up, or the address, with the zone that it may have.
        port: the TCP port.
        socket: the path of a UNIX socket instead; empty for none.
    """

    scheme: bytes
    authority: bytes
    host: str
    port: int
    socket: str = ""

    @property
    def secure(self) -> bool:
        """Whether it is reached over TLS."""
        return self.scheme == b"https"

    @property
    def url(self) -> bytes:
        """The URL of the server, without a path."""
        return self.scheme + b"://" + self.authority


def origin(base: str) -> Origin:
    """Return the server of an upstream's URL, as from `parse`."""
    if base.startswith(_UNIX):
        return Origin(b"http", b"localhost", "localhost", 80, unquote(base.partition("://")[2].partition("/")[0]))
    url = _URL.fullmatch(base)
    if url is None:
        raise ValueError(f"{base!r} is not the URL of an upstream")
    host, port = url["host"], url["port"]
    # A zone means something on this machine alone (RFC 6874, section 1).
    bare = re.sub("%25[^]]*", "", host)
    authority = bare if port is None else f"{bare}:{port}"
    default = 443 if url["scheme"] == "https" else 80
    address = host.strip("[]").replace("%25", "%")
    return Origin(url["scheme"].encode("ascii"), authority.encode("ascii"), address, int(port or default))


def base_path(base: str) -> bytes:
    """Return the path of an upstream's URL, without a slash at its end."""
    return b"".join(base.encode("ascii").partition(b"://")[2].partition(b"/")[1:])


@attrs.frozen
class Target:
    """The place at an upstream that a request is passed on to.

    Attributes:
        upstream: the upstream's name.
        base: its URL.
        path: the request target there, with its query.
        mount: the client's path of that base, without a slash at its end; empty for the root.
    """

    upstream: str
    base: str
    path: bytes
    mount: bytes


def target(base: str, uri: bytes, mounted: int) -> bytes:
    """Add the rest of a request target to the path of an upstream.

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
    if not rest and not base_path(base):
        rest = b"/"
    return base_path(base) + rest + mark + query


def mount(uri: bytes, mounted: int) -> tuple[bytes, bool]:
    """Return the first segments of a path, as they were sent.

    Returns:
        The segments, and whether they are all of the path.
    """
    segments = uri.partition(b"?")[0].split(b"/")
    return b"/".join(segments[: mounted + 1]), len(segments) == mounted + 1


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
    endpoint, name = _endpoint(uri)
    return split_name(name.decode("utf-8", "backslashreplace"))[0] if endpoint == b"as" else None


def behind_name(uri: bytes) -> list[tuple[str, str]]:
    """Return the parameters behind the name in a path such as `/as/NAME;key=t42/...`."""
    endpoint, name = _endpoint(uri)
    return split_name(name.decode("utf-8", "backslashreplace"))[1] if endpoint in {b"as", VIA} else []


def is_delayed(uri: bytes) -> bool:
    """Check whether a path is `/delayed`, or below it, in either style."""
    return _endpoint(uri)[0] == b"delayed"


def split_name(segment: str) -> tuple[str, list[tuple[str, str]]]:
    """Split a segment such as `payments;key=t42` into the name and the parameters behind it."""
    if ";" not in segment:
        return segment, []
    name, *fields = segment.split(";")
    pairs = (field.partition("=") for field in fields)
    return name, [(field, value) for field, _, value in pairs]


def first_segment(uri: bytes) -> bytes:
    """Return the first segment of a path, decoded."""
    return _segments(uri)[0] if uri.startswith(b"/") else b""


def streams(uri: bytes) -> bool:
    """Check whether the body of a request is passed on as it arrives.

    That is so if its path begins with `/via` or `/raw/via`.
    """
    return _endpoint(uri)[0] == VIA


def _endpoint(uri: bytes) -> tuple[bytes, bytes]:
    """Return the first segment of a path behind the style, and the segment behind it."""
    first, second, third, *_ = [*_segments(uri), b"", b"", b""]
    return (second, third) if first == b"raw" else (first, second)


def _segments(uri: bytes) -> list[bytes]:
    path = uri.partition(b"?")[0]
    return [unquote_to_bytes(segment) for segment in path.split(b"/")[1:]]


def _climbs(path: bytes) -> bool:
    return _CLIMBS.search(unquote_to_bytes(path)) is not None

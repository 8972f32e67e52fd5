"""The JSON description of a request, with the members that httpbin returns."""

import json
import re
import string
from base64 import b64encode
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import parse_qsl, quote, unquote_to_bytes

import attrs

OF_PROXIES: Final = frozenset(
    {
        "Connect-Time",
        "Total-Route-Time",
        "Via",
        "X-Forwarded-For",
        "X-Forwarded-Port",
        "X-Forwarded-Proto",
        "X-Forwarded-Protocol",
        "X-Forwarded-Ssl",
        "X-Heroku-Dynos-In-Use",
        "X-Heroku-Queue-Depth",
        "X-Heroku-Queue-Wait-Time",
        "X-Real-Ip",
        "X-Request-Id",
        "X-Request-Start",
        "X-Varnish",
    }
)
"""Headers that proxies add. httpbin shows them only if the query has `show_env`."""

MAX_BODY: Final = 1024**2
"""Bytes of the largest body that is echoed, even if `--max-body` is larger.

The JSON of 16 MiB takes up to a second to make, in which no other answer can leave.
"""

LONG: Final = 64 * 1024
"""Characters of a text that are written as one piece of work."""

PARAMETERS: Final = 500
"""Parameters of a query that are read as one piece of work."""

_PLACE: Final = re.compile(r'(?<=")\\u0000([0-9]+)\\u0000(?="(?!:))')

_BYTES: Final = "application/octet-stream"

_PRINTABLE: Final = string.punctuation.replace("#", "")

# The readable URL keeps these escapes: of controls, the space, the percent sign and separators.
_PATH: Final = re.compile(r"(?:(?!%(?:[01][0-9A-F]|20|23|25|2F|3F|7F))%[0-9A-F]{2})+", re.IGNORECASE)
_QUERY: Final = re.compile(r"(?:(?!%(?:[01][0-9A-F]|20|23|25|26|2B|3D|7F))%[0-9A-F]{2})+", re.IGNORECASE)

_LONE: Final = re.compile("[\udc80-\udcff]")


@attrs.frozen
class Upload:
    """A file in a form.

    Attributes:
        content_type: the type in the header of its part; empty without one.
        content: the bytes of the file.
    """

    content_type: str
    content: bytes


@attrs.frozen
class Content:
    """The parsed body of a request.

    Attributes:
        data: the body itself, unless it is a form.
        fields: names and values of a form, in order.
        files: the files of a form by name; of several files with one name, the first.
    """

    data: bytes = b""
    fields: Sequence[tuple[str, str]] = ()
    files: Mapping[str, Upload] = attrs.field(factory=dict)


@attrs.frozen
class EchoedRequest:
    """The parts of a request that an echo shows.

    Attributes:
        target: the request target, still percent-encoded.
        headers: names and values.
        content: the body.
        client: the client's address; None on a UNIX socket.
        server: host and port that the client connected to, for a request without Host.
        secure: whether the request came over TLS.
    """

    target: bytes
    headers: Sequence[tuple[bytes, bytes]]
    content: Content
    client: str | None
    server: str
    secure: bool


def echo(request: EchoedRequest) -> bytes:
    """Describe a request as JSON in one go, as `echoing` does piece by piece."""
    steps = echoing(request)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("bytes", end.value)


def echoing(request: EchoedRequest) -> Generator[None, None, bytes]:
    """Describe a request as JSON in ASCII.

    The members are those of httpbin: `args`, `data`, `files`, `form`, `headers`, `origin` and `url`. So is the layout:
    an indentation of two spaces, sorted names, and a newline at the end.

    Yields:
        After each piece of the work.

    Returns:
        The description.
    """
    path, _, query = quote(request.target, safe=_PRINTABLE).partition("?")
    yield
    given: list[tuple[str, str]] = []
    parameters = query.split("&")
    for start in range(0, len(parameters), PARAMETERS):
        some = "&".join(parameters[start : start + PARAMETERS])
        given += parse_qsl(some, keep_blank_values=True, errors="surrogateescape")
        yield
    args = _grouped(given)
    yield
    headers = _headers(request.headers)
    url = _origin(request, headers) + _unescaped(_PATH, path) + (query and "?" + _unescaped(_QUERY, query))
    yield
    members = {
        "args": args,
        "data": _text_or_url(request.content.data, _BYTES),
        "files": {name: _text_or_url(file.content, file.content_type) for name, file in request.content.files.items()},
        "form": _grouped(request.content.fields),
        "headers": {name: headers[name] for name in headers if name not in OF_PROXIES or "show_env" in args},
        "origin": request.client,
        "url": url,
    }
    yield
    return (yield from _written(members))


def _written(members: dict[str, Any]) -> Generator[None, None, bytes]:
    """Write JSON, and the long texts in it slice by slice."""
    long: list[str] = []
    text = json.dumps(_placed(members, long), indent=2, sort_keys=True)
    if not long:
        return text.encode("ascii") + b"\n"
    pieces = []
    # Every second piece is the number of a place. A place is a value: behind a name, there would be a colon.
    for index, piece in enumerate(_PLACE.split(text)):
        if index % 2:
            whole = long[int(piece)]
            slices = (whole[start : start + LONG] for start in range(0, len(whole), LONG))
            for each in slices:
                pieces.append(json.dumps(each)[1:-1])
                yield
        else:
            pieces.append(piece)
    return "".join(pieces).encode("ascii") + b"\n"


def _placed(value: Any, long: list[str]) -> Any:  # noqa: ANN401  # JSON
    """Take the long texts out of JSON, and hold their places.

    A text with a NUL counts as long, so that only a place has one.
    """
    if isinstance(value, dict):
        return {name: _placed(each, long) for name, each in value.items()}
    if isinstance(value, list):
        return [_placed(each, long) for each in value]
    if not isinstance(value, str) or (len(value) <= LONG and "\0" not in value):
        return value
    long.append(value)
    return f"\0{len(long) - 1}\0"


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Map each name to its value, or to the list of its values."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(_escaped(name), []).append(_escaped(value))
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Map each name in title case to its joined values (RFC 9110, section 5.3)."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name.decode("latin-1").title(), []).append(value.decode("latin-1"))
    return {name: ",".join(values) for name, values in found.items()}


def _text_or_url(content: bytes, content_type: str) -> str:
    """Return UTF-8 as text, and other content as a data URL (RFC 2397)."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return f"data:{content_type or _BYTES};base64,{b64encode(content).decode('ascii')}"


def _origin(request: EchoedRequest, headers: Mapping[str, str]) -> str:
    """Return the scheme, host and port under which the client knows the service."""
    scheme = "https" if request.secure else "http"
    host = (headers.get("Host") or request.server).lower().removesuffix(":443" if request.secure else ":80")
    return f"{scheme}://{host}"


def _unescaped(escapes: re.Pattern[str], text: str) -> str:
    return escapes.sub(
        lambda found: _escaped(unquote_to_bytes(found[0]).decode("utf-8", "surrogateescape")),
        text,
    )


def _escaped(text: str) -> str:
    """Percent-encode the bytes that are not UTF-8."""
    return _LONE.sub(lambda found: f"%{ord(found[0]) - 0xDC00:02X}", text)

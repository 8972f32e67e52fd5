"""The JSON description of a request, with the members that httpbin returns."""

import json
import re
import string
from base64 import b64encode
from collections.abc import Generator, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final
from urllib.parse import parse_qsl, quote

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

PARAMETERS: Final = 200
"""Parameters of a query that are read as one piece of work."""

PARTS: Final = 1000
"""Parts of JSON, such as a text or a comma, that are written as one piece of work."""

FEW: Final = 200
"""Values of JSON that are written at once."""

FILES: Final = 20
"""Files of a form that are written as one piece of work."""

_PLACE: Final = re.compile(r'(?<=")\\u0000([0-9]+)\\u0000(?="(?!:))')

_BYTES: Final = "application/octet-stream"

_PRINTABLE: Final = string.punctuation.replace("#", "")

# The readable URL keeps these escapes: of controls, the space, the percent sign and separators.
_PATH: Final = re.compile(r"(?:(?!%(?:[01][0-9A-F]|20|23|25|2F|3F|7F))%[0-9A-F]{2})+", re.IGNORECASE)
_QUERY: Final = re.compile(r"(?:(?!%(?:[01][0-9A-F]|20|23|25|26|2B|3D|7F))%[0-9A-F]{2})+", re.IGNORECASE)

_LONE: Final = re.compile("[\udc80-\udcff]+")

_ESCAPED: Final = {0xDC00 + byte: f"%{byte:02X}" for byte in range(0x80, 0x100)}

_JSON: Final = json.JSONEncoder(indent=2, sort_keys=True)


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
    readable = []
    parameters = query.split("&")
    for start in range(0, len(parameters), PARAMETERS):
        some = "&".join(parameters[start : start + PARAMETERS])
        given += parse_qsl(some, keep_blank_values=True, errors="surrogateescape")
        yield
        readable.append(_unescaped(_QUERY, some))
        yield
    args = yield from _grouped(given)
    headers = _headers(request.headers)
    yield
    url = _origin(request, headers) + _unescaped(_PATH, path) + (query and "?" + "&".join(readable))
    yield
    members = {
        "args": args,
        "data": _text_or_url(request.content.data, _BYTES),
        "files": (yield from _files(request.content.files)),
        "form": (yield from _grouped(request.content.fields)),
        "headers": {name: headers[name] for name in headers if name not in OF_PROXIES or "show_env" in args},
        "origin": request.client,
        "url": url,
    }
    yield
    return (yield from _written(members))


def _written(members: dict[str, Any]) -> Generator[None, None, bytes]:
    """Write JSON, and the long texts in it slice by slice."""
    long: list[str] = []
    placed = _placed(members, long)
    if _is_short(members):
        # In parts, it would leave a cycle of references.
        text = _JSON.encode(placed)
    else:
        parts, written = _JSON.iterencode(placed), []
        while some := list(islice(parts, PARTS)):
            written += some
            yield
        text = "".join(written)
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


def _is_short(members: dict[str, Any]) -> bool:
    """Return whether there are few values, by a count that is itself short."""
    groups = [each for each in members.values() if isinstance(each, dict)]
    if sum(map(len, groups)) > FEW:
        return False
    return sum(len(value) for group in groups for value in group.values() if isinstance(value, list)) <= FEW


def _placed(value: Any, long: list[str]) -> Any:  # noqa: ANN401  # JSON
    """Take the long texts out of JSON, and hold their places.

    A text with a NUL counts as long, so that only a place has one.
    """
    if isinstance(value, dict):
        return {name: _placed(each, long) for name, each in value.items()}
    if isinstance(value, list):
        # Of texts; there can be thousands.
        return [each if len(each) <= LONG and "\0" not in each else _place(each, long) for each in value]
    return _place(value, long) if isinstance(value, str) and (len(value) > LONG or "\0" in value) else value


def _place(text: str, long: list[str]) -> str:
    long.append(text)
    return f"\0{len(long) - 1}\0"


def _grouped(pairs: Iterable[tuple[str, str]]) -> Generator[None, None, dict[str, str | list[str]]]:
    """Map each name to its value, or to the list of its values."""
    found: dict[str, list[str]] = {}
    for number, (name, value) in enumerate(pairs, 1):
        found.setdefault(escape_bytes(name), []).append(escape_bytes(value))
        if not number % PARAMETERS:
            yield
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _files(files: Mapping[str, Upload]) -> Generator[None, None, dict[str, str]]:
    """Map the name of each file to its content."""
    found = {}
    for number, (name, file) in enumerate(files.items(), 1):
        found[name] = _text_or_url(file.content, file.content_type)
        if not number % FILES:
            yield
    return found


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
        lambda found: escape_bytes(bytes.fromhex(found[0].replace("%", "")).decode("utf-8", "surrogateescape")), text
    )


def escape_bytes(text: str) -> str:
    """Percent-encode the bytes of a text that are not UTF-8.

    Args:
        text: decoded with `surrogateescape`.
    """
    if text.isascii():
        return text
    try:
        # A sixth of the time of a search, in a long text.
        text.encode()
    except UnicodeEncodeError:
        return _LONE.sub(lambda found: found[0].translate(_ESCAPED), text)
    return text

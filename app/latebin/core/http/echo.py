"""What httpbin says of a request, as JSON: whoever was written for httpbin finds what it looks for."""

import json
import re
import string
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
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
"""Headers that httpbin does not show, unless the query has `show_env`: proxies add them, clients do not."""

MAX_BODY: Final = 1024**2
"""Bytes of the largest body that a request is told of, even if `--max-body` is more: to tell of 16 MiB takes up to a
second, in which no other answer can leave."""

_BYTES: Final = "application/octet-stream"

_PRINTABLE: Final = string.punctuation.replace("#", "")

# Escapes that a reader of the URL needs as they are: controls, the space, the percent sign, and what separates.
_PATH: Final = re.compile(r"(?:(?!%(?:[01][0-9A-F]|20|23|25|2F|3F|7F))%[0-9A-F]{2})+", re.IGNORECASE)
_QUERY: Final = re.compile(r"(?:(?!%(?:[01][0-9A-F]|20|23|25|26|2B|3D|7F))%[0-9A-F]{2})+", re.IGNORECASE)

_LONE: Final = re.compile("[\udc80-\udcff]")


@attrs.frozen
class Upload:
    """A file in a form.

    Attributes:
        content_type: as its part says; empty where it says nothing.
        content: the file.
    """

    content_type: str
    content: bytes


@attrs.frozen
class Content:
    """The body of a request, as it is understood.

    Attributes:
        data: the body itself, if it is no form.
        fields: names and values of a form, in their order.
        files: the files of a form; of those with one name, the first.
    """

    data: bytes = b""
    fields: Sequence[tuple[str, str]] = ()
    files: Mapping[str, Upload] = attrs.field(factory=dict)


@attrs.frozen
class EchoedRequest:
    """A request.

    Attributes:
        target: the request target, still percent-encoded.
        headers: names and values.
        content: the body.
        client: the client's address; None where it has none, as on a UNIX socket.
        server: host and port that it connected to, for a request without Host.
        secure: whether it came over TLS.
    """

    target: bytes
    headers: Sequence[tuple[bytes, bytes]]
    content: Content
    client: str | None
    server: str
    secure: bool


def echo(asked: EchoedRequest) -> bytes:
    """Say what was asked: `args`, `data`, `files`, `form`, `headers`, `origin` and `url`, as JSON in ASCII.

    The layout is httpbin's too: two spaces, names in alphabetical order, a newline at the end.
    """
    path, _, query = quote(asked.target, safe=_PRINTABLE).partition("?")
    args = _grouped(parse_qsl(query, keep_blank_values=True, errors="surrogateescape"))
    headers = _headers(asked.headers)
    members = {
        "args": args,
        "data": _text_or_url(asked.content.data, _BYTES),
        "files": {name: _text_or_url(file.content, file.content_type) for name, file in asked.content.files.items()},
        "form": _grouped(asked.content.fields),
        "headers": {name: headers[name] for name in headers if name not in OF_PROXIES or "show_env" in args},
        "origin": asked.client,
        "url": _origin(asked, headers) + _unescaped(_PATH, path) + (query and "?" + _unescaped(_QUERY, query)),
    }
    return json.dumps(members, indent=2, sort_keys=True).encode("ascii") + b"\n"


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Give a value for a name that comes once, and a list for one that comes again."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(_escaped(name), []).append(_escaped(value))
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Give every header under its name in title case; values of one name are joined (RFC 9110, section 5.3)."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name.decode("latin-1").title(), []).append(value.decode("latin-1"))
    return {name: ",".join(values) for name, values in found.items()}


def _text_or_url(content: bytes, content_type: str) -> str:
    """Give UTF-8 as it is, and anything else as a data URL (RFC 2397)."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return f"data:{content_type or _BYTES};base64,{b64encode(content).decode('ascii')}"


def _origin(asked: EchoedRequest, headers: Mapping[str, str]) -> str:
    """Give scheme, host and port, by which the client knows the service."""
    scheme = "https" if asked.secure else "http"
    host = (headers.get("Host") or asked.server).lower().removesuffix(":443" if asked.secure else ":80")
    return f"{scheme}://{host}"


def _unescaped(escapes: re.Pattern[str], text: str) -> str:
    return escapes.sub(
        lambda found: _escaped(unquote_to_bytes(found[0]).decode("utf-8", "surrogateescape")),
        text,
    )


def _escaped(text: str) -> str:
    """Percent-encode what was not UTF-8."""
    return _LONE.sub(lambda found: f"%{ord(found[0]) - 0xDC00:02X}", text)

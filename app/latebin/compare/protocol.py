"""The rules of RFC 9110 and 9112 as bytes, with the statuses that answer them."""

from collections.abc import Iterable, Iterator
from typing import Final

import attrs

UNREAD: Final = "Twisted's channel reads requests by other rules, or waits for more bytes of what can be no request"

CLOSED: Final = "Twisted's channel closes a connection of HTTP/1.0 behind each answer"

LIMIT: Final = "Twisted's request is processed when its body is there"


@attrs.frozen
class Exchange:
    """Bytes of a client, and the statuses of the answers.

    Attributes:
        name: the subject, in a few words.
        statuses: the final statuses, in order.
        raw: the bytes; `{prefix}` is the prefix of the style.
        stays: whether the connection takes another request.
        leaves: whether the client closes its half behind the headers of the answer.
        needs_tuned: why Twisted's own classes give another answer; empty where they give this one.
    """

    name: str
    statuses: tuple[int, ...]
    raw: str
    stays: bool = False
    leaves: bool = False
    needs_tuned: str = ""


def _get(*lines: str, target: str = "{prefix}/predict", method: str = "GET", version: str = "1.1") -> str:
    return "\r\n".join([f"{method} {target} HTTP/{version}", *lines, "", ""])


def _post(*lines: str, body: str = "", version: str = "1.1") -> str:
    # A POST is not allowed here: the 405 comes at once, behind the body.
    return _get("Host: a", *lines, method="POST", version=version) + body


_CHUNKED: Final = "Transfer-Encoding: chunked"

_WHOLE: Final = "1\r\na\r\n0\r\n\r\n"


def _refused(status: int, raws: Iterable[tuple[str, str]], needs_tuned: str = "") -> Iterator[Exchange]:
    for name, raw in raws:
        yield Exchange(name, (status,), raw, needs_tuned=needs_tuned)


def _taken(status: int, raws: Iterable[tuple[str, str]], needs_tuned: str = "") -> Iterator[Exchange]:
    for name, raw in raws:
        yield Exchange(name, (status,), raw, stays=True, needs_tuned=needs_tuned)


HOSTS: Final = (
    *_refused(
        400,
        (
            ("no Host", _get()),
            ("no Host at a page", _get(target="/healthz")),
            ("two Hosts", _get("Host: a", "Host: a")),
            ("a Host with a space", _get("Host: a b")),
            ("a Host with a user", _get("Host: me@a")),
            ("a Host with brackets around no address", _get("Host: [....]")),
            ("a Host with a port above 65535", _get("Host: a:65536")),
            ("two Hosts in HTTP/1.0", _get("Host: a", "Host: b", version="1.0")),
        ),
    ),
    *_taken(200, (("a Host that is an address of IPv6", _get("Host: [::1]:80")),)),
    Exchange("no Host in HTTP/1.0", (200,), _get(version="1.0")),
    Exchange("no Host for the options of all", (400,), _get(method="OPTIONS", target="*"), needs_tuned=UNREAD),
)

TARGETS: Final = (
    *_taken(
        200,
        (
            ("a URL", _get("Host: a", target="http://any.host{prefix}/predict")),
            ("a URL with a port and a query", _get("Host: a", target="http://b:81{prefix}/predict?delay=1s")),
            ("a URL in capitals", _get("Host: a", target="HTTP://B{prefix}/predict")),
            ("a URL of a page", _get("Host: a", target="http://b/healthz")),
            ("a URL without a path", _get("Host: a", target="http://b")),
            ("a URL of a query alone", _get("Host: a", target="http://b?a=1")),
            ("the options of a URL without a path", _get("Host: a", target="http://b", method="OPTIONS")),
            ("the options of all", _get("Host: a", target="*", method="OPTIONS")),
        ),
    ),
    Exchange("a URL of an unknown path", (404,), _get("Host: a", target="http://b{prefix}/nothing"), stays=True),
    *_refused(
        400,
        (
            ("a URL without Host", _get(target="http://b{prefix}/predict")),
            ("a URL with brackets around no address", _get("Host: a", target="http://[....]/predict")),
            ("a URL with a port above 65535", _get("Host: a", target="http://b:65536/predict")),
            ("a URL with a user", _get("Host: a", target="http://me:secret@b/predict")),
            ("a URL without a host", _get("Host: a", target="http:///predict")),
            ("a URL with a port alone", _get("Host: a", target="http://:80/predict")),
            ("an authority", _get("Host: a", target="b:80")),
            ("a path with a fragment", _get("Host: a", target="{prefix}/predict#a")),
            ("a URL with a fragment", _get("Host: a", target="http://b/predict#a")),
            ("a path without a slash", _get("Host: a", target="predict")),
            ("a URL without an authority", _get("Host: a", target="mailto:b")),
        ),
    ),
    *_refused(
        421,
        (
            ("a URL of https without TLS", _get("Host: a", target="https://b{prefix}/predict")),
            ("a URL of another scheme", _get("Host: a", target="ftp://b{prefix}/predict")),
        ),
    ),
    *_refused(
        405,
        (
            ("CONNECT", _get("Host: a", target="b:443", method="CONNECT")),
            ("CONNECT of a path", _get("Host: a", target="{prefix}/delayed", method="CONNECT")),
            ("CONNECT of a scenario", _get("Host: a", target="{prefix}/as/rate-limited", method="CONNECT")),
        ),
    ),
    *_taken(
        404,
        (
            ("two slashes before a path", _get("Host: a", target="/{prefix}/delay/0")),
            ("two slashes in /delay", _get("Host: a", target="{prefix}/delay//0")),
            ("two slashes before a page", _get("Host: a", target="//healthz")),
        ),
    ),
)

VERSIONS: Final = (
    *_taken(
        200,
        (("HTTP/1.2", _get("Host: a", version="1.2")), ("HTTP/1.9", _get("Host: a", version="1.9"))),
        UNREAD,
    ),
    *_refused(
        505,
        (("HTTP/2.0 in a request line", _get("Host: a", version="2.0")), ("HTTP/0.9", _get(version="0.9"))),
        UNREAD,
    ),
    *_refused(
        400,
        (
            ("a request line of HTTP/0.9", "GET {prefix}/predict\r\n"),
            ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            ("HTTP/1.10", _get("Host: a", version="1.10")),
            ("HTTP/11", _get("Host: a", version="11")),
            ("two spaces in a request line", "GET  {prefix}/predict HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("tabs in a request line", "GET\t{prefix}/predict\tHTTP/1.1\r\nHost: a\r\n\r\n"),
            ("the beginning of a TLS handshake", "\x16\x03\x01\x02\x00\x01"),
            ("one byte that is not HTTP", "\xff"),
            ("the beginning of SOCKS", "\x05\x01\x00"),
        ),
    ),
    *_taken(200, (("HTTP/1.0 that stays", _get("Connection: Keep-Alive", version="1.0")),), CLOSED),
    Exchange(
        "HTTP/1.0 that stays twice",
        (200, 200),
        _get("Connection: keep-alive", version="1.0") * 2,
        stays=True,
        needs_tuned=CLOSED,
    ),
    Exchange("HTTP/1.0 that stays and closes", (200,), _get("Connection: keep-alive, close", version="1.0") * 2),
)

FRAMING: Final = (
    *_taken(
        405,
        (
            ("a chunked body", _post(_CHUNKED, body=_WHOLE)),
            ("a chunked body in capitals", _post("transfer-encoding: CHUNKED", body=_WHOLE)),
            ("chunks with extensions", _post(_CHUNKED, body='1;a=b;c="d"\r\na\r\n0;e\r\n\r\n')),
            ("a chunk with zeros before its size", _post(_CHUNKED, body="0" * 99 + "1\r\na\r\n0\r\n\r\n")),
            ("trailers", _post(_CHUNKED, "Trailer: A", body="0\r\nA: b\r\nC:\r\n\r\n")),
        ),
    ),
    *_taken(
        405,
        (
            ("an empty element among transfer codings", _post("Transfer-Encoding: , chunked", body=_WHOLE)),
            ("a length of 5,000 digits that is 1", _post("Content-Length: " + "0" * 4999 + "1", body="a")),
        ),
        UNREAD,
    ),
    *_refused(
        400,
        (
            ("chunked twice", _post("Transfer-Encoding: chunked, chunked", body=_WHOLE)),
            ("chunked twice in two lines", _post(_CHUNKED, _CHUNKED, body=_WHOLE)),
            ("chunked not last", _post(_CHUNKED, "Transfer-Encoding: gzip", body=_WHOLE)),
            ("chunked before identity", _post(_CHUNKED, "Transfer-Encoding: identity", body=_WHOLE)),
            ("identity", _post("Transfer-Encoding: identity")),
            ("no transfer coding", _post("Transfer-Encoding:")),
            ("chunked with a parameter", _post("Transfer-Encoding: chunked;a=b", body=_WHOLE)),
            ("a length beside chunks", _post(_CHUNKED, "Content-Length: 1", body=_WHOLE)),
            ("chunks in HTTP/1.0", _post(_CHUNKED, body=_WHOLE, version="1.0")),
            ("two equal lengths", _post("Content-Length: 1", "Content-Length: 1", body="a")),
            *(
                (f"a length of {text!r}", _post(f"Content-Length: {text}", body="a"))
                for text in ("+1", "1_0", "1,1", "0x1", "1.0", "1 1", "", "\xb2")
            ),
            ("a chunk that is too long", _post(_CHUNKED, body="1\r\nab\r\n0\r\n\r\n")),
            ("a chunk with a sign", _post(_CHUNKED, body="+1\r\na\r\n0\r\n\r\n")),
            ("a size of 5,000 digits", _post(_CHUNKED, body="f" * 5000)),
            ("an endless extension", _post(_CHUNKED, body="1;" + "a" * 2000)),
        ),
    ),
    *_refused(
        400,
        (
            ("LF behind a size", _post(_CHUNKED, body="1\na\n0\n\n")),
            ("LF behind a chunk", _post(_CHUNKED, body="1\r\na\n")),
            ("LF behind the last chunk", _post(_CHUNKED, body="0\r\n\n")),
            ("a byte too many in a chunk", _post(_CHUNKED, body="1\r\nab")),
            ("CR within a size", _post(_CHUNKED, body="1\r1")),
            ("another request in the place of trailers", _post(_CHUNKED, body="0\r\nGET / HTTP/1.1\r\n\r\n")),
            ("a folded trailer", _post(_CHUNKED, body="0\r\nA: b\r\n c\r\n\r\n")),
            ("a trailer with a space before its colon", _post(_CHUNKED, body="0\r\nA : b\r\n\r\n")),
        ),
        UNREAD,
    ),
    Exchange(
        "a framing among trailers",
        (405, 200),
        _post(_CHUNKED, body="0\r\nContent-Length: 9\r\nTransfer-Encoding: gzip\r\nHost: b\r\n\r\n") + _get("Host: a"),
        stays=True,
    ),
    Exchange("garbage behind a body", (405, 400), _post(_CHUNKED, body=_WHOLE + "!\r\n\r\n")),
    Exchange("a body of GET", (200, 200), _get("Host: a", "Content-Length: 5") + "GET /" + _get("Host: a"), stays=True),
    *_refused(
        501,
        (("an unknown transfer coding before chunks", _post("Transfer-Encoding: gzip, chunked", body=_WHOLE)),),
        UNREAD,
    ),
    *_refused(501, (("identity before chunks", _post("Transfer-Encoding: identity", _CHUNKED, body=_WHOLE)),)),
    *(
        Exchange(f"too large: {name}", (413,), raw, leaves=True, needs_tuned=LIMIT)
        for name, raw in (
            ("a length of 5,000 digits", _post("Content-Length: " + "9" * 5000)),
            ("a length of 20 digits", _post("Content-Length: " + "9" * 20)),
            ("a chunk with a size of 16 digits", _post(_CHUNKED, body="f" * 16 + "\r\na")),
            ("a chunk with a size of 900 digits", _post(_CHUNKED, body="f" * 900 + "\r\na")),
        )
    ),
)

FIELDS: Final = (
    *_refused(
        400,
        (
            ("a space before a colon", _get("Host: a", "X : b")),
            ("a header without a name", _get("Host: a", ": b")),
            ("a line without a colon", _get("Host: a", "X")),
            ("NUL in a value", _get("Host: a", "X: a\0b")),
            ("CR in a value", _get("Host: a", "X: a\rb")),
            ("LF in a value", _get("Host: a", "X: a\nb")),
            ("a name that is not ASCII", _get("Host: a", "\xe9: b")),
            ("a space before the first header", "GET {prefix}/predict HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n"),
            ("LF behind a request line", "GET {prefix}/predict HTTP/1.1\nHost: a\n\n"),
            ("CR behind a request line", "GET {prefix}/predict HTTP/1.1\rHost: a\r\r"),
        ),
    ),
    *_refused(
        400,
        (
            ("a folded line", _get("Host: a", "X: a\r\n b")),
            ("LF behind a header", "GET {prefix}/predict HTTP/1.1\r\nHost: a\n\r\n"),
            ("LF behind the headers", "GET {prefix}/predict HTTP/1.1\r\nHost: a\r\n\n"),
        ),
        UNREAD,
    ),
    *_refused(
        417,
        (
            ("an unknown expectation", _get("Host: a", "Expect: miracles")),
            ("an unknown expectation beside a known one", _get("Host: a", "Expect: 100-continue, miracles")),
            ("an unknown expectation in another line", _get("Host: a", "Expect: 100-continue", "Expect: x=y")),
        ),
    ),
    Exchange("an unknown expectation in HTTP/1.0", (200,), _get("Expect: miracles", version="1.0")),
    Exchange("an empty expectation", (200,), _get("Host: a", "Expect: ,"), stays=True),
    *(
        Exchange(f"a connection with {' and '.join(lines)}", (200,), _get("Host: a", *lines) * 2)
        for lines in (
            ("Connection: close",),
            ("Connection: Close",),
            ("Connection: close,",),
            ("Connection: , close",),
            ("Connection: keep-alive,close",),
            ("Connection: close, TE", "TE: trailers"),
            ("Connection: TE", "Connection: close"),
            ("connection: keep-alive", "connection: close"),
        )
    ),
    *(
        Exchange(f"a connection with {line}", (200, 200), _get("Host: a", line) * 2, stays=True)
        for line in ("Connection: closed", 'Connection: "close"', "Connection: keep-alive, not-close")
    ),
)

EXCHANGES: Final = (*HOSTS, *TARGETS, *VERSIONS, *FRAMING, *FIELDS)
"""Each rule in at least one exchange."""

"""The head of a request by RFC 9112 and 9110: line, target, framing and lists."""

import re
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from latebin.core.http.host import is_host
from latebin.core.http.reply import ALLOWED, Problem, Refused

OLDER: Final = b"HTTP/1.0"

CURRENT: Final = b"HTTP/1.1"
"""The version that every later one of HTTP/1 is taken as (RFC 9110, section 2.5)."""

ENDLESS: Final = 10**18
"""Bytes that a longer body is taken to have, since all of them are too many."""

Headers = Callable[[bytes], Sequence[bytes] | None]
"""A function that returns the values of a header by its name, spelt as Twisted spells it; None without one."""

_TCHAR: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
"""A character of a token (RFC 9110, section 5.6.2)."""

# Visible ASCII without a fragment, and those beyond it that Twisted takes as well.
_TARGET: Final = rb"[!\"$-~\x80-\xb0]"

match_line: Final = re.compile(rb"(%b+) (%b+) HTTP/([0-9])\.([0-9])" % (_TCHAR, _TARGET)).fullmatch
"""Matches a request line without its end: method, target, and the two digits of the version."""

_BEGINNING: Final = re.compile(rb"(?:%b+(?: (?:%b+(?: [HTP/0-9.]{0,8})?)?)?)?\r?" % (_TCHAR, _TARGET)).fullmatch

match_field: Final = re.compile(rb"(%b+):([^\0\r\n]*)" % _TCHAR).fullmatch
"""Matches a header line without its end: the name as written, and the value with the spaces around it."""

_UNFINISHED: Final = re.compile(rb"[^\r\n]*\r?").fullmatch

_CODING: Final = re.compile(rb"%b+" % _TCHAR).fullmatch

_ABSOLUTE: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://([^/?]*)(.*)").fullmatch
"""A target in absolute form: scheme, authority, path and query (RFC 9112, section 3.2.2)."""

# As a number: bytes are asked for a number first, and fail, which takes ten times as long as to find one.
_SLASH: Final = b"/"[0]

NO_HOST: Final = Problem(
    400, "The Host header is missing.", parameter="Host", accepted="one Host header (RFC 9112, section 3.2)"
)

BAD_HOST: Final = Problem(400, "The Host header is not one host.", parameter="Host", accepted="a name or an address")

NO_TUNNEL: Final = Problem(
    405,
    "This is an origin server, which opens no tunnel.",
    parameter="method",
    given="CONNECT",
    accepted=", ".join(ALLOWED),
    headers=((b"Allow", ", ".join(ALLOWED).encode("ascii")),),
)

MISDIRECTED: Final = Problem(
    421,
    "A target of this scheme is not answered on this connection.",
    parameter="target",
    accepted="a path, or a URL of http; over TLS also one of https",
)

_PATHS: Final = "a path, or a URL of http or https with a host (RFC 9112, section 3.2)"

FOLDED: Final = "a header line that goes on in the next line is obsolete"


def malformed(detail: str, accepted: str = "HTTP/1.1 (RFC 9112)") -> Refused:
    """Make the refusal of bytes that are not a request."""
    return Refused(Problem(400, f"This is not a request of HTTP/1.1: {detail}.", accepted=accepted))


def begins_a_request(data: bytes) -> bool:
    """Return whether bytes without a line's end can be the beginning of a request line."""
    return _BEGINNING(data) is not None


def is_unfinished(data: bytes) -> bool:
    """Return whether bytes without CRLF can be the beginning of a header line."""
    return _UNFINISHED(data) is not None


def bad_line(line: bytes) -> Refused:
    """Make the refusal of a request line of another form, or another major version.

    Args:
        line: the line without its end.
    """
    parts = match_line(line)
    if parts is None:
        return malformed("the request line is malformed", "METHOD TARGET HTTP/1.1, with one space between them")
    if parts[1] == b"PRI":
        return malformed("HTTP/2 begins in TLS here")
    return Refused(Problem(505, "This version of HTTP is not spoken here.", accepted="HTTP/1.0 and HTTP/1.1"))


def bad_field(line: bytes) -> Refused:
    """Make the refusal of a header line that has another form.

    Args:
        line: the line without its end.
    """
    if line[:1] in {b" ", b"\t"}:
        return malformed(FOLDED)
    if any(byte in line for byte in (b"\0", b"\r", b"\n")):
        return malformed("a header line has a NUL, CR or LF in it")
    return malformed("a header line has no name before its colon", "Name: value, without a space before the colon")


def elements(values: Sequence[bytes] | None) -> list[bytes]:
    """Return the elements of a list, which can have several lines and empty elements.

    Section 5.6.1 of RFC 9110 describes such lists. No list that is read by this has commas within its elements.

    Args:
        values: the values of the header; None without one.
    """
    if values is None:
        return []
    return [element for value in values for each in value.split(b",") if (element := each.strip(b" \t"))]


def options(values: Sequence[bytes] | None) -> set[bytes]:
    """Return the elements of a list in lower case, such as the options of `Connection`."""
    return {element.lower() for element in elements(values)}


def read_length(version: bytes, headers: Headers) -> int | None:
    """Find the length of a body (RFC 9112, section 6.3).

    Returns:
        Bytes, at most `ENDLESS`; None for a chunked body.

    Raises:
        Refused: 400 for a framing that is not certain, 501 for an unknown transfer coding.
    """
    codings, lengths = headers(b"Transfer-Encoding"), headers(b"Content-Length")
    if codings is not None:
        if lengths is not None:
            raise malformed("it has both Content-Length and Transfer-Encoding", "one of them")
        _check_codings(version, elements(codings))
        return None
    if lengths is None:
        return 0
    if len(lengths) > 1 or not lengths[0].isdigit():
        raise malformed("Content-Length is not one number", "one Content-Length, in decimal digits")
    # CPython reads no more than 4,300 digits as a number.
    digits = lengths[0].lstrip(b"0")
    return ENDLESS if len(digits) >= len(str(ENDLESS)) else int(digits or b"0")


def _check_codings(version: bytes, codings: Sequence[bytes]) -> None:
    if version == OLDER:
        raise malformed("HTTP/1.0 has no Transfer-Encoding", "Content-Length")
    if not codings or codings[-1].lower() != b"chunked" or not all(map(_CODING, codings)):
        raise malformed("the last transfer coding is not chunked", "Transfer-Encoding: chunked")
    others = {coding.lower() for coding in codings[:-1]}
    if b"chunked" in others:
        raise malformed("its body is chunked twice", "Transfer-Encoding: chunked")
    if others:
        raise Refused(Problem(501, "This transfer coding is unknown here.", accepted="Transfer-Encoding: chunked"))


@attrs.frozen
class Target:
    """The target of a request in absolute form, taken apart.

    Attributes:
        path: the path and the query, as the target would be in origin form.
        host: the host, which takes the place of that in `Host` (RFC 9112, section 3.2.2).
        secure: whether the scheme is `https`.
    """

    path: bytes
    host: bytes
    secure: bool


def examine(method: bytes, target: bytes, version: bytes, headers: Headers) -> Target | None:
    """Check method, target, host and expectations of a request.

    Returns:
        The target, if it is in absolute form; None for a path.

    Raises:
        Refused: the request has no answer but this problem.
    """
    hosts = headers(b"Host")
    if hosts is None:
        if version != OLDER:
            raise Refused(NO_HOST)
    elif len(hosts) > 1 or not is_host(hosts[0]):
        raise Refused(BAD_HOST)
    expected = headers(b"Expect") if version != OLDER else None
    if expected is not None and options(expected) - {b"100-continue"}:
        given = b", ".join(expected).decode("latin-1")
        raise Refused(
            Problem(417, "This expectation cannot be met.", parameter="Expect", given=given, accepted="100-continue")
        )
    if method == b"CONNECT":
        raise Refused(NO_TUNNEL)
    return None if target[0] == _SLASH or target == b"*" else _read_target(method, target)


def _read_target(method: bytes, target: bytes) -> Target:
    parts = _ABSOLUTE(target)
    if parts is None:
        raise _bad_target(target)
    scheme, host, path = parts.groups()
    if scheme.lower() not in {b"http", b"https"}:
        raise Refused(MISDIRECTED)
    if not host or b"@" in host or host.startswith(b":") or not is_host(host):
        raise _bad_target(target)
    if not path:
        # A client asks a proxy for the options of a server as a whole in this way (section 3.2.4).
        path = b"*" if method == b"OPTIONS" else b"/"
    elif path.startswith(b"?"):
        path = b"/" + path
    return Target(path, host, scheme.lower() == b"https")


def _bad_target(target: bytes) -> Refused:
    detail = "The request target is neither a path nor a URL."
    return Refused(Problem(400, detail, parameter="target", given=target.decode("latin-1"), accepted=_PATHS))

"""The headers that an answer must have for its status (RFC 9110, section 15)."""

from http import HTTPStatus
from typing import Final

from latebin.core.http.reply import Headers

CHALLENGE: Final = b'Basic realm="latebin", charset="UTF-8"'
"""The challenge of a 401 and of a 407 (RFC 7617); no credentials are ever looked at."""

SWITCHING: Final = 101

PROTOCOL: Final = b"HTTP/2.0"
"""The protocol that a 426 asks for."""

_ALWAYS: Final[dict[int, Headers]] = {
    HTTPStatus.UNAUTHORIZED: ((b"WWW-Authenticate", CHALLENGE),),
    # A resource that refuses every other method still answers this one.
    HTTPStatus.METHOD_NOT_ALLOWED: ((b"Allow", b"OPTIONS"),),
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: ((b"Proxy-Authenticate", CHALLENGE),),
}


def required(status: int, size: int) -> Headers:
    """Return the headers that a status must have, beside those of the body.

    The header of a 426 is not among them: it depends on the version of HTTP, and the delivery sets it.

    Args:
        status: of the answer.
        size: bytes of the body; it is taken for the whole of what was asked for.
    """
    if status == HTTPStatus.PARTIAL_CONTENT:
        return ((b"Content-Range", b"bytes 0-%d/%d" % (size - 1, size) if size else b"bytes */0"),)
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return ((b"Content-Range", b"bytes */%d" % size),)
    return _ALWAYS.get(status, ())

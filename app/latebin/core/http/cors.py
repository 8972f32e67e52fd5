"""The origins whose pages may read answers (Fetch Standard, "HTTP extensions")."""

import re
from collections.abc import Collection
from typing import Final

import attrs

from latebin.core.http.reply import Headers, Reply

ACCEPTED: Final = "an origin such as https://shop.example or http://localhost:5173, or * for any"

MAX_AGE: Final = 600
"""Seconds for which a browser may remember a preflight."""

_ORIGIN: Final = re.compile(r"https?://(?:\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)(?::[0-9]{1,5})?|null")

_TOKENS: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")

_EXPOSED: Final = b"*, Server-Timing, X-Request-Id, Retry-After, Location, ETag, Latebin-Turn"
"""The headers that a page may read. The asterisk covers all, except in a request with credentials."""


def parse(text: str) -> str:
    """Read an origin.

    Raises:
        ValueError: the text is neither an origin nor an asterisk.
    """
    if text != "*" and not _ORIGIN.fullmatch(text):
        raise ValueError(f"not {ACCEPTED}")
    return text


@attrs.frozen
class Cors:
    """The origins whose pages may read answers.

    Attributes:
        origins: as browsers write them in `Origin`, or an asterisk for any.
    """

    origins: Collection[str]

    def headers(self, origin: bytes | None) -> Headers:
        """Return the headers that let a page of an origin read the answer.

        Args:
            origin: the `Origin` of the request; None without one, as outside of browsers.

        Returns:
            At most `Vary` for an origin that may not read the answer.
        """
        if "*" in self.origins:
            return (b"Access-Control-Allow-Origin", b"*"), (b"Timing-Allow-Origin", b"*"), *_READABLE
        # The answer depends on the origin even for one that may not read it.
        vary = (b"Vary", b"Origin")
        if origin is None or origin.decode("latin-1") not in self.origins:
            return (vary,)
        return (b"Access-Control-Allow-Origin", origin), (b"Timing-Allow-Origin", origin), vary, *_READABLE

    def preflight(self, origin: bytes | None, method: bytes | None, asked: bytes | None) -> Reply | None:
        """Answer a preflight from an origin that may read answers; return None otherwise.

        Args:
            origin: the request's `Origin`.
            method: its `Access-Control-Request-Method`.
            asked: its `Access-Control-Request-Headers`.
        """
        allowed = self.headers(origin)
        if origin is None or method is None or len(allowed) == 1 or not _TOKENS.fullmatch(method):
            return None
        fields = ((b"Access-Control-Allow-Headers", asked),) if asked and _TOKENS.fullmatch(asked) else ()
        age = (b"Access-Control-Max-Age", b"%d" % MAX_AGE)
        return Reply(204, ((b"Access-Control-Allow-Methods", method), *fields, age))


OURS: Final = frozenset({b"access-control-allow-origin", b"access-control-expose-headers", b"timing-allow-origin"})
"""The headers, in lower case, that an upstream's own would replace: the operator decides which pages may read."""

_READABLE: Final = ((b"Access-Control-Expose-Headers", _EXPOSED),)

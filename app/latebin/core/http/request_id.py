"""The id of a request, which connects its answer with its lines in the logs."""

import re
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

import attrs

HEADER: Final = b"X-Request-Id"
"""The header with the id, in the request and in the answer."""

PARENT: Final = b"Traceparent"
"""The header with the id of a trace (W3C Trace Context)."""

PATTERN: Final = "[A-Za-z0-9._-]{1,128}"
"""The syntax of an id from a caller, harmless in headers and logs."""

_GIVEN: Final = re.compile(PATTERN.encode("ascii"))

# W3C Trace Context, section 3.2: version ff is invalid, and version 00 ends with the flags. In a later version more
# fields may follow, each behind a dash.
_PARENT: Final = re.compile(
    rb"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?", re.DOTALL
)


def _numbered(origin: str) -> Callable[[], bytes]:
    return map((origin.encode("ascii") + b"%012x").__mod__, count()).__next__


@attrs.frozen
class RequestIds:
    """The ids that one process gives to requests.

    Attributes:
        origin: 20 random hex digits, unique to the process. A new id consists of these and a counter of 12 digits.
    """

    origin: str
    _make: Callable[[], bytes] = attrs.field(
        init=False, default=attrs.Factory(lambda self: _numbered(self.origin), takes_self=True)
    )

    def assign(self, given: Sequence[bytes] | None, parents: Sequence[bytes] | None) -> bytes:
        """Return the id of a request, the id of its trace, or a new id.

        Args:
            given: the values of `X-Request-ID`. A single one that matches PATTERN is the id.
            parents: the values of `traceparent`. Otherwise a single valid one has the id (W3C Trace Context, section
                4.3).
        """
        if given and len(given) == 1 and _GIVEN.fullmatch(given[0]):
            return given[0]
        if parents and len(parents) == 1 and (parent := _PARENT.fullmatch(parents[0])):
            return parent["trace"]
        return self._make()

"""The id of a request, by which its answer and what the logs say of it are found again."""

import re
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

import attrs

HEADER: Final = b"X-Request-Id"
"""Where a caller gives the id, and the answer returns it."""

PARENT: Final = b"Traceparent"
"""Where a caller that is traced gives the id of the trace."""

PATTERN: Final = "[A-Za-z0-9._-]{1,128}"
"""An id that is taken from a caller: it is as harmless in a header as in a log."""

_GIVEN: Final = re.compile(PATTERN.encode("ascii"))

# W3C Trace Context, section 3.2: version ff is none, nothing follows the flags of version 00, and what may follow those
# of a later version begins with a dash.
_PARENT: Final = re.compile(
    rb"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?", re.DOTALL
)


def _numbered(origin: str) -> Callable[[], bytes]:
    return map((origin.encode("ascii") + b"%012x").__mod__, count()).__next__


@attrs.frozen
class RequestIds:
    """The ids that one process gives to requests.

    Attributes:
        origin: 20 hex digits that no other process has, as random ones are; an id that is made here is these, and 12
            more that count.
    """

    origin: str
    _make: Callable[[], bytes] = attrs.field(
        init=False, default=attrs.Factory(lambda self: _numbered(self.origin), takes_self=True)
    )

    def assign(self, given: Sequence[bytes] | None, parents: Sequence[bytes] | None) -> bytes:
        """Take the id that a request brought along, or else that of its trace, or else a new one.

        Args:
            given: the values of `X-Request-ID`; taken is one that matches PATTERN, if there is no other.
            parents: the values of `traceparent`, of which likewise a single one is taken (W3C Trace Context, section
                4.3).
        """
        if given and len(given) == 1 and _GIVEN.fullmatch(given[0]):
            return given[0]
        if parents and len(parents) == 1 and (parent := _PARENT.fullmatch(parents[0])):
            return parent["trace"]
        return self._make()

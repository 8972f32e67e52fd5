"""The headers that a gateway passes on, and the others (RFC 9110, section 7.6)."""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from latebin.core.http.request_id import HEADER
from latebin.core.parameters import PREFIX

Field = tuple[bytes, bytes]

HOP_BY_HOP: Final = frozenset({b"connection", b"keep-alive", b"te", b"transfer-encoding", b"upgrade"})
"""Headers for one hop (RFC 9110, section 7.6.1), besides `Proxy-*` and those that `Connection` names."""

MADE_ANEW: Final = frozenset({b"host", b"content-length", b"expect", b"trailer", HEADER.lower()})
"""Headers that are made anew for the upstream; an expectation was met already (section 10.1.1).

The trailers of a request are not passed on, and `Trailer` is not either.
"""

_FRAMING: Final = frozenset(
    {b"authorization", b"content-encoding", b"content-length", b"content-range", b"content-type", b"host"}
    | {b"cache-control", b"location", b"max-forwards", b"set-cookie", b"trailer"}
)
"""Fields that have a meaning only in front of the content (RFC 9110, section 6.5.1)."""

_WITHIN_HTTP: Final = frozenset({b"h2", b"h2c", b"http/2.0", b"http/1.1"})
"""Protocols of an upgrade that are HTTP again, between two hops: the next hop makes its own choice."""

_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search

MAX_FORWARDS: Final = 10**9
"""The largest `Max-Forwards` that is sent; a larger one becomes this (RFC 9110, section 7.6.2)."""


def has_control(value: bytes) -> bool:
    """Return whether a value has a control character.

    A gateway passes none on: the next parser may take it for something else (RFC 9110, section 5.5).
    """
    return _CONTROL(value) is not None


def tokens(values: Iterable[bytes]) -> list[bytes]:
    """Return the members of a list in one or several headers, in lower case."""
    return [member for value in values for each in value.lower().split(b",") if (member := each.strip())]


def end_to_end(fields: Iterable[Field], named: Collection[bytes], others: Collection[bytes] = ()) -> Iterator[Field]:
    """Leave out the headers of one hop, the parameters, and some others.

    Args:
        fields: names and values.
        named: the members of `Connection`, in lower case.
        others: more names, in lower case.
    """
    dropped = HOP_BY_HOP.union(others, named)
    for name, value in fields:
        lower = name.lower()
        if lower not in dropped and not lower.startswith((b"proxy-", PREFIX.encode("ascii"))):
            yield name, value


def trailers(fields: Iterable[Field]) -> list[Field]:
    """Leave out the trailers that a gateway must not pass on."""
    return list(end_to_end(fields, (), _FRAMING))


def asked_upgrade(connection: Iterable[bytes], upgrade: Iterable[bytes]) -> bytes:
    """Return the protocols that a request asks its server to switch to.

    Args:
        connection: the values of `Connection`.
        upgrade: the values of `Upgrade`.

    Returns:
        The value of `Upgrade` for the upstream; empty for a request that asks for no upgrade through a gateway.
    """
    if b"upgrade" not in tokens(connection):
        return b""
    asked = [each.strip() for value in upgrade for each in value.split(b",")]
    return b", ".join(each for each in asked if each and each.lower() not in _WITHIN_HTTP)


def forwards_left(method: bytes, values: Iterable[bytes]) -> int | None:
    """Return the number in `Max-Forwards`; None where it does not count (RFC 9110, section 7.6.2).

    It counts for OPTIONS and TRACE, and as a number.
    """
    given = list(values)
    if method not in (b"OPTIONS", b"TRACE") or len(given) != 1 or not given[0].isdigit():
        return None
    digits = given[0].lstrip(b"0")
    return MAX_FORWARDS if len(digits) > len(str(MAX_FORWARDS)) else min(int(digits or b"0"), MAX_FORWARDS)

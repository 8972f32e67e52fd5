"""The client, scheme and host of a request in the headers that proxies add."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

import attrs

from latebin.core.http.host import is_host
from latebin.core.http.networks import Network, address, among

Headers = Callable[[bytes], Sequence[bytes] | None]
"""A function that returns the values of a header by its name; None if the request lacks it."""

SCHEMES: Final = ("http", "https")

HOPS: Final = 20
"""The most proxies to follow back, even if all are trusted: only a forged chain is longer."""

ELEMENTS: Final = 5 * HOPS
"""The most elements of a list to read, with empty ones, for the same reason."""

LONGEST: Final = 1000
"""The most characters of `Forwarded` to read, as for `HOPS`."""

_X_FORWARDED: Final = (b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host")

_WORD: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"

# An optional pair (RFC 7239, section 4) and its end: a semicolon in its element, a comma behind it, or the end.
_PAIR: Final = re.compile(
    rf'[ \t]*+(?:(?P<name>{_WORD})=(?:(?P<token>{_WORD})|"(?P<quoted>(?:[^"\\]|\\.)*+)"))?[ \t]*+(?P<end>[;,]|\Z)'
)

_MALFORMED: Final[Sequence[Mapping[str, str]]] = [{}]
"""The value of a malformed or too long field: one element, whose client is unknown."""

_ESCAPED: Final = re.compile(r"\\(.)")

# An address with an optional port (RFC 7239, section 6), or a bare one as in X-Forwarded-For.
_NODE: Final = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<four>[0-9.]+))(?::(?:[0-9]{1,5}|_[0-9A-Za-z._-]+))?|(?P<bare>[0-9A-Fa-f:.]+)"
)


@attrs.frozen
class Forwarded:
    """The statement of a proxy about a request; absent and malformed parts are None.

    Attributes:
        client: the address that sent the request.
        scheme: the scheme of the request, one of SCHEMES.
        host: the host and port of the request.
    """

    client: str | None = None
    scheme: str | None = None
    host: str | None = None


NOTHING: Final = Forwarded()


def believed(headers: Headers, peer: str | None, networks: Collection[Network]) -> Forwarded:
    """Follow a request back to the first machine that is not trusted.

    Each trusted proxy names the machine that sent it the request. The headers that the untrusted machine itself wrote
    are not read. A request with both kinds of headers has no usable statement. One kind comes from a proxy,
    the other was passed on unread, and nothing shows which (RFC 7239, section 7.4).

    Args:
        headers: the headers of the request: `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`, or
            `Forwarded`.
        peer: the address at the other end of the connection; None if it has no address.
        networks: the networks of the trusted proxies.

    Returns:
        The statement of the furthest trusted proxy; NOTHING if the peer is not trusted.
    """
    if not among(networks, peer):
        return NOTHING
    standard, informal = headers(b"Forwarded"), [headers(name) for name in _X_FORWARDED]
    if standard is None:
        hops = _informal(*(b",".join(values or ()).decode("latin-1") for values in informal))
    elif informal == [None] * len(informal):
        hops = _standard(standard)
    else:
        return NOTHING
    found = NOTHING
    for found in islice(hops, HOPS):
        if not among(networks, found.client):
            break
    return found


def _informal(clients: str, schemes: str, hosts: str) -> Iterator[Forwarded]:
    # Not every proxy adds a scheme and a host, so only the last of them can be matched to its proxy.
    scheme, host = (next(_from_the_last(field), "") for field in (schemes, hosts))
    for client in islice(_from_the_last(clients), HOPS):
        yield _checked(client, scheme, host)


def _from_the_last(field: str) -> Iterator[str]:
    """Yield the elements of a list from its end, without empty ones.

    RFC 9110, section 5.6.1, has such lists. A list without elements has one that is empty: not every proxy adds every
    header.
    """
    elements = map(str.strip, reversed(field.rsplit(",", ELEMENTS)[-ELEMENTS:]))
    return iter(list(filter(None, elements)) or [""])


def _standard(fields: Sequence[bytes]) -> Iterator[Forwarded]:
    room = LONGEST
    for field in reversed(fields):
        room -= len(field)
        for element in reversed(_elements(field.decode("latin-1")) if room >= 0 else _MALFORMED):
            yield _checked(*(element.get(name, "") for name in ("for", "proto", "host")))


def _elements(field: str) -> Sequence[Mapping[str, str]]:
    """Read a field of `Forwarded`, from the furthest element to the nearest."""
    elements: list[dict[str, str]] = [{}]
    at, end = 0, ","
    while end:
        pair = _PAIR.match(field, at)
        name = pair and pair["name"] and pair["name"].lower()
        if pair is None or name in elements[-1]:
            return _MALFORMED
        if name:
            elements[-1][name] = pair["token"] or _ESCAPED.sub(r"\1", pair["quoted"])
        at, end = pair.end(), pair["end"]
        if end == ",":
            elements.append({})
    return [element for element in elements if element]


def _checked(client: str, scheme: str, host: str) -> Forwarded:
    node, scheme, host = _NODE.fullmatch(client.strip()), scheme.strip().lower(), host.strip()
    try:
        known = str(address(node["six"] or node["four"] or node["bare"])) if node else None
    except ValueError:
        known = None
    return Forwarded(
        client=known,
        scheme=scheme if scheme in SCHEMES else None,
        host=host if host and host.isascii() and is_host(host.encode("ascii")) else None,
    )

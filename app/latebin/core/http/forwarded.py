"""What proxies tell, in headers, of the request that they forward: who sent it, and to where."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

import attrs

from latebin.core.http.host import is_host
from latebin.core.http.networks import Network, address, among

Headers = Callable[[bytes], Sequence[bytes] | None]
"""Gives the values of a header by its name, if there are any."""

SCHEMES: Final = ("http", "https")

HOPS: Final = 20
"""How many proxies are followed back at most, though all of them are trusted: no chain is as long, but a forged one."""

LONGEST: Final = 1000
"""Characters of `Forwarded` that are read at most, for the same reason."""

_X_FORWARDED: Final = (b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host")

_WORD: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"

# A pair of RFC 7239, section 4, or none, and what it ends with: its element goes on, another begins, or all is over.
_PAIR: Final = re.compile(
    rf'[ \t]*+(?:(?P<name>{_WORD})=(?:(?P<token>{_WORD})|"(?P<quoted>(?:[^"\\]|\\.)*+)"))?[ \t]*+(?P<end>[;,]|\Z)'
)

_MALFORMED: Final[Sequence[Mapping[str, str]]] = [{}]
"""What a field tells that is malformed anywhere, or too long: of one client, that it is unknown."""

_ESCAPED: Final = re.compile(r"\\(.)")

# An address as RFC 7239, section 6, has it, with or without a port; or bare, as in X-Forwarded-For.
_NODE: Final = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<four>[0-9.]+))(?::(?:[0-9]{1,5}|_[0-9A-Za-z._-]+))?|(?P<bare>[0-9A-Fa-f:.]+)"
)


@attrs.frozen
class Forwarded:
    """What a proxy tells of the request that it was sent.

    Attributes:
        client: the address of whoever sent it; None where the proxy tells none, or what is none.
        scheme: one of SCHEMES, by which it was sent; None as above.
        host: host and port that it was sent to; None as above.
    """

    client: str | None = None
    scheme: str | None = None
    host: str | None = None


NOTHING: Final = Forwarded()


def believed(headers: Headers, peer: str | None, networks: Collection[Network]) -> Forwarded:
    """Follow a request back to the first machine that is not trusted: every proxy tells who sent it what it forwards.

    So whatever that machine wrote itself is not read. A request that has both kinds of headers tells nothing: one of
    them is of a proxy, the other has been passed on unread, and nobody knows which (RFC 7239, section 7.4).

    Args:
        headers: of the request: `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`, or `Forwarded`.
        peer: the address of the machine that the request came from; None if it has none.
        networks: those of the proxies that are trusted.

    Returns:
        What the last trusted proxy on this way tells; nothing if the peer is none.
    """
    told = NOTHING
    if among(networks, peer):
        for told in islice(_hops(headers), HOPS):
            if not among(networks, told.client):
                break
    return told


def _hops(headers: Headers) -> Iterator[Forwarded]:
    """Give what the proxies tell, the nearest first."""
    standard, informal = headers(b"Forwarded"), [headers(name) for name in _X_FORWARDED]
    if standard is None:
        return _informal(*(b",".join(values or ()).decode("latin-1") for values in informal))
    return _standard(standard) if informal == [None] * len(informal) else iter(())


def _informal(clients: str, schemes: str, hosts: str) -> Iterator[Forwarded]:
    # Not every proxy adds a scheme and a host to those before it: which belongs to whom is known of the last alone.
    scheme, host = schemes.rpartition(",")[2], hosts.rpartition(",")[2]
    for client in reversed(clients.rsplit(",", HOPS)[-HOPS:]):
        yield _checked(client, scheme, host)


def _standard(fields: Sequence[bytes]) -> Iterator[Forwarded]:
    room = LONGEST
    for field in reversed(fields):
        room -= len(field)
        for element in reversed(_elements(field.decode("latin-1")) if room >= 0 else _MALFORMED):
            yield _checked(*(element.get(name, "") for name in ("for", "proto", "host")))


def _elements(field: str) -> Sequence[Mapping[str, str]]:
    """Read a field of `Forwarded`."""
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
    scheme, host = scheme.strip().lower(), host.strip()
    return Forwarded(
        client=_address(client.strip()),
        scheme=scheme if scheme in SCHEMES else None,
        host=host if host and host.isascii() and is_host(host.encode("ascii")) else None,
    )


def _address(node: str) -> str | None:
    found = _NODE.fullmatch(node)
    try:
        return str(address(found["six"] or found["four"] or found["bare"])) if found else None
    except ValueError:
        return None

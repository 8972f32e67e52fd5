import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.http.request_id import PATTERN, RequestIds

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"

SPAN = b"00f067aa0ba902b7"

MADE = re.compile(rb"[0-9a-f]{32}")


def identities() -> RequestIds:
    return RequestIds("0123456789abcdef0123")


def made(given: list[bytes] | None = None, parents: list[bytes] | None = None) -> bool:
    """Assign an id, and return whether it is a new one."""
    return identities().assign(given, parents) == b"0123456789abcdef0123000000000000"


@given(st.from_regex(PATTERN.encode(), fullmatch=True))
def test_given(value: bytes) -> None:
    """An id is taken as it is when it has 1 to 128 allowed characters."""
    assert identities().assign([value], None) == value


@given(st.binary(max_size=200))
def test_harmless(value: bytes) -> None:
    """An id is safe in a header and a log when any bytes are given."""
    assert re.fullmatch(PATTERN.encode(), identities().assign([value], [value]))


@pytest.mark.parametrize(
    "values", [[], [b""], [b"a b"], [b"a\n"], [b"a,b"], [b"\xe9"], ["٣".encode()], [b"a" * 129], [b"a", b"a"]]
)
def test_not_given(values: list[bytes]) -> None:
    """The trace gives the id when the given one is too long, malformed or repeated."""
    assert made(values)
    assert identities().assign(values, [b"00-%b-%b-01" % (TRACE, SPAN)]) == TRACE


def test_given_before_traced() -> None:
    """A given id is taken when the request has a trace too."""
    assert identities().assign([b"a"], [b"00-%b-%b-01" % (TRACE, SPAN)]) == b"a"


@pytest.mark.parametrize(
    "parent",
    [
        b"00-%b-%b-01",
        b"00-%b-%b-00",
        b"00-%b-%b-ff",
        b"01-%b-%b-01",
        b"fe-%b-%b-01-",
        b"cc-%b-%b-01-what the future will be like",
    ],
)
def test_trace(parent: bytes) -> None:
    """The id of a trace is taken, also when a later version adds fields."""
    assert identities().assign(None, [parent % (TRACE, SPAN)]) == TRACE


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        b"00-%b-%b-01" % (TRACE.upper(), SPAN),
        b"00-%b-%b-01" % (TRACE, SPAN.upper()),
        b"00-%b-%b-01" % (b"0" * 32, SPAN),
        b"00-%b-%b-01" % (TRACE, b"0" * 16),
        b"00-%b-%b-0" % (TRACE, SPAN),
        b"00-%b-%b-0g" % (TRACE, SPAN),
        b"00-%b-%b-01-" % (TRACE, SPAN),
        b"00-%b-%b-01-more" % (TRACE, SPAN),
        b"01-%b-%b-01.more" % (TRACE, SPAN),
        b"01-%b-%b-012" % (TRACE, SPAN),
        b"ff-%b-%b-01" % (TRACE, SPAN),
        b"0G-%b-%b-01" % (TRACE, SPAN),
        b"00-%b-%b" % (TRACE, SPAN),
        b"00_%b_%b_01" % (TRACE, SPAN),
    ],
)
def test_no_trace(parent: bytes) -> None:
    """A new id is made when the header is malformed.

    Source: W3C Trace Context, sections 3.2 and 4.1.
    """
    assert made(None, [parent])


def test_two_parents() -> None:
    """A new id is made when there are two traces."""
    parent = b"00-%b-%b-01" % (TRACE, SPAN)
    assert made(None, [parent, parent])


def test_every_id_is_another() -> None:
    """No id is made twice when two processes make them."""
    one, other = identities(), RequestIds("0123456789abcdef0124")
    ids = [each.assign(None, None) for _ in range(1000) for each in (one, other)]
    assert len(set(ids)) == len(ids)
    assert all(map(MADE.fullmatch, ids))

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.http.body import TYPES, sized

kinds = st.sampled_from(sorted(TYPES))


def whole(kind: str, size: int | None) -> bytes:
    body = sized(kind, size)
    return body.piece(0, body.size)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("html", b"<html><body>Sorry to keep you waiting.</body></html>"),
        ("json", b'{"message": "Sorry to keep you waiting."}'),
        ("text", b"Sorry to keep you waiting.\n"),
        ("bytes", b"Sorry to keep you waiting."),
    ],
)
def test_by_itself(kind: str, expected: bytes) -> None:
    """A body has its own size and one sentence when no size is given."""
    assert whole(kind, None) == expected


@given(kind=kinds, size=st.integers(0, 100_000))
def test_size(kind: str, size: int) -> None:
    """A body has the requested size, to the byte."""
    assert len(whole(kind, size)) == size


@given(size=st.integers(1, 5000))
def test_json(size: int) -> None:
    """A JSON body is JSON in any size above 0."""
    json.loads(whole("json", size))


@given(kind=kinds, size=st.integers(0, 2000), cuts=st.lists(st.integers(0, 2000), max_size=10))
def test_pieces(kind: str, size: int, cuts: list[int]) -> None:
    """The pieces of a body join to the whole wherever it is cut."""
    body = sized(kind, size)
    places = [0, *sorted(min(cut, size) for cut in cuts), size]
    pieces = [body.piece(start, stop) for start, stop in itertools.pairwise(places)]
    assert b"".join(pieces) == whole(kind, size)

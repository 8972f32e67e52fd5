from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.http.chunked import LINE, MOST, ChunkedBody
from latebin.core.http.reply import Refused

WHOLE = b'4;a="b"\r\ntest\r\n0a ;c\r\n0123456789\r\n000\r\nX-A: b\r\nX-C:\r\n\r\n'


def fed(*pieces: bytes) -> tuple[bytes, bytes | None]:
    body = ChunkedBody()
    return b"".join(map(body.feed, pieces)), body.rest


@given(cuts=st.lists(st.integers(0, len(WHOLE)), max_size=8))
def test_pieces(cuts: list[int]) -> None:
    """A body is the same when its bytes come in any pieces."""
    places = [0, *sorted(cuts), len(WHOLE)]
    pieces = [WHOLE[start:stop] for start, stop in pairwise(places)]
    assert fed(*pieces) == (b"test0123456789", b"")


def test_each_byte() -> None:
    """A body is the same when its bytes come one by one."""
    assert fed(*(bytes([byte]) for byte in WHOLE)) == (b"test0123456789", b"")


def test_rest() -> None:
    """The bytes behind the body are kept as they are when it ends."""
    assert fed(WHOLE + b"GET / HTTP") == (b"test0123456789", b"GET / HTTP")


@pytest.mark.parametrize(
    "sent",
    [
        b"g", b"\r\n", b"\n", b" 1", b"+1", b"-1", b"0x1", b"1_0", b"1 \r\n", b"1\n", b"1\rx", b"1;\n", b"1;\rx",
        b"1;\0", b"1\r\nab", b"1\r\na\n", b"1\r\na\rx", b"0\r\n\n", b"0\r\n\rx",
        b"0\r\n: b", b"0\r\na b", b"0\r\na: \0",
        b"0\r\na\r\n", b"0\r\n \r\n", b"0\r\na: b\r\n c", b"0\r\na: b\n",
        b"0" * (LINE + 1), b"1;" + b"a" * LINE, b"1;" + b"a" * LINE + b"\r\n",
        b"0\r\na: " + b"b" * MOST, b"0\r\n" + b"a: b\r\n" * (MOST // 6 + 1),
        (b"1;" + b"a" * 1000 + b"\r\na\r\n") * 17,
    ],
)  # fmt: skip
def test_malformed(sent: bytes) -> None:
    """Bytes are refused as soon as they can become no chunks."""
    with pytest.raises(Refused) as refused:
        fed(b"3\r\nabc\r\n" + sent)
    assert refused.value.problem.status == 400


@pytest.mark.parametrize("beginning", [WHOLE[:end] for end in range(len(WHOLE))])
def test_unfinished(beginning: bytes) -> None:
    """The beginning of a body is not refused, and is not its end."""
    assert fed(beginning)[1] is None


def test_size() -> None:
    """A size of any length is announced before its bytes come."""
    body = ChunkedBody()
    assert body.feed(b"f" * 1000 + b"\r\nab") == b"ab"
    assert body.announced == 16**1000 - 1

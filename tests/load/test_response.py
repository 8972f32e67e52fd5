"""The end of an answer does not depend on how its bytes are split."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.load.response import CLOSED, GARBAGE, MAX_HEAD, SHORT, Answer, ProtocolError, ResponseParser

GOOD = Answer(200, reusable=True, surplus=False)

INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"

CHUNKS = b'2;a="b"\r\n\r\n\r\n0A \r\n0123456789\r\n000\r\nExpires: never\r\nX:\r\n\r\n'

WHOLE = {
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello": GOOD,
    b"HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n": GOOD,
    b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi": GOOD,
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi": GOOD,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n": GOOD,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\nContent-Length: 3\r\n\r\n" + CHUNKS: GOOD,
    b"HTTP/1.1 200 \r\nConnection: Close\r\nContent-Length: 0\r\n\r\n": GOOD._replace(reusable=False),
    b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n": GOOD._replace(reusable=False),
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n": GOOD,
    b"HTTP/1.1 204 No Content\r\n\r\n": GOOD._replace(status=204),
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n": GOOD._replace(status=304),
    b"HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n": GOOD._replace(status=503),
    INTERIM + b"HTTP/1.1 204 No Content\r\n\r\n": GOOD._replace(status=204),
}

ENDED = (
    b"HTTP/1.1 200 OK\r\n\r\nhello",
    b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
)

BROKEN = (
    b"SSH-2.0-x\r\n",
    b"HTTP/2 200\r\n\r\n",
    b"HTTP/1.1 xyz OK\r\n\r\n",
    b"HTTP/1.1 999 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * MAX_HEAD,
)


def feed_cut(parser: ResponseParser, text: bytes, cuts: set[int]) -> Answer | None:
    """Feed a text in pieces; only the last one may complete an answer."""
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(text)), len(text)]
    *answers, last = [parser.feed(text[begin:end]) for begin, end in pairwise(edges)]
    assert answers == [None] * len(answers)
    return last


@given(text=st.sampled_from(list(WHOLE)), cuts=st.sets(st.integers(1, 200)))
def test_an_answer_is_whole_at_its_last_byte(text: bytes, cuts: set[int]) -> None:
    """An answer is complete at its last byte, not before, when it is split anywhere."""
    parser = ResponseParser()
    assert feed_cut(parser, text, cuts) == WHOLE[text]
    assert not parser.begun
    assert feed_cut(parser, text, set()) == WHOLE[text]


@given(text=st.sampled_from(ENDED), cuts=st.sets(st.integers(1, 200)))
def test_without_a_length_the_end_of_the_connection_ends_an_answer(text: bytes, cuts: set[int]) -> None:
    """An answer without a length is complete, and not reusable, when the connection ends."""
    parser = ResponseParser()
    assert feed_cut(parser, text, cuts) is None
    assert parser.begun
    assert parser.end() == Answer(200, reusable=False, surplus=False)


@given(text=st.sampled_from(list(WHOLE)), data=st.data())
def test_an_end_inside_an_answer_is_a_short_one(text: bytes, data: st.DataObject) -> None:
    """`end` raises SHORT when the connection ends inside an answer."""
    parser = ResponseParser()
    last_head = text.rfind(b"HTTP/1.")
    parser.feed(text[: data.draw(st.integers(last_head + 1, len(text) - 1))])
    with pytest.raises(ProtocolError, match=SHORT):
        parser.end()


def test_an_end_before_an_answer_is_a_closed_connection() -> None:
    """`end` raises CLOSED when the connection ends before an answer, also after an interim one."""
    with pytest.raises(ProtocolError, match=CLOSED):
        ResponseParser().end()
    parser = ResponseParser()
    assert parser.feed(b"HTTP/1.1 100 Continue\r\n\r\n") is None
    assert not parser.begun
    with pytest.raises(ProtocolError, match=CLOSED):
        parser.end()


@pytest.mark.parametrize("text", BROKEN, ids=lambda text: repr(text[:60]))
def test_malformed_http_is_garbage(text: bytes) -> None:
    """`feed` raises GARBAGE when the bytes are not a valid HTTP/1 response."""
    with pytest.raises(ProtocolError, match=GARBAGE):
        ResponseParser().feed(text)


@pytest.mark.parametrize("text", list(WHOLE), ids=lambda text: repr(text[:60]))
def test_bytes_behind_an_answer_are_surplus(text: bytes) -> None:
    """An answer has the surplus flag when more bytes follow it."""
    answer = ResponseParser().feed(text + b"H")
    assert answer is not None
    assert answer.surplus


@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_are_an_answer_an_error_or_incomplete(data: bytes) -> None:
    """A parser raises ProtocolError, and nothing else, when the bytes are arbitrary."""
    parser = ResponseParser()
    try:
        parser.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
        parser.end()
    except ProtocolError:
        pass

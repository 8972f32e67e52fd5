"""Where an answer ends does not depend on how its bytes are cut."""

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


def feed_cut(reader: ResponseParser, text: bytes, cuts: set[int]) -> Answer | None:
    """Feed a text in pieces, whose last one alone may complete an answer."""
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(text)), len(text)]
    *answers, last = [reader.feed(text[begin:end]) for begin, end in pairwise(edges)]
    assert answers == [None] * len(answers)
    return last


@given(text=st.sampled_from(list(WHOLE)), cuts=st.sets(st.integers(1, 200)))
def test_an_answer_is_whole_at_its_last_byte(text: bytes, cuts: set[int]) -> None:
    """However it is cut, an answer is complete with its last byte and not before, twice on one connection."""
    reader = ResponseParser()
    assert feed_cut(reader, text, cuts) == WHOLE[text]
    assert not reader.begun
    assert feed_cut(reader, text, set()) == WHOLE[text]


@given(text=st.sampled_from(ENDED), cuts=st.sets(st.integers(1, 200)))
def test_without_a_length_the_end_of_the_connection_ends_an_answer(text: bytes, cuts: set[int]) -> None:
    """Such an answer is whole when the connection ends, and the connection is not used again."""
    reader = ResponseParser()
    assert feed_cut(reader, text, cuts) is None
    assert reader.begun
    assert reader.end() == Answer(200, reusable=False, surplus=False)


@given(text=st.sampled_from(list(WHOLE)), data=st.data())
def test_an_end_inside_an_answer_is_a_short_one(text: bytes, data: st.DataObject) -> None:
    """No length lost goes unnoticed."""
    reader = ResponseParser()
    last_head = text.rfind(b"HTTP/1.")
    reader.feed(text[: data.draw(st.integers(last_head + 1, len(text) - 1))])
    with pytest.raises(ProtocolError, match=SHORT):
        reader.end()


def test_an_end_before_an_answer_is_a_closed_connection() -> None:
    """An interim answer is not yet an answer."""
    with pytest.raises(ProtocolError, match=CLOSED):
        ResponseParser().end()
    reader = ResponseParser()
    assert reader.feed(b"HTTP/1.1 100 Continue\r\n\r\n") is None
    assert not reader.begun
    with pytest.raises(ProtocolError, match=CLOSED):
        reader.end()


@pytest.mark.parametrize("text", BROKEN, ids=lambda text: repr(text[:60]))
def test_what_is_not_http_is_garbage(text: bytes) -> None:
    """Bytes that no HTTP/1 server may send are refused, not guessed at."""
    with pytest.raises(ProtocolError, match=GARBAGE):
        ResponseParser().feed(text)


@pytest.mark.parametrize("text", list(WHOLE), ids=lambda text: repr(text[:60]))
def test_bytes_behind_an_answer_are_noticed(text: bytes) -> None:
    """What nobody asked for is told with the answer that it follows."""
    answer = ResponseParser().feed(text + b"H")
    assert answer is not None
    assert answer.surplus


@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_are_an_answer_a_flaw_or_a_wait(data: bytes) -> None:
    """Nothing that comes in makes the reader fail in any other way."""
    reader = ResponseParser()
    try:
        reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
        reader.end()
    except ProtocolError:
        pass

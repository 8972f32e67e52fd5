import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.http.reply import Refused
from latebin.core.parameters import EVENTS, read_query
from latebin.core.plan import Plan, plan_events, prepare, read_arguments
from latebin.core.settings import Settings
from latebin.core.stream import Kind, stream, stream_of

TEXT = "  How do\nyou do?\n\nI am \u00e9."


def plan(query: str) -> Plan:
    prepared = prepare(read_arguments(query.encode(), None, Settings()), Settings(), lambda: 0.5)
    return prepared.plan or prepared.draw(1, 1)


def data(kind: Kind, unit: str, body: bytes) -> list[bytes]:
    found = stream_of(kind, None, body, unit)
    return [found.event(n, 0, 0) for n in range(1, found.count + 1)]


def test_sse_event() -> None:
    """An event has an id, its figures in milliseconds, and a blank line."""
    events = stream("sse", 2, 5)
    assert events.event(1, 0.01, 0.0105) == (
        b'retry: 1000\nid: 1\ndata: {"n": 1, "due_ms": 10.000, "left_ms": 10.500, "data": "Sorry"}\n\n'
    )
    assert events.event(2, 0.02, 0.02).startswith(b"id: 2\n")


def test_ndjson_event() -> None:
    """An event is one line of JSON with NDJSON."""
    [line, end] = stream("ndjson", 1, None).event(1, 0.01, 0.0105).split(b"\n")
    assert json.loads(line) == {"n": 1, "due_ms": 10.0, "left_ms": 10.5}
    assert end == b""


@pytest.mark.parametrize("unit", ["words", "lines"])
def test_pieces(unit: str) -> None:
    """The events carry every character of a body that is split at words or lines."""
    events = data("ndjson", unit, TEXT.encode())
    assert "".join(json.loads(event)["data"] for event in events) == TEXT
    assert len(events) == {"words": 7, "lines": 4}[unit]


def test_recorded_events() -> None:
    """An event leaves as it was recorded, with a whole end."""
    body = b": hello\n\nid: a\ndata: 1\r\n\r\ndata: 2\n"
    assert data("sse", "events", body) == [b": hello\n\n", b"id: a\ndata: 1\r\n\r\n", b"data: 2\n\n"]
    assert data("ndjson", "events", b"{}\r\n\n[1]") == [b"{}\n", b"[1]\n"]


def test_repeated() -> None:
    """The pieces begin again when there are more events than pieces."""
    events = stream_of("ndjson", 0, b"a b", "words")
    assert [json.loads(events.event(n, 0, 0))["data"] for n in (1, 2, 3)] == ["a ", "b", "a "]


@pytest.mark.parametrize("unit", ["words", "lines", "events"])
def test_no_pieces(unit: str) -> None:
    """A body without a piece is refused."""
    with pytest.raises(ValueError, match=f"expected a body with {unit}"):
        stream_of("sse", None, b" " if unit == "words" else b"", unit)


@given(st.integers(0, 50), st.integers(0, 60))
def test_behind(count: int, last: int) -> None:
    """A stream goes on behind any of its events, and is over behind the last."""
    events = stream("sse", count, None)
    if count and last > count:
        with pytest.raises(ValueError, match="at most"):
            events.behind(b"%d" % last)
        return
    rest = events.behind(b"%d" % last)
    assert rest.first == last + 1
    assert rest.ended == (0 < count == last)


@pytest.mark.parametrize("last", [b"", b"x", b"-1", b"1.0", b"\xd9\xa3", b"9" * 16, b"9" * 5000])
def test_behind_nothing(last: bytes) -> None:
    """A stream refuses any id except the number of an event."""
    with pytest.raises(ValueError, match="expected the number of an event"):
        stream("sse", 0, None).behind(last)


def test_behind_a_recorded_event() -> None:
    """A recorded stream goes on behind the event with the id that it recorded."""
    events = stream_of("sse", None, b"id: a\ndata: 1\n\nid:b\ndata: 2\n\ndata: 3\n\n", "events")
    assert events.behind(b"b").first == 3
    with pytest.raises(ValueError, match="expected the id"):
        events.behind(b"c")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("name", ["\xe9", " a ", "1"])
def test_behind_any_id(end: bytes, name: str) -> None:
    """A recorded stream goes on behind any id, with any ends of lines."""
    lines = b"data: id: 0", b"id: x", b"id: %b" % name.encode(), b"data: 1", b"", b"id: b", b"data: 2", b"", b""
    events = stream_of("sse", None, end.join(lines), "events")
    assert events.count == 2
    assert events.behind(name.strip().encode()).first == 2
    assert events.behind(b"b").ended


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"\xef\xbb\xbfdata: 1\n\ndata: 2", [b"data: 1\n\n", b"data: 2\n\n"]),
        (b"data: 1\n\r\ndata: 2\r\n\n", [b"data: 1\n\r\n", b"data: 2\r\n\n"]),
        (b"data: 1\r\ndata: 2\r\n", [b"data: 1\r\ndata: 2\n\n"]),
        (b"data: 1\r\rdata: 2\r", [b"data: 1\r\r", b"data: 2\n\n"]),
        (b"\n\n\ndata: 1\n\n\n\n", [b"data: 1\n\n"]),
    ],
)
def test_broken_files(body: bytes, events: list[bytes]) -> None:
    """Each event of a file has a whole end when the file lacks it."""
    assert data("sse", "events", body) == events


def test_mark_of_ndjson() -> None:
    """The first line has no byte order mark when the file has one."""
    assert data("ndjson", "events", b"\xef\xbb\xbf{}\r\n{}") == [b"{}\n", b"{}\n"]


def test_gaps_of_a_seed() -> None:
    """A gap depends on the seed and its number, not on the gaps before it."""
    one, other = (plan("type=sse&chunks=9&every=exponential(20ms)&seed=7&n=3") for _ in range(2))
    gaps = [one.between(number) for number in range(1, 9)]
    assert other.between(5) == gaps[4]
    assert len(set(gaps)) == 8
    assert plan("type=sse&chunks=9&every=exponential(20ms)&seed=7&n=4").between(5) != gaps[4]


def test_gap_is_cut() -> None:
    """A gap above the longest delay is cut to it."""
    assert plan("chunks=2&every=mix(50%25:0,50%25:2h)&seed=1&n=1").between(1) in (0, 600)
    assert {plan(f"chunks=2&every=mix(50%25:0,50%25:2h)&seed=1&n={n}").between(1) for n in range(1, 20)} == {0, 600}


def test_rate() -> None:
    """A body with a rate is sent evenly, in tenths of a second."""
    found = plan("rate=100&size=25&type=bytes")
    assert list(found.pieces()) == [(10, 0.1), (20, 0.2), (25, 0.25)]
    assert list(plan("rate=2&size=3&type=bytes").pieces()) == [(1, 0.5), (2, 1.0), (3, 1.5)]


@given(st.integers(1, 200), st.integers(1, 50))
def test_pieces_cover_the_body(size: int, chunks: int) -> None:
    """The pieces end in the last byte, and none is empty."""
    ends = (
        [end for end, _ in plan(f"size={size}&chunks={min(size, chunks)}&every=1ms").pieces()]
        if chunks > 1 < size
        else [size]
    )
    assert ends[-1] == size
    assert all(one < other for one, other in pairwise(ends))


@given(
    st.sampled_from(["over=9s&chunks=7&size=70", "over=0s&chunks=7&size=70", "rate=10&size=70", "size=7&rate=3"]),
    st.floats(0, 30),
)
def test_due_pieces(query: str, seconds: float) -> None:
    """Due pieces are counted give or take one, and go on from any number."""
    made = plan(f"{query}&type=bytes")
    pieces = list(made.pieces())
    assert abs(made.due(seconds) - sum(due <= seconds for _, due in pieces)) <= 1
    assert list(made.pieces(made.due(seconds))) == pieces[made.due(seconds) :]


def test_jitter() -> None:
    """The gaps of `/sse` vary by the share of jitter."""
    numbers = iter((0.0, 0.5, 0.999))
    arguments = read_query(b"count=4&duration=3&jitter=0.5", EVENTS, Settings())
    found = plan_events(arguments, "sse", lambda: next(numbers))
    assert [found.between(n) for n in (1, 2, 3)] == pytest.approx([0.5, 1.0, 1.499])


def test_contradictions() -> None:
    """A refusal names the parameter when two contradict each other."""
    for query, parameter in (
        ("chunks=2&every=1s&over=1s", "every"),
        ("rate=1k&chunks=2", "rate"),
        ("type=sse&rate=1k", "rate"),
        ("type=sse&framing=length", "framing"),
        ("fault=truncate@53", "fault"),
        ("type=sse&chunks=0&fault=badchunk", "fault"),
    ):
        with pytest.raises(Refused) as refused:
            plan(query)
        assert refused.value.problem.parameter == parameter, query

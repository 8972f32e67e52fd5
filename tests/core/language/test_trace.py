"""Recorded latencies out of files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.language import trace


def test_one_duration_a_line() -> None:
    """Each line is one value, in the order of the file; a bare number is seconds."""
    assert trace.read("a", ["250ms\n", "0.5\r\n", "1m30s"]).values == (0.25, 0.5, 90.0)


def test_first_column_of_a_csv() -> None:
    """Of a CSV the first column is read, with or without quotes, and its header is skipped."""
    assert trace.read("a", ["latency,path", '"80ms",/x', "90ms , /y"]).values == (0.08, 0.09)


def test_blank_lines_and_comments() -> None:
    """Blank lines and comments are no values, and a header may come after them."""
    assert trace.read("a", ["# from production", "", "  ", "Latenz (s)", "1", "# more", "2"]).values == (1.0, 2.0)


def test_byte_order_mark() -> None:
    """The mark that spreadsheets put first is not taken for a header."""
    assert trace.read("a", ["\ufeff1", "2"]).values == (1.0, 2.0)


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        (["1", "x"], 2),
        (["latency", "path", "1"], 2),
        (["# c", "", "-1"], 3),
        ([",5"], 1),
        (["1", '"",5'], 2),
        (["25oms"], 1),
        (["1", "nan"], 2),
    ],
)
def test_wrong_line(lines: list[str], number: int) -> None:
    """A line that is not a duration is refused by its number; only one header is forgiven."""
    with pytest.raises(trace.TraceError, match=rf"^line {number}: not a duration") as refusal:
        trace.read("a", lines)
    assert refusal.value.line == number


@pytest.mark.parametrize("lines", [[], ["# nothing"], ["latency"]])
def test_no_values(lines: list[str]) -> None:
    """A trace without a value is refused."""
    with pytest.raises(trace.TraceError, match=r"^no durations$"):
        trace.read("a", lines)


def test_number_of_values_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that goes beyond the bound is named; as many values as the bound are read."""
    monkeypatch.setattr(trace, "MAX_VALUES", 3)
    assert len(trace.read("a", ["1"] * 3).values) == 3
    with pytest.raises(trace.TraceError, match=r"^line 5: more than 3 values$"):
        trace.read("a", ["header", *["1"] * 4])


@pytest.mark.parametrize("name", ["", "a b", "-a", "a)", "ä", "a" * 65])
def test_name_that_no_delay_could_say(name: str) -> None:
    """A name that cannot stand in a delay is refused at the start, not at the first use."""
    with pytest.raises(ValueError, match="a trace's name"):
        trace.read(name, ["1"])


def test_values_are_needed() -> None:
    """A trace cannot be made without values."""
    with pytest.raises(ValueError, match="at least one value"):
        trace.Trace("a", ())


def test_equality_and_hash() -> None:
    """Traces are equal by name and values; the hash does not depend on how many values there are."""
    assert trace.Trace("a", (1.0,)) == trace.Trace("a", (1.0,)) != trace.Trace("a", (2.0,))
    assert hash(trace.Trace("a", (1.0,))) == hash(trace.Trace("a", (2.0, 3.0)))
    assert "1.0" not in repr(trace.Trace("a", (1.0,)))


def test_sorted_values_and_their_sums() -> None:
    """A trace keeps its values sorted, and their running sums, beside their order."""
    recorded = trace.Trace("a", (3.0, 1.0, 2.0))
    assert (recorded.values, recorded.ascending, recorded.sums) == ((3, 1, 2), (1, 2, 3), (0, 1, 3, 6))


@given(st.lists(st.text()))
def test_any_lines(lines: list[str]) -> None:
    """Any lines are a trace or are refused with a TraceError."""
    try:
        recorded = trace.read("a", lines)
    except trace.TraceError:
        return
    assert recorded.ascending[0] >= 0

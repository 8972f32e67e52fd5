"""Traces that are read from the lines of a file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.language import trace


def test_one_duration_a_line() -> None:
    """Each line is one value, in order; a bare number is seconds."""
    assert trace.read("a", ["250ms\n", "0.5\r\n", "1m30s"]).values == (0.25, 0.5, 90.0)


def test_first_column_of_a_csv() -> None:
    """The first column is read and a header skipped when the file is a CSV."""
    assert trace.read("a", ["latency,path", '"80ms",/x', "90ms , /y"]).values == (0.08, 0.09)


def test_blank_lines_and_comments() -> None:
    """Blank lines and comments are skipped, also before a header."""
    assert trace.read("a", ["# from production", "", "  ", "Latenz (s)", "1", "# more", "2"]).values == (1.0, 2.0)


def test_byte_order_mark() -> None:
    """A byte order mark is skipped when the file begins with it."""
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
    """A trace is refused with a line number when a line is not a duration."""
    with pytest.raises(trace.TraceError, match=rf"^line {number}: expected a duration") as refusal:
        trace.read("a", lines)
    assert refusal.value.line == number


@pytest.mark.parametrize("lines", [[], ["# nothing"], ["latency"]])
def test_no_values(lines: list[str]) -> None:
    """A trace without a value is refused."""
    with pytest.raises(trace.TraceError, match=r"^no durations$"):
        trace.read("a", lines)


def test_number_of_values_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace is refused with a line number when it has too many values."""
    monkeypatch.setattr(trace, "MAX_VALUES", 3)
    assert len(trace.read("a", ["1"] * 3).values) == 3
    with pytest.raises(trace.TraceError, match=r"^line 5: more than 3 values$"):
        trace.read("a", ["header", *["1"] * 4])


@pytest.mark.parametrize("name", ["", "a b", "-a", "a)", "ä", "a" * 65])
def test_name_that_no_delay_could_say(name: str) -> None:
    """A name is refused when it cannot stand in a delay."""
    with pytest.raises(ValueError, match="expected a trace name"):
        trace.read(name, ["1"])


def test_values_are_needed() -> None:
    """A trace cannot be made without values."""
    with pytest.raises(ValueError, match="expected at least one value"):
        trace.Trace("a", ())


def test_equality_and_hash() -> None:
    """Traces are equal by name and values; the name alone makes the hash."""
    assert trace.Trace("a", (1.0,)) == trace.Trace("a", (1.0,)) != trace.Trace("a", (2.0,))
    assert hash(trace.Trace("a", (1.0,))) == hash(trace.Trace("a", (2.0, 3.0)))
    assert "1.0" not in repr(trace.Trace("a", (1.0,)))


def test_sorted_values_and_their_sums() -> None:
    """A trace has its values sorted, with their running sums, beside the recorded order."""
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

"""Traces that are read from the lines of a file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.language import trace, trace_file


def test_one_duration_a_line() -> None:
    """Each line is one value, in order; a bare number is seconds."""
    assert trace_file.read("a", ["250ms\n", "0.5\r\n", "1m30s"]).values == (0.25, 0.5, 90.0)


def test_first_column_of_a_csv() -> None:
    """The first column is read and a header skipped when the file is a CSV."""
    assert trace_file.read("a", ["latency,path", '"80ms",/x', "90ms , /y"]).values == (0.08, 0.09)


def test_blank_lines_and_comments() -> None:
    """Blank lines and comments are skipped, also before a header."""
    assert trace_file.read("a", ["# from production", "", "  ", "Latenz (s)", "1", "# more", "2"]).values == (1.0, 2.0)


def test_byte_order_mark() -> None:
    """A byte order mark is skipped when the file begins with it."""
    assert trace_file.read("a", ["\ufeff1", "2"]).values == (1.0, 2.0)


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
        trace_file.read("a", lines)
    assert refusal.value.line == number


@pytest.mark.parametrize("lines", [[], ["# nothing"], ["latency"]])
def test_no_values(lines: list[str]) -> None:
    """A trace without a value is refused."""
    with pytest.raises(trace.TraceError, match=r"^no durations$"):
        trace_file.read("a", lines)


def test_number_of_values_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace is refused with a line number when it has too many values."""
    monkeypatch.setattr(trace_file, "MAX_VALUES", 3)
    assert len(trace_file.read("a", ["1"] * 3).values) == 3
    with pytest.raises(trace.TraceError, match=r"^line 5: more than 3 values$"):
        trace_file.read("a", ["header", *["1"] * 4])


@pytest.mark.parametrize("name", ["", "a b", "-a", "a)", "ä", "a" * 65])
def test_name_that_no_delay_could_say(name: str) -> None:
    """A name is refused when it cannot stand in a delay."""
    with pytest.raises(ValueError, match="expected a trace name"):
        trace_file.read(name, ["1"])


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


JMETER = '''timeStamp,elapsed,label,responseCode,responseMessage,threadName,success,failureMessage,bytes
1700000000123,182,"GET /a, then /b",200,OK,Thread Group 1-1,true,,612
1700000000456,1204,"GET ""/c""",500,Error,Thread Group 1-2,false,"Test failed:
expected 200, not 500",98
1700000001789,95,GET /d,200,OK,Thread Group 1-1,true,,612
'''

K6 = """metric_name,timestamp,metric_value,check,error,error_code,group,method,name,status,url
http_reqs,1700000000,1.000000,,,,,GET,http://a/,200,http://a/
http_req_duration,1700000000,221.899000,,,,,GET,http://a/,200,http://a/
http_req_blocked,1700000000,0.002000,,,,,GET,http://a/,200,http://a/
http_req_duration,1700000001,98.5,,,,,GET,http://a/,503,http://a/
"""

NGINX = (
    '127.0.0.1 - - [26/Nov/2026:10:00:00 +0000] "GET /a?x=1,2;3 HTTP/1.1" 200 612 "-" "Mozilla/5.0 (X11; a)" 0.123\n'
    '::1 - bob [26/Nov/2026:10:00:01 +0000] "GET /\\x22 HTTP/1.1" 503 0 "-" "curl/8" 1e-3 rt="0.25"\n'
)

SPREADSHEET = "\ufeffLatenz (s);Pfad\r\n0,123;/a\r\n"

JSON = '{"time": "t", "request_time": 0.25, "status": 200}\n{"request_time": "1e-3", "status": 503}\n'


def read(text: str, column: str | None = None, unit: str | None = None, where: tuple[str, str] | None = None) -> object:
    return trace_file.read("a", text.splitlines(keepends=True), trace.Columns(column, unit, where)).values


@pytest.mark.parametrize(
    ("text", "columns", "values"),
    [
        (JMETER, ("elapsed", "ms"), (0.182, 1.204, 0.095)),
        (JMETER, (), (0.182, 1.204, 0.095)),
        (JMETER, ("2", "ms"), (0.182, 1.204, 0.095)),
        (JMETER, ("elapsed", "ms", ("success", "true")), (0.182, 0.095)),
        (JMETER, ("-1", "us"), (612e-6, 98e-6, 612e-6)),
        (JMETER.partition("\n")[2], ("2", "ms"), (0.182, 1.204, 0.095)),
        (K6, ("metric_value", "ms"), (0.221899, 0.0985)),
        (K6, (), (0.221899, 0.0985)),
        (K6, ("metric_value", "ms", ("metric_name", "http_req_blocked")), (0.000002,)),
        (NGINX.partition("\n")[0], ("10",), (0.123,)),
        (NGINX.partition("\n")[0], ("-1", "s"), (0.123,)),
        (NGINX.partition("\n")[2], ("rt", "s"), (0.25,)),
        (NGINX, ("10", "s", ("6", "503")), (0.001,)),
        ("1.2.3.4 GET 0.5\n1.2.3.4 POST 2\n", ("3",), (0.5, 2.0)),
        ("t=1 measured=250.5ms\nt=2 measured=1s\n", ("measured",), (0.2505, 1.0)),
        (JSON, ("request_time",), (0.25, 0.001)),
        ("a;b\n0.5;0.25\n", ("b",), (0.25,)),
        ("a\tb\n0.5\t0.25\n", ("b", "s"), (0.25,)),
        ("a,b\n0.5,500\n", ("b", "s"), (500.0,)),
        (
            "1e-3\n5E-1\n1.5e+1\n300\u00b5s\n300\u03bcs\n300us\n80 ms\n.5\n",
            (),
            (1e-3, 0.5, 15.0, 3e-4, 3e-4, 3e-4, 0.08, 0.5),
        ),
        ('"# no comment\n of ours",1\n', ("2",), (1.0,)),
        ('"a ""name""",b\n1,2\n', ('a "name"',), (1.0,)),
        ("0,5\n1,6\n", ("1",), (0.0, 1.0)),
    ],
)
def test_files_of_other_tools(text: str, columns: tuple[str, ...], values: tuple[float, ...]) -> None:
    """The values are those of the chosen column when a tool has written the file."""
    assert read(text, *columns) == values  # type: ignore[arg-type]  # each row has the arguments in their order


@pytest.mark.parametrize(
    ("text", "columns", "reason"),
    [
        (SPREADSHEET, (), "line 2: expected a duration, and '0,123' has a decimal comma: write 0.123"),
        ("0,123;/a\n", (), "line 1: expected a duration, and '0,123' has a decimal comma"),
        ('"0,123",/a\n', (), "line 1: expected a duration, and '0,123' has a decimal comma"),
        ("0,123\n0,5\n", (), "line 1: '0,123' may have a decimal comma: write 0.5 for 0,5, or choose the column"),
        ("0,5ms\n", (), "line 1: '0,5ms' may have a decimal comma"),
        ("latency\n0.1\n0,5\n", (), "line 3: 2 columns, where the first line has 1: a decimal comma?"),
        ("0.5\n0,5\n", (), "line 2: 2 columns, where the first line has 1: a decimal comma?"),
        ("1.234,5;/a\n", (), "line 1: expected a duration, and '1.234,5' has a decimal comma"),
        ("0.5\nNaN\n", (), "line 2: expected a duration, and 'NaN' is not a finite number"),
        ("inf\n1\n", (), "line 1: expected a duration, and 'inf' is not a finite number"),
        ("1e999\n", (), "line 1: '1e999' is above 1000000000 seconds"),
        ("a\n-0.5\n", (), "line 2: expected a duration, and '-0.5' is negative"),
        ("1\n500\n", (), "line 2: did you mean 500ms or 500s? Add ,unit=ms or ,unit=s behind the file"),
        ("latency_ms\n5\n", (), "line 1: the name of the column 'latency_ms' has a unit: add it, as in ,unit=ms"),
        ("n,durationMs\n1,5\n", ("durationMs",), "line 1: the name of the column 'durationMs' has a unit"),
        ("n,b (\u00b5s)\n1,5\n", ("2",), "line 1: the name of the column 'b (\u00b5s)' has a unit"),
        (JMETER, ("timeStamp", "ms"), "line 2: '1700000000123' is above 1000000000 seconds"),
        (JMETER, ("latency", "ms"), "line 1: there is no column 'latency'; the columns are timeStamp, elapsed,"),
        (JMETER, ("10", "ms"), "line 1: there is no column 10: the line has 9 columns"),
        (JMETER + "1,2", ("failureMessage", "ms"), "line 2: expected a duration, and the cell is empty"),
        (JMETER + "1,x", ("elapsed", "ms"), "line 6: expected a duration"),
        ("a,a\n1,2\n", ("a",), "line 1: two columns are called 'a': give its number"),
        ('a\n"1\n2\n', (), "line 2: not CSV as RFC 4180 has it: unexpected end of data"),
        ('a\n"1"2\n', (), "line 2: not CSV as RFC 4180 has it"),
        (NGINX, (), "this is an access log: choose the column, as in ,column=rt for rt=0.25, or ,column=-1"),
        (NGINX, ("rt",), "line 1: there is no rt="),
        (NGINX, ("12",), "line 1: there is no column 12: the line has 10 columns"),
        (JSON, (), "line 1: choose one of the keys, as in ,column=KEY: time, request_time, status"),
        (JSON, ("time",), "line 1: expected a duration"),
        (JSON, ("none",), "line 1: there is no 'none'"),
        ('{"a": 1}\nx\n', ("a",), "line 2: not a JSON object"),
        ('{"a": 1}\n[]\n', ("a",), "line 2: not a JSON object"),
        ("elapsed\n", ("elapsed",), "no durations"),
        ("\ufeff\n", (), "no durations"),
        (K6, ("metric_value", "ms", ("metric_name", "other")), "no durations"),
    ],
)
def test_values_that_would_mislead(text: str, columns: tuple[str, ...], reason: str) -> None:
    """A file is refused with its line when a value can be misunderstood."""
    with pytest.raises(trace.TraceError) as refusal:
        read(text, *columns)  # type: ignore[arg-type]  # each row has the arguments in their order
    assert str(refusal.value).startswith(reason)


@given(st.lists(st.text() | st.text('0123456789.,;e-"ms \n')), st.none() | st.sampled_from(["1", "-1", "a"]))
def test_any_lines(lines: list[str], column: str | None) -> None:
    """Any lines are a trace or are refused with a TraceError."""
    try:
        recorded = trace_file.read("a", lines, trace.Columns(column))
    except trace.TraceError:
        return
    assert 0 <= recorded.ascending[0] <= recorded.ascending[-1] <= 1e9

import json

import pytest
from click.testing import CliRunner

from latebin.cli import main
from latebin.cli.predict import WIDTH, duration, histogram, percentage
from latebin.core.language.grammar import parse
from latebin.core.language.prediction import predict
from tests.support.command import TRACE, latebin, refusal
from tests.support.wire import House


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["1s...3s"], "expected a duration such as 2, 250ms or 1m30s at character 4 (between '1s..'"),
        (["lognormal(mean=80ms)"], "expected 'median' at character 10"),
        (["1s\n"], "Invalid delay '1s\\n': expected '..' or the end at character 2"),
        (["1s*2,5s"], "a sequence has no prediction"),
        (["11m"], "every draw would be above the longest delay, 10m"),
        (["2s", "--max-delay", "1s"], "every draw would be above the longest delay, 1s"),
        (["trace(two)"], "expected the name of a known trace (none was given with --trace)"),
        (["1s", "--timeout", "soon"], "--timeout"),
        (["1s", "--servers", "8"], "--servers needs --rate"),
        (["1s", "--rate", "0"], "Invalid --rate '0': expected a number above 0"),
        (["1s", "--rate", "5", "--servers", "0"], "Invalid --servers '0': expected a whole number from 1 to"),
        (["1s", "--rate", "5", "--queue", "-1"], "Invalid --queue '-1'"),
        (["1s", "--rate", "5", "--seed", "x"], "Invalid --seed 'x'"),
        (["500"], "did you mean 500ms or 500s?"),
        (["1s", "--timeout", "500"], "did you mean 500ms or 500s?"),
        (["1s", "--trace", "two=/nowhere"], "No such file"),
        ([], "EXPR"),
    ],
)
def test_wrong_expression(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    """A wrong expression is refused in one line that points at the character."""
    assert named in refusal(monkeypatch, capsys, "predict", *arguments)


def predicted(*arguments: str, **variables: str) -> list[str]:
    done = CliRunner().invoke(main.cli, ["predict", *arguments], env=variables, catch_exceptions=False)
    assert done.exit_code == 0
    return [" ".join(line.split()) for line in done.stdout.splitlines()]


def test_prediction() -> None:
    """A prediction has a line for each figure, and a histogram with bars by share."""
    lines = predicted("mix(75%:1s,25%:2s)", "--timeout", "1s")
    figures, histogram = lines[: lines.index("")], lines[lines.index("") + 1 :]
    assert figures == [
        *("mean 1.25s", "p50 1s", "p90 2s", "p95 2s", "p99 2s", "p99.9 2s", "max 2s"),
        "cut by 1s 100.00%",
    ]
    assert histogram[0] == "up to share"
    assert histogram[1].startswith("1.07s 75.00% ████")
    assert histogram[-1].startswith("2s 25.00% ████")
    assert (histogram[1].count("█"), histogram[-1].count("█")) == (40, 13)


def test_prediction_of_what_is_cut() -> None:
    """A prediction cuts longer draws, and has no line of a timeout without one."""
    lines = predicted("0s..4s", "--max-delay", "2s")
    assert "max 2s" in lines
    assert not any(line.startswith("cut") for line in lines)


def test_prediction_of_a_trace() -> None:
    """A trace comes from the flag or the variable, as for `serve`."""
    assert predicted("trace(two)", "--trace", f"two={TRACE}") == predicted("trace(two)", LATEBIN_TRACE=f"two={TRACE}")
    assert "mean 625ms" in predicted("trace(two)", "--trace", f"two={TRACE}")
    assert "mean 352ms" in predicted("trace(two)", "--trace", f"two={TRACE},column=2,unit=ms")


def test_a_timeout_equal_to_a_delay_cuts() -> None:
    """A delay with weight counts as cut when the timeout equals it."""
    assert "cut by 2s 5.00%" in predicted("mix(95%:50ms,5%:2s)", "--timeout", "2s")


def test_simulation(house: House) -> None:
    """The figures of a simulation are those of `/predict` with the same seed."""
    options = {"rate": "30", "servers": "4", "queue": "6", "seed": "7"}
    lines = predicted("exponential(100ms)", "--timeout", "300ms", *(f"--{key}={options[key]}" for key in options))
    query = "&".join(f"{name}={value}" for name, value in options.items())
    wire = house.wire()
    wire.send(
        f"GET /predict?delay=exponential(100ms)&timeout=300ms&{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    )
    house.clock.advance(0)
    found = json.loads(wire.received.partition(b"\r\n\r\n")[2])["simulation"]
    assert "a simulation of M/G/k, and not a computation: 10,000 requests, seed 7" in lines
    assert f"refused {found['refused']:.2%}" in lines
    assert f"cut by the timeout {found['cut']:.2%}" in lines
    assert 0 < found["refused"] < found["cut"] < 1
    waiting, response = (duration(found[name]["p99_ms"] / 1000) for name in ("waiting", "response"))
    assert f"p99 {waiting} {response}" in lines


def test_overload() -> None:
    """A line without a limit is said to grow when the servers are too few."""
    grows = "The line grows as long as requests come: the servers take fewer than that."
    assert grows in predicted("1s", "--rate", "2")
    assert grows not in predicted("1s", "--rate", "2", "--queue", "9")


def test_prediction_in_ascii() -> None:
    """Bars are number signs when the output cannot encode blocks."""
    with_blocks = latebin("predict", "1s..3s").stdout
    assert latebin("predict", "1s..3s", PYTHONIOENCODING="ascii").stdout == with_blocks.replace("█", "#")


@pytest.mark.parametrize(
    ("share", "written"),
    [(0, "0.00%"), (-1e-17, "0.00%"), (1e-9, "<0.01%"), (0.0001, "0.01%"), (0.5, "50.00%"), (1, "100.00%")],
)
def test_percentage(share: float, written: str) -> None:
    """A share has two places, and a rare one is never written as zero."""
    assert percentage(share) == written


@pytest.mark.parametrize(("seconds", "written"), [(0, "0s"), (0.0123456, "12.3ms"), (3661, "1h1m"), (90.04, "1m30s")])
def test_duration(seconds: float, written: str) -> None:
    """A duration has three digits."""
    assert duration(seconds) == written


def test_rare_is_seen() -> None:
    """A bin with a tiny share has a bar, and an empty bin has none."""
    table = histogram(predict(parse("mix(99.9999%:1s,0.0001%:2s)", {}), None, 600, 3), "#")
    assert list(table.columns[2].cells) == ["#" * WIDTH, "", "#"]

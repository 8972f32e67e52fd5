"""The delay language: parsed, written and refused."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from latebin.core.language import grammar
from latebin.core.language.distributions import (
    Distribution,
    Exponential,
    Fixed,
    Limited,
    Lognormal,
    Mix,
    Normal,
    Pareto,
    Percentiles,
    Recorded,
    Uniform,
)
from tests.support.strategies import TRACES, delays, tame, wild

EXAMPLES: list[tuple[str, Distribution]] = [
    ("250ms", Fixed(0.25)),
    ("2", Fixed(2.0)),
    ("1m30s", Fixed(90.0)),
    ("0", Fixed(0.0)),
    ("1s..3s", Uniform(1.0, 3.0)),
    ("1..3", Uniform(1.0, 3.0)),
    ("0.5..1.5", Uniform(0.5, 1.5)),
    ("2s..2s", Uniform(2.0, 2.0)),
    ("uniform(1s,3s)", Uniform(1.0, 3.0)),
    ("normal(1s,200ms)", Normal(1.0, 0.2)),
    ("exponential(500ms)", Exponential(0.5)),
    ("lognormal(median=80ms,p99=1.2s)", Lognormal.through(0.08, 1.2)),
    ("lognormal(median=80ms,sigma=0.6)", Lognormal(0.08, 0.6)),
    ("pareto(min=50ms,alpha=1.5)", Pareto(0.05, 1.5)),
    ("percentiles(50=80ms,95=400ms,99.9=2s)", Percentiles((0.5, 0.95, 0.999), (0.08, 0.4, 2.0))),
    ("percentiles(0=1s,100=1s)", Percentiles((0.0, 1.0), (1.0, 1.0))),
    ("mix(95%:50ms,5%:3s)", Mix(((0.95, Fixed(0.05)), (0.05, Fixed(3.0))))),
    ("mix(0.95:50ms,0.05:3s)", Mix(((0.95, Fixed(0.05)), (0.05, Fixed(3.0))))),
    ("mix(1:mix(100%:1s..2s))", Mix(((1.0, Mix(((1.0, Uniform(1.0, 2.0)),))),))),
    ("trace(checkout)", Recorded(TRACES["checkout"])),
    ("trace(a-1.b_c,replay)", Recorded(TRACES["a-1.b_c"], replay=True)),
    (" normal ( 1s , 200ms ) ", Normal(1.0, 0.2)),
    ("1s .. 3s", Uniform(1.0, 3.0)),
    ("300\u00b5s..400\u03bcs", Uniform(0.0003, 0.0004)),
    ("lognormal(median=80ms,p99=1.2s,max=2s)", Limited(Lognormal.through(0.08, 1.2), 2.0)),
    ("uniform(1s,3s, max = 2s)", Limited(Uniform(1.0, 3.0), 2.0)),
    ("percentiles(50=80ms,99=1s,max=90ms)", Limited(Percentiles((0.5, 0.99), (0.08, 1.0)), 0.09)),
    ("trace(checkout,replay,max=1s)", Limited(Recorded(TRACES["checkout"], replay=True), 1.0)),
    (
        "mix(50%:1s,50%:exponential(1s,max=2s),max=1.5s)",
        Limited(Mix(((0.5, Fixed(1.0)), (0.5, Limited(Exponential(1.0), 2.0)))), 1.5),
    ),
]

HALVES = "mix(50%:1s,50%:"

WORDS = [
    *"()=:,%. 059",
    *("..", "1s", "3s", "50%", "0.5", "1e9", "100%:", "median", "p99", "sigma", "min", "alpha", "checkout", "replay"),
    *("mix(", "uniform(", "normal(", "exponential(", "lognormal(", "pareto(", "percentiles(", "trace("),
]


def refusal(text: str) -> grammar.DelayError:
    with pytest.raises(grammar.DelayError) as found:
        grammar.parse(text, TRACES)
    return found.value


@pytest.mark.parametrize(("text", "value"), EXAMPLES)
def test_forms(text: str, value: Distribution) -> None:
    """Every form of the language is read as its value."""
    assert grammar.parse(text, TRACES) == value


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0.25", "250ms"),
        ("90s", "1m30s"),
        ("uniform(1,3)", "1s..3s"),
        ("1s..3s", "1s..3s"),
        ("normal( 1s, 0.2 )", "normal(1s,200ms)"),
        ("exponential(500ms)", "exponential(500ms)"),
        ("lognormal(median=80ms,p99=1.2s)", "lognormal(median=80ms,p99=1.2s)"),
        ("lognormal(median=80ms,sigma=0.60)", "lognormal(median=80ms,sigma=0.6)"),
        ("pareto(min=50ms,alpha=2)", "pareto(min=50ms,alpha=2)"),
        ("percentiles(50=80ms,99.90=2s)", "percentiles(50=80ms,99.9=2s)"),
        ("mix(0.95:50ms,5%:3s)", "mix(95%:50ms,5%:3s)"),
        ("trace(checkout, replay)", "trace(checkout,replay)"),
        ("uniform(1,3,max=2)", "uniform(1s,3s,max=2s)"),
        ("normal(1s,0.2, max=1500ms)", "normal(1s,200ms,max=1.5s)"),
        ("mix(1:2s,max=3)", "mix(100%:2s,max=3s)"),
    ],
)
def test_canonical_text(text: str, canonical: str) -> None:
    """Each value has one text: with units, percentages and no spaces."""
    assert str(grammar.parse(text, TRACES)) == canonical


@given(delays(tame) | delays(wild))
def test_round_trip(value: Distribution) -> None:
    """A written delay is read back as an equal value, to the last bit."""
    text = str(value)
    if len(text) <= grammar.MAX_LENGTH:
        assert grammar.parse(text, TRACES) == value


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 0, "expected a duration such as 250ms"),
        ("   ", 3, "expected a duration such as 250ms"),
        ("abc", 0, "expected a duration such as 250ms"),
        ("Uniform(1s,3s)", 0, "expected a duration such as 250ms"),
        ("-1s", 0, "expected a duration such as 250ms"),
        ("nan", 0, "expected a duration such as 250ms"),
        ("1sx", 0, "expected a duration such as 2"),
        ("30s1m", 0, "expected a duration such as 2"),
        ("99999999999s", 0, "expected at most 1000000000 seconds"),
        ("500", 0, "did you mean 500ms or 500s? A number above 60 needs a unit,"),
        ("mix(50%:1s,50%:500)", 15, "did you mean 500ms or 500s?"),
        ("1..500", 3, "did you mean 500ms or 500s?"),
        ("percentiles(50=80ms,99=200)", 23, "did you mean 200ms or 200s?"),
        ("1s 2s", 3, "expected '..' or the end"),
        ("1s..", 4, "expected a duration such as 2"),
        ("1s...2s", 4, "expected a duration such as 2"),
        ("1s..2s..3s", 6, "expected the end"),
        ("3s..1s", 4, "expected a duration not below 3s"),
        ("250ms)", 5, "expected '..' or the end"),
        ("uniform", 7, "expected '('"),
        ("uniform(", 8, "expected a duration such as 2"),
        ("uniform(1s 3s)", 11, "expected ','"),
        ("uniform(3s,1s)", 11, "expected a duration not below 3s"),
        ("uniform(1s,3s", 13, "expected ',' or ')'"),
        ("uniform(1s,3s))", 14, "expected the end"),
        ("normal(1s,0s)", 10, "expected a duration above 0"),
        ("normal(1s,abc)", 10, "expected a duration such as 2"),
        ("exponential(0)", 12, "expected a duration above 0"),
        ("exponential(1s,2s)", 15, "expected 'max'"),
        ("exponential(1s,max=0)", 19, "expected a duration above 0"),
        ("exponential(1s,max=2s,max=3s)", 21, "expected ')'"),
        ("pareto(min=1s,alpha=1,max=999ms)", 26, "expected a max that not every draw is above,"),
        ("mix(50%:1s,max=2s)", 10, "expected shares that add up to 100%, not to 50%,"),
        ("percentiles(50=1s,max)", 21, "expected '='"),
        ("lognormal(80ms,sigma=1)", 10, "expected 'median'"),
        ("lognormal(median=0s,sigma=1)", 17, "expected a duration above 0"),
        ("lognormal(median=1s,p95=2s)", 20, "expected 'p99' or 'sigma'"),
        ("lognormal(median=1s,p99=500ms)", 24, "expected a duration not below 1s"),
        ("lognormal(median=1s,p99=1s)", 24, "expected a p99 that makes sigma 0.001 to 10, not 0,"),
        ("lognormal(median=1s,sigma=0)", 26, "expected a number from 0.001 to 10"),
        ("lognormal(median=1s,sigma=11)", 26, "expected a number from 0.001 to 10"),
        ("lognormal(median=1s,sigma=1s)", 27, "expected ',' or ')'"),
        ("pareto(min=0,alpha=1)", 11, "expected a duration above 0"),
        ("pareto(min=1s,alpha=0.09)", 20, "expected a number from 0.1 to 100"),
        ("pareto(min=1s,alpha=1e2)", 21, "expected ',' or ')'"),
        ("percentiles()", 12, "expected a percentile such as 50"),
        ("percentiles(101=1s)", 12, "expected a percentile such as 50"),
        ("percentiles(50:1s)", 14, "expected '='"),
        ("percentiles(50=0s)", 15, "expected a duration above 0"),
        ("percentiles(50=1s,50=2s)", 18, "expected a percentile above 50"),
        ("percentiles(50=2s,90=1s)", 21, "expected a duration not below 2s"),
        ("percentiles(50=2s;90=3s)", 17, "expected ',' or ')'"),
        ("mix()", 4, "expected a share such as 5%"),
        ("mix(150%:1s)", 4, "expected a share such as 5%"),
        ("mix(100%=1s)", 8, "expected ':'"),
        ("mix(100%:)", 9, "expected a duration such as 250ms"),
        ("mix(50%:1s;50%:2s)", 10, "expected '..', ',' or ')'"),
        ("mix(50%:1s,40%:2s)", 17, "expected shares that add up to 100%, not to 90%,"),
        ("mix(60%:1s,60%:2s)", 17, "expected shares that add up to 100%, not to 120%,"),
        ("mix(100%:mix(90%:1s))", 19, "expected shares that add up to 100%, not to 90%,"),
        ("trace()", 6, "expected the name of a trace"),
        ("trace(login)", 6, "expected the name of a known trace (a-1.b_c, checkout)"),
        ("trace(checkout,random)", 15, "expected 'replay'"),
        ("trace(checkout", 14, "expected ',' or ')'"),
    ],
)
def test_errors_name_the_place(text: str, position: int, reason: str) -> None:
    """A refusal names the wrong character and what was expected there."""
    found = refusal(text)
    assert (found.text, found.position, found.reason[: len(reason)]) == (text, position, reason)
    assert str(found).startswith(f"{found.reason} at character {position}")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "at character 0"),
        ("abc", "at character 0"),
        ("uniform(1s", "expected ',' at character 10 (at the end of 'uniform(1s')"),
        ("uniform(1s;3s)", "expected ',' at character 10 (between 'uniform(1s' and ';3s)')"),
        ("1s\x00<b>\ud800", r" (between '1s' and '\x00<b>\ud800')"),
        ("mix(90%:1s,10%:normal(1s!200ms,1234567890))", " (between '90%:1s,10%:normal(1s' and '!200ms,1234567890))')"),
    ],
)
def test_errors_show_the_place(text: str, place: str) -> None:
    """A refusal quotes at most 20 characters on each side of the place, with escapes."""
    assert str(refusal(text)).endswith(place)


def test_no_traces_at_all() -> None:
    """A refusal says so when no trace was given at the start."""
    with pytest.raises(grammar.DelayError, match="none was given with --trace"):
        grammar.parse("trace(checkout)", {})


def test_length_is_bounded() -> None:
    """A text is refused at the first character beyond the bound."""
    assert grammar.parse("1s".ljust(grammar.MAX_LENGTH), {}) == Fixed(1.0)
    assert refusal("1s".ljust(grammar.MAX_LENGTH + 1)).position == grammar.MAX_LENGTH


def test_length_is_bounded_when_written_out() -> None:
    """A text is refused when its canonical form would be too long to read again."""
    ranges = ["1%:59.999..59.999"] * 50
    assert "written out" in refusal(f"mix({','.join(ranges)},50%:1)").reason


def test_nesting_is_bounded() -> None:
    """A mix is refused when it is nested deeper than the bound."""
    deepest = HALVES * grammar.MAX_NESTING + "1s" + ")" * grammar.MAX_NESTING
    assert grammar.parse(deepest, {}).mean() == pytest.approx(1)
    assert refusal(HALVES + deepest + ")").position == len(HALVES) * grammar.MAX_NESTING


def test_mixes_side_by_side_do_not_nest() -> None:
    """A mix does not count for the depth of the mix beside it."""
    branches = ",".join(["5%:mix(1:1s)"] * 20)
    assert grammar.parse(f"mix({branches})", {}).mean() == pytest.approx(1)


@pytest.mark.parametrize(("opening", "part"), [("percentiles(", "{0}={0}s,"), ("mix(0%:percentiles(", "{0}={0}s,")])
def test_parts_are_bounded(opening: str, part: str) -> None:
    """A delay is refused at the first branch or percentile beyond their common bound."""
    found = refusal(opening + "".join(part.format(k) for k in range(1, 100)))
    used = opening.count(":")
    inside = "".join(part.format(k) for k in range(1, grammar.MAX_PARTS - used + 1))
    assert found.position == len(opening) + len(inside)


@given(st.text())
@example("9" * 999)
@example("1h" * 499)
@example("0." + "0" * 900 + "1")
@example("mix(" * 250)
@example("mix(1:" * 160)
@example("(" * 1000)
@example("percentiles(50=0." + "0" * 30 + "1,51=1000000000)")
def test_any_text(text: str) -> None:
    """Any text is a delay, or is refused with a DelayError that points into it."""
    check_any(text)


@given(st.lists(st.sampled_from(WORDS), max_size=30).map("".join))
def test_any_words_of_the_language(text: str) -> None:
    """Any sequence of the language's words is a delay, or is refused with a DelayError."""
    check_any(text)


@given(delays(tame), st.integers(0, 200), st.text("()=:,%. 059sm", max_size=2))
def test_any_typing_error(value: Distribution, place: int, slip: str) -> None:
    """A delay with a typing error is a delay, or is refused with a DelayError."""
    text = str(value)
    check_any(text[:place] + slip + text[place + 1 :])


def outcome(text: str) -> Distribution | grammar.DelayError:
    try:
        return grammar.parse(text, TRACES)
    except grammar.DelayError as refused:
        return refused


def check_any(text: str) -> None:
    found = outcome(text)
    if isinstance(found, Distribution):
        assert grammar.parse(str(found), TRACES) == found
    else:
        assert 0 <= found.position <= len(text)
        assert f" at character {found.position}" in str(found)

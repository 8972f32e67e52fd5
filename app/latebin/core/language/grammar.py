"""The delay language, in which a URL gives the delay of its answer.

    delay       = fixed | range | uniform | normal | exponential | lognormal | pareto | percentiles | mix | trace ;
    fixed       = duration ;
    range       = duration, "..", duration ;
    uniform     = "uniform", "(", duration, ",", duration, end ;
    normal      = "normal", "(", duration, ",", duration, end ;
    exponential = "exponential", "(", duration, end ;
    lognormal   = "lognormal", "(", "median", "=", duration, ",",
                  ( "p99", "=", duration | "sigma", "=", number ), end ;
    pareto      = "pareto", "(", "min", "=", duration, ",", "alpha", "=", number, end ;
    percentiles = "percentiles", "(", point, { ",", point }, end ;
    point       = number, "=", duration ;
    mix         = "mix", "(", branch, { ",", branch }, end ;
    branch      = share, ":", delay ;
    trace       = "trace", "(", name, [ ",", "replay" ], end ;
    end         = [ ",", "max", "=", duration ], ")" ;
    share       = number, [ "%" ] ;
    number      = digit, { digit }, [ ".", digit, { digit } ] ;

This is EBNF (ISO/IEC 14977). `duration.parse` defines a duration, `trace.NAME` a name. Spaces may stand between any
two of these terminals. The classes in `distributions` define the meaning of each form and the bounds of its figures;
`range` and `uniform` mean the same. The constants below are the other bounds.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from attrs import define, frozen

from latebin.core.language import duration, share
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
from latebin.core.language.trace import NAME, Trace

ACCEPTED: Final = "a delay such as 250ms, 1s..3s, lognormal(median=80ms,p99=1.2s) or mix(95%:50ms,5%:3s)"

MAX_LENGTH: Final = 1000
"""The longest delay in characters, both as given and as `str` writes it."""

MAX_NESTING: Final = 8
"""The deepest nesting of mixes, including the outermost."""

MAX_PARTS: Final = 64
"""The most branches and percentiles in one delay, all together."""

LONGEST: Final = 1e9
"""The longest duration in a delay, in seconds (32 years); it keeps every computed figure finite."""

SIGMAS: Final = (0.001, 10.0)
"""The range of sigma of a lognormal delay; at 10 the p99 is 1.3e10 times the median."""

ALPHAS: Final = (0.1, 100.0)
"""The range of alpha of a Pareto delay."""

_ROUNDING: Final = 1e-5
"""The greatest distance of the sum of weights from 1: three times 33.3333% is accepted."""

_SHOWN: Final = 20
"""The characters that an error shows on each side of the wrong place."""

_DURATION: Final = re.compile(rf"[0-9](?:[0-9A-Za-z]|{duration.MICRO})*(?:\.[0-9](?:[0-9A-Za-z]|{duration.MICRO})*)*")

_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")

_SHARE: Final = re.compile(_NUMBER.pattern + "%?")

_LIMIT: Final = re.compile(r", *max")

_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@frozen
class DelayError(ValueError):
    """An error in the text of a delay.

    Attributes:
        text: the whole text.
        position: the offset of the wrong character, counted from 0; the length of the text if more was expected.
        reason: what was expected there.
    """

    text: str
    position: int
    reason: str

    def __str__(self) -> str:
        before = self.text[max(0, self.position - _SHOWN) : self.position]
        after = self.text[self.position : self.position + _SHOWN]
        if before and after:
            place = f" (between {before!r} and {after!r})"
        else:
            place = f" (at the end of {before!r})" if before else ""
        return f"{self.reason} at character {self.position}{place}"


def parse(text: str, traces: Mapping[str, Trace]) -> Distribution:
    """Read a delay.

    Args:
        text: a delay in the grammar above; at most MAX_LENGTH characters.
        traces: the traces by name, for `trace(NAME)`.

    Returns:
        A hashable value such that parse(str(value), traces) == value.

    Raises:
        DelayError: text is not a delay, or exceeds a bound.
    """
    if len(text) > MAX_LENGTH:
        raise DelayError(text, MAX_LENGTH, f"expected at most {MAX_LENGTH} characters")
    delay = _Reader(text, traces).whole()
    # `str` gives a bare number its unit, which makes the text at most twice as long.
    if len(text) * 2 > MAX_LENGTH and len(str(delay)) > MAX_LENGTH:
        raise DelayError(text, len(text), f"expected at most {MAX_LENGTH} characters with all units written out")
    return delay


@define
class _Reader:
    """A recursive-descent parser with one method for each rule of the grammar.

    Each method leaves `at` behind the text that it has read.
    """

    text: str
    traces: Mapping[str, Trace]
    at: int = 0
    start: int = 0
    """The offset where the last terminal began."""
    missed: tuple[str, ...] = ()
    """The optional symbols that do not stand at the current offset."""
    nesting: int = 0
    parts: int = 0

    def whole(self) -> Distribution:
        delay = self.delay()
        self.skip_spaces()
        if self.at < len(self.text):
            raise self.unexpected("the end")
        return delay

    def delay(self) -> Distribution:
        self.skip_spaces()
        if _DURATION.match(self.text, self.at):
            first = self.duration()
            return Uniform(first, self.duration_from(first)) if self.accept("..") else Fixed(first)
        form = _FORMS.get(self.terminal(_WORD, _ANY_FORM))
        if form is None:
            raise self.wrong(f"expected {_ANY_FORM}")
        self.symbol("(")
        return form(self)

    def uniform(self) -> Distribution:
        least = self.duration()
        self.symbol(",")
        return self.end(Uniform(least, self.duration_from(least)))

    def normal(self) -> Distribution:
        centre = self.duration()
        self.symbol(",")
        return self.end(Normal(centre, self.duration_above_zero()))

    def exponential(self) -> Distribution:
        return self.end(Exponential(self.duration_above_zero()))

    def lognormal(self) -> Distribution:
        self.symbols("median", "=")
        median = self.duration_above_zero()
        self.symbol(",")
        if self.accept("p99"):
            self.symbol("=")
            delay = Lognormal.through(median, self.duration_from(median))
            low, high = SIGMAS
            if not low <= delay.sigma <= high:
                raise self.wrong(f"expected a p99 that makes sigma {low:g} to {high:g}, not {delay.sigma:g},")
        else:
            self.symbols("sigma", "=")
            delay = Lognormal(median, self.number(SIGMAS))
        return self.end(delay)

    def pareto(self) -> Distribution:
        self.symbols("min", "=")
        least = self.duration_above_zero()
        self.symbol(",")
        self.symbols("alpha", "=")
        return self.end(Pareto(least, self.number(ALPHAS)))

    def percentiles(self) -> Distribution:
        points = [self.point(None)]
        while self.more():
            points.append(self.point(points[-1]))
        shares, delays = zip(*points, strict=True)
        return self.end(Percentiles(shares, delays))

    def point(self, before: tuple[float, float] | None) -> tuple[float, float]:
        self.count_part()
        percentile = self.value(_NUMBER, lambda number: share.parse(number + "%"), _A_PERCENTILE)
        if before and percentile <= before[0]:
            raise self.wrong(f"expected a percentile above {share.render(before[0])[:-1]}")
        self.symbol("=")
        return percentile, self.duration_from(before[1]) if before else self.duration_above_zero()

    def mix(self) -> Distribution:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise self.wrong(f"expected at most {MAX_NESTING} mixes inside one another")
        branches = [self.branch()]
        while self.more():
            branches.append(self.branch())
        self.nesting -= 1
        total = sum(weight for weight, _ in branches)
        if abs(total - 1) > _ROUNDING and self.text.startswith((",", ")"), self.at):
            reason = f"expected shares that add up to 100%, not to {total * 100:.8g}%,"
            raise DelayError(self.text, self.at, reason)
        return self.end(Mix(tuple(branches)))

    def branch(self) -> tuple[float, Distribution]:
        self.count_part()
        weight = self.value(_SHARE, share.parse, share.ACCEPTED)
        self.symbol(":")
        return weight, self.delay()

    def trace(self) -> Distribution:
        name = self.terminal(NAME, "the name of a trace")
        if name not in self.traces:
            known = ", ".join(sorted(self.traces)) or "none was given with --trace"
            raise self.wrong(f"expected the name of a known trace ({known})")
        replay = self.more()
        if replay:
            self.symbol("replay")
        return self.end(Recorded(self.traces[name], replay))

    def more(self) -> bool:
        """Read a comma, unless a limit follows it."""
        self.skip_spaces()
        if _LIMIT.match(self.text, self.at):
            return False
        return self.accept(",")

    def end(self, delay: Distribution) -> Distribution:
        """Read the end of a form, with the limit before it."""
        if self.accept(","):
            self.symbols("max", "=")
            most = self.duration_above_zero()
            if not delay.cdf(most):
                raise self.wrong("expected a max that not every draw is above,")
            delay = Limited(delay, most)
        self.symbol(")")
        return delay

    def duration(self) -> float:
        seconds = self.value(_DURATION, duration.parse, _A_DURATION)
        if seconds > LONGEST:
            raise self.wrong(f"expected at most {LONGEST:.0f} seconds")
        return seconds

    def duration_from(self, least: float) -> float:
        seconds = self.duration()
        if seconds < least:
            raise self.wrong(f"expected a duration not below {duration.render(least)}")
        return seconds

    def duration_above_zero(self) -> float:
        seconds = self.duration()
        if not seconds:
            raise self.wrong("expected a duration above 0")
        return seconds

    def number(self, bounds: tuple[float, float]) -> float:
        low, high = bounds
        number = self.value(_NUMBER, float, expected := f"a number from {low:g} to {high:g}")
        if not low <= number <= high:
            raise self.wrong(f"expected {expected}")
        return number

    def value(self, pattern: re.Pattern[str], read: Callable[[str], float], accepted: str) -> float:
        text = self.terminal(pattern, accepted)
        try:
            return read(text)
        except duration.AmbiguousError as error:
            raise self.wrong(f"{error},") from None
        except ValueError:
            raise self.wrong(f"expected {accepted}") from None

    def terminal(self, pattern: re.Pattern[str], accepted: str) -> str:
        self.skip_spaces()
        found = pattern.match(self.text, self.at)
        if not found:
            raise DelayError(self.text, self.at, f"expected {accepted}")
        self.start, self.at = found.span()
        self.missed = ()
        return found[0]

    def symbols(self, *symbols: str) -> None:
        for symbol in symbols:
            self.symbol(symbol)

    def symbol(self, symbol: str) -> None:
        if not self.accept(symbol):
            raise self.unexpected()

    def accept(self, symbol: str) -> bool:
        self.skip_spaces()
        accepted = self.text.startswith(symbol, self.at)
        if accepted:
            self.at += len(symbol)
        # Two rules may look for the same symbol in turn.
        self.missed = () if accepted else tuple(dict.fromkeys((*self.missed, f"'{symbol}'")))
        return accepted

    def skip_spaces(self) -> None:
        while self.text.startswith(" ", self.at):
            self.at += 1

    def count_part(self) -> None:
        self.parts += 1
        if self.parts > MAX_PARTS:
            self.skip_spaces()
            raise DelayError(self.text, self.at, f"expected at most {MAX_PARTS} branches and percentiles")

    def wrong(self, reason: str) -> DelayError:
        return DelayError(self.text, self.start, reason)

    def unexpected(self, *others: str) -> DelayError:
        *first, last = *self.missed, *others
        expected = f"{', '.join(first)} or {last}" if first else last
        return DelayError(self.text, self.at, f"expected {expected}")


_FORMS: Final[Mapping[str, Callable[[_Reader], Distribution]]] = {
    "uniform": _Reader.uniform,
    "normal": _Reader.normal,
    "exponential": _Reader.exponential,
    "lognormal": _Reader.lognormal,
    "pareto": _Reader.pareto,
    "percentiles": _Reader.percentiles,
    "mix": _Reader.mix,
    "trace": _Reader.trace,
}

FORMS: Final = tuple(_FORMS)
"""The names of the forms with figures in parentheses."""

_ANY_FORM: Final = f"a duration such as 250ms or 1s..3s, or one of {', '.join(f'{form}(...)' for form in _FORMS)}"

_A_DURATION: Final = "a duration such as 2, 250ms or 1m30s"

_A_PERCENTILE: Final = "a percentile such as 50 or 99.9, from 0 to 100"

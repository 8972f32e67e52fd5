"""A comparison as one page that needs no network: the verdict, the plots and the code."""

import io
import re
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any, Final

import jinja2
import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import DiffLexer, PythonLexer

from latebin.compare.duties import DUTIES
from latebin.compare.findings import Comparison, Outcome, Row, number, sentences, times
from latebin.compare.source import pairs
from latebin.load.percentiles import Percentiles

TEMPLATE: Final = Path(__file__).with_name("report.html.jinja")

INK: Final = "#010203"
KLEIN: Final = "#040506"
RAW: Final = "#070809"
GRID: Final = "#0a0b0c"

_VARIABLES: Final = {INK: "--ink", KLEIN: "--klein", RAW: "--raw", GRID: "--grid"}
"""Colours that stand for the page's own, so that a plot is as light or as dark as the page is."""

_RC: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "latebin",
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "legend.frameon": False,
}

_DECADE: Final = 10

_MARKED: Final = {
    Outcome.SAME: "Same answers",
    Outcome.DIFFERENT: "Different answers",
    Outcome.FLAWED: "Same answers, but not all of them came",
    Outcome.NO_VERDICT: "Same answers; no verdict about the cost",
}

_LIGHT: Final = "default"
_DARK: Final = "github-dark"


def page(comparison: Comparison) -> str:
    """Write a comparison as HTML.

    Args:
        comparison: any.

    Returns:
        A whole page; what stems from the service is escaped in it, and nothing in it is fetched.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {"number": number, "times": times}
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        comparison=comparison,
        heading=_MARKED[comparison.outcome],
        outcome=comparison.outcome.name.lower().replace("_", "-"),
        sentences=sentences(comparison),
        plots=tuple(_plots(comparison)),
        load=comparison.samples[0].report.schedule if comparison.samples else None,
        duties=DUTIES,
        pairs=pairs(comparison.klein, comparison.resource),
        python=_python,
        diff=_diff,
        light=Markup(_theme(_LIGHT)),  # noqa: S704  # Pygments' own style sheet
        dark=Markup(_theme(_DARK)),  # noqa: S704
    )


def _python(source: str) -> Markup:
    return Markup(highlight(source, PythonLexer(), HtmlFormatter(nowrap=True)))  # noqa: S704  # Pygments escapes


def _diff(lines: tuple[str, ...]) -> Markup:
    return Markup(highlight("\n".join(lines), DiffLexer(), HtmlFormatter(nowrap=True)))  # noqa: S704  # the same


def _theme(style: str) -> str:
    # The background is the page's own.
    rules = HtmlFormatter(style=style).get_style_defs("pre").splitlines()
    return "\n".join(rule for rule in rules if re.match(r"pre \.[a-z]", rule))


def _plots(comparison: Comparison) -> Iterator[tuple[Markup, str]]:
    """Draw what there is to draw, each with what stands beneath it."""
    if all(_curves(comparison, style) for style in ("klein", "resource")):
        told = "How many of the answers were at most how late, a line for each round: the further left, the better."
        yield _svg("Lateness", told, (7.2, 3.6), lambda axes: _draw_lateness(axes, comparison)), told
    rows = [row for row in comparison.rows if row.ratio is not None]
    if rows:
        told = (
            "Klein's figure divided by the raw resource's: a bar for the median of the rounds, a line from the least to"
            " the most. At 1 both are the same; a bar has the colour of the style that is dearer."
        )
        described = " ".join([told, *(f"{row.figure.name}: {_ratio_text(row)}." for row in rows)])
        size = (7.2, 0.9 + 0.42 * len(rows))
        yield _svg("Klein / raw", described, size, lambda axes: _draw_ratios(axes, rows)), told


def _curves(comparison: Comparison, style: str) -> list[Percentiles]:
    samples = [getattr(each, style) for each in comparison.rounds]
    return [each.report.lateness for each in samples if each.sound and each.report.lateness is not None]


def _draw_lateness(axes: Axes, comparison: Comparison) -> None:
    least = min(
        duration for style in ("klein", "resource") for each in _curves(comparison, style) for _, duration in each.curve
    )
    for style, colour, name in (("klein", KLEIN, "Klein"), ("resource", RAW, "raw")):
        for number_, percentiles in enumerate(_curves(comparison, style)):
            milliseconds = [max(duration, least, 1e-6) * 1000 for _, duration in percentiles.curve]
            shares = [percentile for percentile, _ in percentiles.curve]
            axes.plot(milliseconds, shares, color=colour, linewidth=1.6, label="" if number_ else name)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: number(value))
    # Within a decade there may be nothing but what is between the powers of ten.
    left, right = axes.get_xlim()
    axes.xaxis.set_minor_formatter(lambda value, _: number(value) if right < left * _DECADE else "")
    axes.set(xlabel="lateness in ms, logarithmic", ylabel="% of the answers", ylim=(0, 101))
    axes.grid(visible=True, linewidth=0.6)
    axes.legend(loc="lower right")


def _draw_ratios(axes: Axes, rows: list[Row]) -> None:
    for at, row in enumerate(rows):
        if row.ratio is None:
            continue
        colour = KLEIN if (row.ratio.median > 1) is not row.figure.more else RAW
        axes.barh(at, row.ratio.median - 1, left=1, height=0.55, color=colour)
        axes.plot([row.ratio.least, row.ratio.most], [at, at], color=INK, linewidth=1.4, marker="|", markersize=8)
        axes.annotate(
            _ratio_text(row), (1.01, at), xycoords=("axes fraction", "data"), verticalalignment="center", color=INK
        )
    axes.axvline(1, color=INK, linewidth=1)
    axes.set_yticks(range(len(rows)), [row.figure.name for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("Klein / raw")
    axes.grid(visible=True, axis="x", linewidth=0.6)
    axes.set_axisbelow(True)


def _ratio_text(row: Row) -> str:
    ratio = row.ratio
    return "" if ratio is None else f"{times(ratio.median)} ({times(ratio.least)} to {times(ratio.most)})"


def _svg(title: str, description: str, size: tuple[float, float], draw: Callable[[Axes], None]) -> Markup:
    written = io.StringIO()
    with mpl.rc_context(_RC):
        figure = Figure(figsize=size, layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        draw(axes)
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return Markup(_inline(written.getvalue(), title, description))  # noqa: S704  # matplotlib escapes what it writes


def _inline(svg: str, title: str, description: str) -> str:
    """Make an SVG file part of a page: with a name for those who do not see it, and in the page's colours."""
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    name = re.sub("[^a-z]+", "-", title.lower())
    # Ids are of the whole page, in which there is more than one plot.
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{name}-", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    labelled = f'<svg role="img" aria-labelledby="{name}-title {name}-desc" '
    told = f'<title id="{name}-title">{escape(title)}</title>\n<desc id="{name}-desc">{escape(description)}</desc>'
    return re.sub(r"<svg ([^>]*)>", lambda found: f"{labelled}{found[1]}>\n{told}", svg, count=1)

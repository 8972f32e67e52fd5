"""The HTML report of a comparison: one offline page with verdict, plots and code."""

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
from latebin.compare.findings import Comparison, Outcome, Row, number, ratio_text, sentences, times
from latebin.compare.source import pairs
from latebin.load.percentiles import Percentiles

TEMPLATE: Final = Path(__file__).with_name("report.html.jinja")

INK: Final = "#010203"
KLEIN: Final = "#040506"
RAW: Final = "#070809"
GRID: Final = "#0a0b0c"

_VARIABLES: Final = {INK: "--ink", KLEIN: "--klein", RAW: "--raw", GRID: "--grid"}
"""Placeholder colours of the plots, and the page's own in their place, which follow its light or dark scheme."""

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

_HEADINGS: Final = {
    Outcome.SAME: "Same answers",
    Outcome.DIFFERENT: "Different answers",
    Outcome.FLAWED: "Same answers, but some requests went wrong under load",
    Outcome.NO_VERDICT: "Same answers; no verdict on the cost",
}

_LIGHT: Final = "default"
_DARK: Final = "github-dark"


def page(comparison: Comparison) -> str:
    """Render a comparison as HTML.

    Args:
        comparison: of any outcome.

    Returns:
        A complete page; text from the service is escaped, and the page loads nothing.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {"number": number, "times": times}
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        comparison=comparison,
        heading=_HEADINGS[comparison.outcome],
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
    # The rules of the tokens alone: the background is the page's own.
    rules = HtmlFormatter(style=style).get_style_defs("pre").splitlines()
    return "\n".join(rule for rule in rules if re.match(r"pre \.[a-z]", rule))


def _plots(comparison: Comparison) -> Iterator[tuple[Markup, str]]:
    """Draw the plots that have data, each with its caption."""
    if all(_curves(comparison, style) for style in ("klein", "resource")):
        caption = (
            "The share of the answers that were at most so late, with one line for each round. Further left is better."
        )
        yield _svg("Lateness", caption, (7.2, 3.6), lambda axes: _draw_lateness(axes, comparison)), caption
    rows = [row for row in comparison.rows if row.compared > 1]
    if rows:
        caption = (
            "Klein's figure divided by that of raw resources. A bar is the median of the rounds, a line their range."
            " At 1 the styles are equal; a bar has the colour of the style that costs more."
        )
        description = " ".join([caption, *(f"{row.figure.name}: {ratio_text(row)}." for row in rows)])
        size = (7.2, 0.9 + 0.42 * len(rows))
        yield _svg("Klein / raw", description, size, lambda axes: _draw_ratios(axes, rows)), caption


def _curves(comparison: Comparison, style: str) -> list[Percentiles]:
    samples = [getattr(each, style) for each in comparison.rounds]
    return [each.report.lateness for each in samples if each.sound and each.report.lateness is not None]


def _draw_lateness(axes: Axes, comparison: Comparison) -> None:
    least = min(
        duration for style in ("klein", "resource") for each in _curves(comparison, style) for _, duration in each.curve
    )
    for style, colour, name in (("klein", KLEIN, "Klein"), ("resource", RAW, "raw")):
        for index, percentiles in enumerate(_curves(comparison, style)):
            # A logarithm needs a number above 0.
            milliseconds = [max(duration, least, 1e-6) * 1000 for _, duration in percentiles.curve]
            shares = [percentile for percentile, _ in percentiles.curve]
            axes.plot(milliseconds, shares, color=colour, linewidth=1.6, label="" if index else name)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: number(value))
    # Major ticks are powers of ten: an axis of less than a decade may have none, and needs labels at minor ones.
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
            ratio_text(row), (1.01, at), xycoords=("axes fraction", "data"), verticalalignment="center", color=INK
        )
    axes.axvline(1, color=INK, linewidth=1)
    axes.set_yticks(range(len(rows)), [row.figure.name for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("Klein / raw")
    axes.grid(visible=True, axis="x", linewidth=0.6)
    axes.set_axisbelow(True)


def _svg(title: str, description: str, size: tuple[float, float], draw: Callable[[Axes], None]) -> Markup:
    written = io.StringIO()
    with mpl.rc_context(_RC):
        figure = Figure(figsize=size, layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        draw(axes)
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    # The file becomes an element of the page, with text for screen readers.
    svg = written.getvalue()
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    name = re.sub("[^a-z]+", "-", title.lower())
    # An id must be unique in the page, and every plot of matplotlib has the same ones.
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{name}-", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    attributes = f'role="img" aria-labelledby="{name}-title {name}-desc"'
    label = f'<title id="{name}-title">{escape(title)}</title>\n<desc id="{name}-desc">{escape(description)}</desc>'
    svg = re.sub(r"<svg ([^>]*)>", lambda tag: f"<svg {attributes} {tag[1]}>\n{label}", svg, count=1)
    return Markup(svg)  # noqa: S704  # matplotlib escapes what it writes

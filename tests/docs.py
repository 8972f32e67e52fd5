"""The tables of the README and of the reference: `python -m tests.docs` writes them anew.

A page has a generated table where it has the headings of one; the rows below these headings are replaced.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click

from latebin.cli.serve import serve_command
from latebin.core.endpoints import ENDPOINTS, HEADINGS, parameters
from latebin.core.ends import ENDS
from latebin.core.faults import KINDS
from latebin.core.scenarios import BUILT_IN
from latebin.core.topics import TOPICS
from latebin.telemetry.families import BY_STATUS, COUNTERS, GAUGES, HISTOGRAMS, POOLS, Family
from tests.support.process import ROOT

PAGES = [ROOT / "README.md", *(ROOT / f"app/latebin/docs/{topic}.md" for topic in TOPICS)]

Row = Sequence[str]


def endpoint_rows() -> Iterator[Row]:
    for each in ENDPOINTS:
        target = each.example_of(each.query[0]) if each.query else each.example
        yield (
            f"`{each.path}`",
            each.summary,
            ", ".join(each.methods),
            "yes" if each.styled else "no",
            f"`{target}`",
        )


def parameter_rows() -> Iterator[Row]:
    for each, target in parameters():
        yield f"`{each.name}`", each.meaning, each.accepted, each.default, each.bound, f"`{target}`"


def fault_rows() -> Iterator[Row]:
    for kind, meaning in KINDS.items():
        yield f"`{kind}`", meaning


def scenario_rows() -> Iterator[Row]:
    for name, each in BUILT_IN.items():
        yield f"`{name}`", each.meaning, f"`{each.query}`", each.source


def end_rows() -> Iterator[Row]:
    for end, reason in ENDS.items():
        yield f"`{end}`", reason


def setting_rows() -> Iterator[Row]:
    for each in serve_command.params:
        if isinstance(each, click.Option):
            default = each.to_info_dict()["default"]
            yield f"`{each.opts[0]}`", f"`{each.envvar}`", "" if default is None else f"`{default}`", str(each.help)


def metric_rows() -> Iterator[Row]:
    for families, kind, ending, more in (
        (BY_STATUS, "counter", "_total", ("status",)),
        (COUNTERS, "counter", "_total", ()),
        (HISTOGRAMS, "histogram", "", ()),
        (GAUGES, "gauge", "", ()),
        (POOLS, "gauge", "", ()),
    ):
        yield from (metric_row(family, kind, ending, more) for family in families)


def metric_row(family: Family, kind: str, ending: str, more: Sequence[str]) -> Row:
    return f"`{family.name}{ending}`", kind, ", ".join(f"`{label}`" for label in (*family.labels, *more)), family.text


def topic_rows() -> Iterator[Row]:
    for name, about in TOPICS.items():
        yield f"[{name}](app/latebin/docs/{name}.md)", about


def table(headings: Row, rows: Iterable[Row]) -> tuple[str, str]:
    """Give the lines of the headings, and the whole table."""
    top = _line(headings) + _line(["---"] * len(headings))
    return top, top + "".join(_line([cell.replace("|", r"\|") for cell in row]) for row in rows)


def _line(cells: Row) -> str:
    return f"| {' | '.join(cells)} |\n".replace("|  |", "| |")


TABLES = (
    table(("path", "what it does", "methods", "under `/raw` too", "example"), endpoint_rows()),
    table(HEADINGS, parameter_rows()),
    table(("fault", "what happens"), fault_rows()),
    table(("scenario", "kind of service", "parameters", "source of the figures"), scenario_rows()),
    table(("end", "reason"), end_rows()),
    table(("flag", "variable", "default", "meaning"), setting_rows()),
    table(("metric", "type", "labels", "meaning"), metric_rows()),
    table(("page", "subject"), topic_rows()),
)


def filled(text: str) -> str:
    """Give a page with the generated tables that it has the headings of."""
    for top, whole in TABLES:
        before, found, below = text.partition(top)
        if found:
            text = before + whole + re.sub(r"\A(\|.*\n)*", "", below)
    return text


def fill(page: Path) -> None:
    page.write_text(filled(page.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    for each in PAGES:
        fill(each)

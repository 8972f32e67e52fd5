import re
from functools import cache
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from latebin.compare.findings import Comparison, Outcome, sentences
from tests.support.comparisons import DIFFERENT, EVIL, EXAMPLES, comparison, parsed, turns

SVG = "{http://www.w3.org/2000/svg}"

EXTERNAL = ("src", "srcset", "action", "data", "poster", "background")


def words(element: ET.Element) -> str:
    return " ".join(" ".join(element.itertext()).split())


def page(found: Comparison) -> str:
    """Render the page of a comparison."""
    from latebin.compare.html import page  # noqa: PLC0415  # it imports Matplotlib, in a second

    return page(found)


@cache
def example(outcome: Outcome | None) -> str:
    """Render the page of an outcome, or that of a comparison without load."""
    return page(EXAMPLES[outcome] if outcome else comparison())


@pytest.mark.parametrize("outcome", [*EXAMPLES, None], ids=[*EXAMPLES, "no load"])
def test_well_formed(outcome: Outcome | None) -> None:
    """A page is well-formed, with the verdict first, for every outcome."""
    found = EXAMPLES[outcome] if outcome else comparison()
    main = parsed(example(outcome)).find("body/main")
    assert main is not None
    assert main[0].get("class", "").split()[0] == "verdict"
    for sentence in sentences(found):
        assert " ".join(sentence.split()) in words(main[0])


@pytest.mark.parametrize("outcome", EXAMPLES)
def test_nothing_is_fetched(outcome: Outcome) -> None:
    """A page refers to no other file, and its policy refuses to load any."""
    text = example(outcome)
    root = parsed(text)
    assert not [element.tag for element in root.iter() if element.tag in {"script", "link", "img", "iframe", "object"}]
    named = {value for element in root.iter() for name, value in element.items() if name.endswith(("href", *EXTERNAL))}
    assert all(value.startswith("#") for value in named)
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    assert "default-src 'none'" in text


def test_escapes() -> None:
    """A page shows text of the service as text when it has markup in it."""
    text = page(comparison(turns(2, 1), parity=DIFFERENT, url=EVIL, machine=EVIL))
    assert "<script" not in text
    assert words(parsed(text)).count("alert('x')") >= 5
    HTMLParser().feed(text)


def test_plots() -> None:
    """Each plot has a name, a description, real text and the page's colours."""
    text = example(Outcome.SAME)
    plots = list(parsed(text).iter(f"{SVG}svg"))
    assert len(plots) == 2
    for plot in plots:
        title, description = plot[0], plot[1]
        assert (title.tag, description.tag) == (f"{SVG}title", f"{SVG}desc")
        assert plot.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
        assert plot.get("role") == "img"
        assert list(plot.iter(f"{SVG}text"))
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert {f"#{name}" for name in ids} >= set(re.findall(r'href="(#[^"]*)"', text))
    assert not re.findall("#0[1-9a-f]0[1-9a-f]0[1-9a-f]", text)
    assert "var(--klein)" in text


@pytest.mark.parametrize(
    ("klein", "resource", "ticks"),
    [(2.0, 1.0, {"2", "3", "4"}), (100.0, 1.0, {"1", "10", "100"})],
)
def test_ticks(klein: float, resource: float, ticks: set[str]) -> None:
    """The axis has plain numbers when the lateness spreads over decades or within one."""
    lateness, *_ = parsed(page(comparison(turns(klein, resource)))).iter(f"{SVG}svg")
    labels = [words(text) for text in lateness.iter(f"{SVG}text")]
    assert ticks <= set(labels)
    assert not [text for text in labels if "\N{MULTIPLICATION SIGN}" in text]


def test_no_plots_without_figures() -> None:
    """A page has no plots when there is no figure of the cost."""
    assert "<svg" not in example(Outcome.NO_VERDICT)


def test_deterministic() -> None:
    """A page has the same bytes when it is rendered again."""
    assert example(Outcome.SAME) == page(EXAMPLES[Outcome.SAME])


def test_code_side_by_side() -> None:
    """A page has every definition of both styles, beside its twin, with highlights."""
    found = comparison()
    root = parsed(example(None))
    pairs = [element for element in root.iter("div") if element.get("class") == "pair"]
    text = " ".join(map(words, pairs))
    for definition in (*found.klein, *found.resource):
        assert definition.name in text
    twins = next(words(pair) for pair in pairs if "DelayedKlein.delayed " in words(pair))
    assert "DelayedResource.render_GET" in twins
    assert any(span.get("class") == "k" for pair in pairs for span in pair.iter("span"))

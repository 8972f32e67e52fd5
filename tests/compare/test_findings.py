import json
from typing import Any

import attrs
import pytest
from jsonschema import Draft202012Validator

from latebin.compare.findings import (
    FIGURES,
    SCHEMA,
    Ceiling,
    Comparison,
    Outcome,
    Round,
    Sample,
    Spread,
    as_json,
    number,
    sentences,
)
from latebin.load.report import Verdict
from tests.support.comparisons import EXAMPLES, SCHEMA_FILE, UNJUDGED, comparison, report, turns


@pytest.mark.parametrize("outcome", EXAMPLES)
def test_outcome(outcome: Outcome) -> None:
    """A difference goes before a flaw under load, and that before a missing verdict."""
    assert EXAMPLES[outcome].outcome is outcome


def test_outcome_without_load() -> None:
    """The outcome depends on the answers alone when no load was planned."""
    assert comparison().outcome is Outcome.SAME
    assert comparison(planned=3).outcome is Outcome.NO_VERDICT
    assert len(sentences(comparison())) == 2


def test_ratios() -> None:
    """A ratio is computed in each round, and its spread covers the rounds."""
    rows = {row.figure.key: row for row in EXAMPLES[Outcome.SAME].rows}
    for key in ("lateness_p50_ms", "cpu_per_answer_us"):
        ratio = rows[key].ratio
        assert ratio is not None
        assert (ratio.least, ratio.median, ratio.most) == pytest.approx((2, 2.5, 3), rel=0.01)
    assert rows["memory_per_pending_kb"].ratio == Spread(1, 1, 1)
    rate = rows["answers_per_s"]
    assert rate.klein == Spread(10_000 / 3, 4000, 5000)
    assert rate.figure.more


def test_no_verdict_from_one_round() -> None:
    """A comparison does not say which style costs more when it has one round."""
    text = " ".join(sentences(comparison(turns(2, 1))))
    assert "raw resources; no verdict from one round." in text
    assert "Klein / raw is" not in text


def test_a_bottleneck_does_not_count() -> None:
    """A sample has no figures and no ratio when the generator was the bottleneck."""
    rows = comparison(UNJUDGED, turns(2, 1)).rows
    assert next(row.ratio.median for row in rows if row.ratio) == pytest.approx(2, rel=0.01)
    assert [(row.klein, row.ratio) for row in comparison(UNJUDGED).rows] == [(None, None)] * len(FIGURES)
    assert "The load generator was the bottleneck in 1 of 2 samples" in " ".join(sentences(comparison(UNJUDGED)))


def test_a_limited_ceiling_does_not_count() -> None:
    """A rate does not count when the generator was its limit."""
    limited = Sample(report(1.0, cpu=1e-4), Ceiling(100.0, limited=True))
    rows = {row.figure.key: row for row in comparison(Round(limited, limited)).rows}
    assert rows["answers_per_s"].klein is None
    assert rows["cpu_per_answer_us"].ratio == Spread(1, 1, 1)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            EXAMPLES[Outcome.SAME],
            "2 conversations have the same bytes in both styles. Left out for a wait of more than 5 s: 1.",
        ),
        (
            EXAMPLES[Outcome.SAME],
            "CPU time per answer: 250 us with Klein, 100 us with raw resources; Klein / raw is 2.50 (2.00 to 3.00).",
        ),
        (EXAMPLES[Outcome.SAME], "Klein / raw is 2.50"),
        (EXAMPLES[Outcome.DIFFERENT], "Different answers: 1 of 2 conversations differ."),
        (EXAMPLES[Outcome.FLAWED], "Requests went wrong in 1 of 4 samples: 2 early, 1 failed."),
        (comparison(turns(1, 1), planned=3), "The time was enough for only 1 of 3 rounds."),
    ],
)
def test_sentences(found: Comparison, words: str) -> None:
    """The sentences have each finding."""
    assert words in " ".join(sentences(found))


@pytest.mark.parametrize(
    ("figure", "text"), [(0, "0"), (0.01234, "0.0123"), (1.5, "1.5"), (12.345, "12.3"), (1234.5, "1,234")]
)
def test_number(figure: float, text: str) -> None:
    """A figure has three significant digits, and from 100 on no decimal places."""
    assert number(figure) == text


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json.loads(SCHEMA_FILE.read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("found", [*EXAMPLES.values(), comparison()], ids=[*EXAMPLES, "no load"])
def test_json(validator: Any, found: Comparison) -> None:
    """The JSON of every outcome is valid by the schema."""
    written = json.loads(json.dumps(as_json(found), allow_nan=False))
    validator.validate(written)
    assert written["outcome"] == found.outcome
    assert set(written["figures"]) == {figure.key for figure in FIGURES}


def test_the_schema_has_a_version(validator: Any) -> None:
    """JSON is invalid when it has another version or an unknown field."""
    written = as_json(EXAMPLES[Outcome.SAME])
    assert written["schema"] == SCHEMA
    assert not validator.is_valid(written | {"schema": SCHEMA + 1})
    assert not validator.is_valid(written | {"unheard": 1})


def test_an_interrupted_sample_is_flawed() -> None:
    """A comparison is flawed when a sample was interrupted."""
    interrupted = Sample(report(1.0, interrupted=True))
    assert interrupted.report.verdict is Verdict.INTERRUPTED
    assert comparison(attrs.evolve(turns(1, 1), klein=interrupted)).outcome is Outcome.FLAWED

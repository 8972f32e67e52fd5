import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.plan import Plan, Source, read
from app.reply import Problem, Refused
from app.settings import Settings
from app.turns import Turns

SETTINGS = Settings(default_delay=5, max_delay=60)


def source() -> Source:
    return Source(Turns().next, lambda: 0.5)


def problem(query: bytes, path_delay: str | None = None) -> Problem:
    with pytest.raises(Refused) as refused:
        read(query, path_delay, SETTINGS, source(), 0.0)
    return refused.value.problem


@pytest.mark.parametrize(
    ("query", "path_delay", "wait"),
    [
        (b"", None, 5.0),
        (b"delay=1s", None, 1.0),
        (b"", "250ms", 0.25),
        (b"d%65lay=1%73", None, 1.0),
        (b"&&delay=60&", None, 60.0),
    ],
)
def test_read(query: bytes, path_delay: str | None, wait: float) -> None:
    """A delay comes from the query or the path, or is the default; it is due that long from now."""
    plan = read(query, path_delay, SETTINGS, source(), 100.0)
    assert plan == Plan(started=100.0, wait=wait)
    assert plan.due == 100.0 + wait


def test_refusal_names_the_parameter() -> None:
    """A refusal says which parameter was wrong, what was given for it, and what is accepted."""
    found = problem(b"delay=soon")
    assert (found.status, found.parameter, found.given) == (400, "delay", "soon")
    assert found.accepted is not None
    assert "250ms" in found.accepted
    assert "at character 0" in found.detail


def test_too_long() -> None:
    """A delay above the longest is refused, and the longest is named."""
    assert "above the longest delay, 1m" in problem(b"delay=61").detail
    assert "above the longest delay, 1m" in problem(b"delay=61s..2m").detail


def test_both_places() -> None:
    """A delay in the path and another in the query are not reconciled, but refused."""
    assert problem(b"delay=1s", "2s").given == "2s in the path and 1s in the query"


@pytest.mark.parametrize(
    ("query", "name"), [(b"delya=1s", "delya"), (b"delay=1&delay=2", "delay"), (b"%ff=", "\\xff"), (b"=1", "")]
)
def test_nothing_is_ignored(query: bytes, name: str) -> None:
    """A name that is not known, or comes twice, is refused and shown as it was given."""
    assert problem(query).parameter == name


@given(st.binary() | st.text("delay=&%0123456789sm+;").map(str.encode), st.none() | st.text())
def test_any_query(query: bytes, path_delay: str | None) -> None:
    """Any bytes give a plan within the limit, or a problem of status 400."""
    try:
        outcome: Plan | Problem = read(query, path_delay, SETTINGS, source(), 0.0)
    except Refused as refused:
        outcome = refused.problem
    if isinstance(outcome, Plan):
        assert 0 <= outcome.wait <= SETTINGS.max_delay
    else:
        assert outcome.status == 400
        assert outcome.parameter is not None
        assert outcome.reply().body.isascii()

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.http.reply import Problem, Refused
from latebin.core.plan import Plan, prepare, read_arguments
from latebin.core.settings import Settings
from latebin.state.seed_counter import SeedCounter

SETTINGS = Settings(default_delay=5, max_delay=60)


def read(
    query: bytes,
    path_delay: str | None = None,
    turns: SeedCounter | None = None,
    random: Callable[[], float] = lambda: 0.5,
    turn: int = 1,
) -> Plan:
    """Plan the answer to a request, counted by its seed."""
    prepared = prepare(read_arguments(query, path_delay, SETTINGS), SETTINGS, random)
    n = 1 if prepared.counted is None else (turns or SeedCounter()).next(*prepared.counted)
    return prepared.plan or prepared.draw(turn, n)


def problem(query: bytes, path_delay: str | None = None) -> Problem:
    with pytest.raises(Refused) as refused:
        read(query, path_delay)
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
    """A delay comes from the query or the path, or is the default."""
    plan = read(query, path_delay)
    assert plan == Plan(wait)


def test_refusal_names_the_parameter() -> None:
    """A refusal has the wrong parameter, its given text and its accepted values."""
    found = problem(b"delay=soon")
    assert (found.status, found.parameter, found.given) == (400, "delay", "soon")
    assert found.accepted is not None
    assert "250ms" in found.accepted
    assert found.detail.startswith('Invalid delay "soon": expected a duration such as 250ms')
    assert found.detail.endswith("at character 0.")


def test_too_long() -> None:
    """A delay above the longest is refused with the longest in the detail."""
    assert "above the longest delay, 1m" in problem(b"delay=61s").detail
    assert "above the longest delay, 1m" in problem(b"delay=61s..2m").detail


def test_both_places() -> None:
    """A request is refused when both its path and its query have a delay."""
    assert problem(b"delay=1s", "2s").given == "2s in the path and 1s in the query"


@pytest.mark.parametrize(
    ("query", "name"), [(b"delya=1s", "delya"), (b"delay=1&delay=2", "delay"), (b"%ff=", "\\xff"), (b"=1", "")]
)
def test_nothing_is_ignored(query: bytes, name: str) -> None:
    """A request is refused when a name in its query is unknown or repeated."""
    assert problem(query).parameter == name


@given(st.binary() | st.text("delay=&%0123456789sm+;").map(str.encode), st.none() | st.text())
def test_any_query(query: bytes, path_delay: str | None) -> None:
    """Any bytes give a plan within the limit, or a problem of status 400."""
    try:
        outcome: Plan | Problem = read(query, path_delay)
    except Refused as refused:
        outcome = refused.problem
    if isinstance(outcome, Plan):
        assert 0 <= outcome.wait <= SETTINGS.max_delay
    else:
        assert outcome.status == 400
        assert outcome.parameter is not None
        assert outcome.reply().body.isascii()


def plan(query: str, turns: SeedCounter | None = None) -> Plan:
    return read(query.encode(), None, turns)


def test_everything_at_once() -> None:
    """One URL can have all parameters."""
    found = plan(
        "delay=1s..1s&seed=7&n=3&status=503&size=64k&type=json&at=body&chunks=4&over=2s&framing=chunked"
        "&retry-after=30&fault=reset"
    )
    assert found.body is not None
    assert (found.wait, found.status, found.body.size, found.body.content_type) == (
        1.0,
        503,
        65536,
        b"application/json",
    )
    assert (found.at, found.chunks, found.over, found.chunked) == ("body", 4, 2.0, True)
    assert (found.retry_after, found.fault) == (30, "reset")


def test_seed_repeats() -> None:
    """Two services draw the same when they get the same requests with one seed."""
    first, second = SeedCounter(), SeedCounter()
    query = "delay=lognormal(median=80ms,p99=1.2s)&fault=reset:50%25&status=503:0.5&seed=7"
    drawn = [plan(query, first) for _ in range(50)]
    assert drawn == [plan(query, second) for _ in range(50)]
    assert drawn != [plan(query.replace("seed=7", "seed=8"), first) for _ in range(50)]
    assert {found.fault for found in drawn} == {"reset", None}
    assert {found.status for found in drawn} == {503, 200}


def test_n_asks_for_a_draw() -> None:
    """The n-th draw is returned at once, and does not count as a turn."""
    turns = SeedCounter()
    query = "delay=exponential(1s)&seed=7"
    third = plan(query + "&n=3", turns)
    assert [plan(query, turns) for _ in range(3)][2] == third


def test_two_spellings_draw_the_same() -> None:
    """Two spellings of one delay draw the same."""
    assert plan("delay=1s..3s&seed=7") == plan("delay=uniform(1000ms,%203)&seed=7")


def test_larger_share_hits_more() -> None:
    """A larger share hits each request that a smaller share hits, with one seed."""
    hits = {
        share: {n for n in range(1, 200) if plan(f"delay=0&seed=7&n={n}&fault=reset:{share}").fault}
        for share in ("0", "0.1", "0.4", "1")
    }
    assert hits["0"] < hits["0.1"] < hits["0.4"] < hits["1"]


def test_cut() -> None:
    """A draw above the longest delay is cut to it, which the plan records."""
    drawn = [plan(f"delay=mix(50%25:1s,50%25:2h)&seed=7&n={n}") for n in range(1, 50)]
    assert {(found.wait, found.cut) for found in drawn} == {(1.0, False), (60.0, True)}


def test_every_draw_above_the_longest() -> None:
    """A delay is refused when every draw would be above the longest delay."""
    for delay in ("61s", "1m1s..2m", "normal(2h,1ms)", "mix(50%25:2m,50%25:3m)", "pareto(min=2m,alpha=2)"):
        assert "every draw would be above" in problem(f"delay={delay}".encode()).detail


def test_without_a_seed_draws_differ() -> None:
    """The draws come from the source's random numbers when there is no seed."""
    random = iter([0.0, 0.999]).__next__
    low, high = (read(b"delay=1s..3s", random=random) for _ in range(2))
    assert low.wait < high.wait


@pytest.mark.parametrize("status", [204, 205, 304])
def test_statuses_without_a_body(status: int) -> None:
    """The body is absent when the status has none, also with a size."""
    assert plan(f"status={status}&size=1k").body is None


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("status=199", "status"),
        ("status=600", "status"),
        ("status=5x3", "status"),
        ("status=503:2", "status"),
        ("size=17m", "size"),
        ("size=-1", "size"),
        ("type=xml", "type"),
        ("at=trailers", "at"),
        ("chunks=0", "chunks"),
        ("chunks=53", "chunks"),
        ("size=3&chunks=4", "chunks"),
        ("chunks=10001&size=1m", "chunks"),
        ("over=1s", "over"),
        ("over=2m&chunks=2", "over"),
        ("framing=multipart", "framing"),
        ("retry-after=-1", "retry-after"),
        ("retry-after=soon", "retry-after"),
        ("retry-after=1", "retry-after"),
        ("retry-after=1&status=404", "retry-after"),
        ("retry-after=1&answer=1:(status=404)", "retry-after"),
        ("answer=1:(status=404,retry-after=1)", "retry-after"),
        ("fault=flood", "fault"),
        ("fault=reset:5", "fault"),
        ("seed=-1", "seed"),
        (f"seed={2**64}", "seed"),
        ("seed=1&n=0", "n"),
        ("n=1", "n"),
        ("delay=trace(none)", "delay"),
    ],
)
def test_wrong_parameters(query: str, name: str) -> None:
    """A wrong parameter is refused with its name and its accepted values."""
    found = problem(query.encode())
    assert (found.status, found.parameter) == (400, name)
    assert found.accepted


@pytest.mark.parametrize(("size", "most"), [(0, 1), (1, 1), (3, 3)])
def test_as_many_pieces_as_bytes(size: int, most: int) -> None:
    """The most pieces are as many as the bytes, and one for an empty body."""
    assert problem(f"size={size}&chunks=4".encode()).accepted == f"at most {most}"
    assert plan(f"size={size}&chunks={most}").chunks == most


@pytest.mark.parametrize(
    ("query", "alike"),
    [
        (b"", True),
        (b"delay=1s&status=503&fault=close:0%25&size=64k", True),
        (b"delay=1s&status=503:50%25", False),
        (b"delay=1s&fault=close:50%25", False),
        (b"delay=1s..2s", False),
    ],
)
def test_one_plan_without_draws(query: bytes, alike: bool) -> None:  # noqa: FBT001  # a parameter
    """Equal requests share one plan when nothing in it is drawn."""
    random = iter(number / 50 for number in range(50))
    prepared = prepare(read_arguments(query, None, SETTINGS), SETTINGS, lambda: next(random))
    plans = [prepared.plan or prepared.draw(1, 1) for _ in range(50)]
    assert (len({id(plan) for plan in plans}) == 1) == alike
    assert (len(set(plans)) == 1) == alike


def test_seed_is_counted_without_draws() -> None:
    """A request with a seed counts as a turn when nothing is drawn, too."""
    turns, query = SeedCounter(), b"delay=1s&seed=7"
    for _ in range(3):
        read(query, None, turns)
    assert turns.next(7, "1s") == 4

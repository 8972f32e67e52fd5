"""The scenarios of a service, changed while it runs."""

import pytest

from latebin.answers.scenarios import Condition, Scenarios, etag_of
from latebin.core.http.reply import Refused
from latebin.core.scenarios import BUILT_IN, MOST
from latebin.core.settings import Settings


@pytest.fixture
def scenarios() -> Scenarios:
    return Scenarios(Settings(scenarios={"payments": "delay=50ms"}))


def delay(scenarios: Scenarios, name: str) -> str:
    return str(scenarios.find(name).rules[0].arguments["delay"])


def status(refused: pytest.ExceptionInfo[Refused]) -> int:
    return refused.value.problem.status


def test_given_and_built_in(scenarios: Scenarios) -> None:
    """The scenarios of the start are there beside the built-in ones when nothing has changed."""
    assert {each.name for each in scenarios} == {"payments", *BUILT_IN}
    with pytest.raises(Refused) as refused:
        scenarios.find("nothing")
    assert (status(refused), "payments" in str(refused.value.problem.accepted)) == (404, True)


def test_put_and_delete(scenarios: Scenarios) -> None:
    """A scenario returns to its state at the start, or goes, when it is deleted."""
    scenarios.put("payments", "delay=1s")
    scenarios.put("mine", "delay=2s")
    assert (delay(scenarios, "payments"), delay(scenarios, "mine")) == ("1s", "2s")
    assert scenarios.delete("payments") is scenarios.find("payments")
    assert scenarios.delete("mine") is None
    assert delay(scenarios, "payments") == "50ms"
    with pytest.raises(Refused):
        scenarios.delete("mine")


def test_reset(scenarios: Scenarios) -> None:
    """All is as it was at the start when the scenarios are reset."""
    scenarios.put("payments", "delay=1s")
    scenarios.put("mine", "delay=2s")
    scenarios.reset()
    assert delay(scenarios, "payments") == "50ms"
    assert {each.name for each in scenarios} == {"payments", *BUILT_IN}


def test_a_refused_change_changes_nothing(scenarios: Scenarios) -> None:
    """A scenario stays as it was when its replacement cannot be read."""
    with pytest.raises(Refused) as refused:
        scenarios.put("payments", "delay=soon")
    assert (status(refused), delay(scenarios, "payments")) == (400, "50ms")


def test_most(scenarios: Scenarios) -> None:
    """A new scenario is refused, and an old one replaced, when the number is reached."""
    for number in range(MOST - len(list(scenarios))):
        scenarios.put(f"s{number}", "delay=0")
    with pytest.raises(Refused) as refused:
        scenarios.put("more", "delay=0")
    assert status(refused) == 409
    scenarios.put("s0", "delay=1s")


def test_etag(scenarios: Scenarios) -> None:
    """A change is refused when the scenario is not the one whose ETag is given."""
    before = etag_of(scenarios.find("payments"))
    for tags in (before, f'"other", {before}', "*"):
        scenarios.put("payments", "delay=50ms", Condition(tags))
    scenarios.put("payments", "delay=1s", Condition(before))
    for tags in (before, f"W/{before}", f"W/{etag_of(scenarios.find('payments'))}", "", "*,"):
        with pytest.raises(Refused) as refused:
            scenarios.put("payments", "delay=2s", Condition(tags))
        assert status(refused) == 412
        with pytest.raises(Refused) as refused:
            scenarios.delete("payments", Condition(tags))
        assert status(refused) == 412
    with pytest.raises(Refused) as refused:
        scenarios.put("new", "delay=2s", Condition("*"))
    assert status(refused) == 412


def test_none_match(scenarios: Scenarios) -> None:
    """A scenario is not replaced when If-None-Match has its tag or an asterisk."""
    scenarios.put("new", "delay=1s", Condition(none_match="*"))
    for tags in ("*", f"W/{etag_of(scenarios.find('new'))}"):
        with pytest.raises(Refused) as refused:
            scenarios.put("new", "delay=2s", Condition(none_match=tags))
        assert status(refused) == 412
    scenarios.put("new", "delay=2s", Condition(none_match='"other"'))


def test_names_in_a_refusal(scenarios: Scenarios) -> None:
    """The refusal of an unknown name stays short when there are many scenarios."""
    for number in range(MOST - len(list(scenarios))):
        scenarios.put(f"s{number}", "delay=0")
    with pytest.raises(Refused) as refused:
        scenarios.find("nothing")
    assert str(refused.value.problem.accepted).endswith("and 980 more")
    assert len(str(refused.value.problem.accepted)) < 500


def test_small_longest_delay() -> None:
    """The built-in scenarios are there when the longest delay is below theirs."""
    scenarios = Scenarios(Settings(max_delay=0.001, default_delay=0))
    assert all(scenarios.find(name).rules for name in BUILT_IN)

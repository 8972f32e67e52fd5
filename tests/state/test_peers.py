"""Questions to all processes with the same Redis."""

from typing import Any

import pytest

from latebin.core.http.reply import Refused
from latebin.state.interfaces import Answers
from latebin.state.redis import membership, pending
from tests.support.redis import needed
from tests.support.states import RedisWorld

pytestmark = needed


@pytest.fixture
def answering(redis: RedisWorld) -> RedisWorld:
    for number, member in enumerate(redis.members):
        member.peers.respond(lambda question, number=number: {**question, "from": number})
    return redis


def asked(world: RedisWorld, instance: str | None = None) -> list[Any]:
    results: list[Any] = []
    world.members[0].peers.ask({"text": "a b\nc"}, instance).addBoth(results.append)
    world.settle()
    return results


def numbers(answers: Answers) -> list[int]:
    return sorted(each["from"] for each in answers.found)


def test_all(answering: RedisWorld) -> None:
    """All processes answer a question, and one of them when it is asked alone."""
    [found] = asked(answering)
    assert (numbers(found), found.complete) == ([0, 1], True)
    assert found.found[0]["text"] == "a b\nc"
    [found] = asked(answering, answering.members[1].peers.instance)
    assert (numbers(found), found.complete) == ([1], True)
    assert asked(answering, "unknown") == [Answers([], complete=True)]
    assert [call for call in answering.clock.getDelayedCalls() if call.getTime() > 1] == []


def test_silent(answering: RedisWorld) -> None:
    """The answers of the others come after a second when a process is silent."""
    answering.members[1].store.silent = True
    assert asked(answering) == []
    results = asked(answering)
    answering.clock.advance(pending.PATIENCE)
    [found] = results
    assert (numbers(found), found.complete) == ([0], False)


def test_not_listening(answering: RedisWorld) -> None:
    """The answers of the others come at once when a process is cut off."""
    answering.members[1].store.cut()
    [found] = asked(answering)
    assert (numbers(found), found.complete) == ([0], False)


def test_away(answering: RedisWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question is refused when Redis is away, and when too many wait."""
    answering.members[0].store.cut()
    [failure] = asked(answering)
    assert failure.check(Refused)
    answering.members[0].store.mend()
    answering.settle()
    monkeypatch.setattr(pending, "MOST_QUESTIONS", 0)
    with pytest.raises(Refused):
        asked(answering)


def test_asker_gone(answering: RedisWorld) -> None:
    """Late answers are dropped when the asker has gone."""
    question = answering.members[0].peers.ask({})
    results: list[Any] = []
    question.addErrback(results.append)
    question.cancel()
    answering.settle()
    assert len(results) == 1


def test_farewell(answering: RedisWorld) -> None:
    """A process ends within a moment when Redis is silent or away."""
    results: list[Any] = []
    answering.members[0].peers.leave().addBoth(results.append)
    assert results == []
    answering.clock.advance(membership.FAREWELL)
    answering.members[1].store.cut()
    answering.members[1].peers.leave().addBoth(results.append)
    assert results == [None, None]

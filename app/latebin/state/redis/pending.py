"""Questions to all processes with the same Redis, such as for their pending answers."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from latebin.core.http.reply import Problem, Refused
from latebin.state.interfaces import Answers
from latebin.state.redis.library import script
from latebin.state.redis.membership import Membership

PATIENCE: Final = 1.0
"""Seconds that a question waits for the answers of all processes."""

MOST_QUESTIONS: Final = 1_000
"""Questions of one process that wait for answers at once."""

_ASK: Final = script("""
local asked, found = {}, {ARGV[7]}
if ARGV[7] == '' then
    found = call('ZRANGEBYSCORE', instances, text(now - lease), '+inf')
elseif not member_of(ARGV[7]) then
    found = {}
end
for _, instance in ipairs(found) do
    table.insert(asked, instance)
    table.insert(asked, call('PUBLISH', key('to', instance), 'q ' .. ARGV[5] .. ' ' .. me .. ' ' .. ARGV[6]))
end
return asked
""")

_ANSWER: Final = script("""
return call('PUBLISH', key('to', ARGV[5]), 'r ' .. ARGV[6] .. ' ' .. me .. ' ' .. ARGV[7])
""")


@attrs.define(eq=False)
class _Question:
    """A question that waits for answers.

    Attributes:
        answers: the answers by the names of their processes.
        waited: the processes whose answers are waited for; None until Redis has named them.
        silent: whether a process does not listen.
    """

    result: Deferred[Answers]
    late: IDelayedCall
    answers: dict[str, Mapping[str, Any]] = attrs.field(factory=dict)
    waited: set[str] | None = None
    silent: bool = False


class RedisPeers:
    """All processes with the same Redis.

    Args:
        membership: the membership of this process.
    """

    def __init__(self, membership: Membership) -> None:
        self.instance = membership.instance
        self._members = membership
        self._questions: dict[int, _Question] = {}
        self._answer: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
        membership.hear_also({"q": self._asked, "r": self._answered})

    def respond(self, answer: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        self._answer = answer

    def leave(self) -> Deferred[Any]:
        return self._members.leave()

    def ask(self, question: Mapping[str, Any], instance: str | None = None) -> Deferred[Answers]:
        if len(self._questions) >= MOST_QUESTIONS:
            raise Refused(Problem(429, "Too many questions wait for answers.", headers=((b"Retry-After", b"1"),)))
        number = self._members.number()
        late = self._members.clock.callLater(PATIENCE, self._finish, number)
        waiting = self._questions[number] = _Question(Deferred(lambda _: self._leave(number)), late)
        asked = self._members.run(_ASK, number, json.dumps(question), instance or "")
        asked.addCallback(self._named, number).addErrback(self._failed, number)
        return waiting.result

    def _named(self, reply: list[Any], number: int) -> None:
        """Note the processes that were asked."""
        waiting = self._questions.get(number)
        if waiting is not None:
            names = [name.decode("ascii") for name in reply[::2]]
            waiting.silent = not all(reply[1::2])
            waiting.waited = {name for name, heard in zip(names, reply[1::2], strict=True) if heard}
            self._look(number, waiting)

    def _failed(self, failure: Failure, number: int) -> None:
        waiting = self._drop(number)
        if waiting is not None:
            waiting.result.errback(failure)

    def _asked(self, text: str) -> None:
        """Answer a question of another process, or of this one."""
        number, asker, question = text.split(" ", 2)
        if self._answer is not None:
            answer = json.dumps(self._answer(json.loads(question)))
            self._members.attempt(_ANSWER, asker, number, answer)

    def _answered(self, text: str) -> None:
        number, instance, answer = text.split(" ", 2)
        waiting = self._questions.get(int(number))
        if waiting is not None:
            waiting.answers[instance] = json.loads(answer)
            self._look(int(number), waiting)

    def _look(self, number: int, waiting: _Question) -> None:
        """Finish with a question that all have answered."""
        if waiting.waited is not None and waiting.waited <= waiting.answers.keys():
            self._finish(number)

    def _finish(self, number: int) -> None:
        waiting = self._drop(number)
        if waiting is not None:
            found = [waiting.answers[name] for name in sorted(waiting.answers)]
            all_ = waiting.waited is not None and waiting.waited <= waiting.answers.keys()
            waiting.result.callback(Answers(found, all_ and not waiting.silent))

    def _leave(self, number: int) -> None:
        self._drop(number)

    def _drop(self, number: int) -> _Question | None:
        waiting = self._questions.pop(number, None)
        if waiting is not None and waiting.late.active():
            waiting.late.cancel()
        return waiting

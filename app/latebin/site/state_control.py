"""The part of `/control` that is about keys, gates, pending answers and the journal."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from latebin.answers.interfaces import ServedRequest
from latebin.answers.pending import PendingAnswer
from latebin.answers.steered import SteeredAnswer
from latebin.core.http import strict_json
from latebin.core.http.accept import NDJSON, wants_ndjson
from latebin.core.http.reply import MAX_GIVEN, Problem, Refused, Reply, allow, json_page, not_found, page, too_large
from latebin.core.journal import Kept
from latebin.core.parameters import GATE_QUERY, JOURNAL_QUERY, PENDING_QUERY, read_query, wrong
from latebin.core.settings import Settings
from latebin.core.steering import KEY, KEY_ACCEPTED, MAX_BARRIER
from latebin.site.connections import Connections
from latebin.state.interfaces import Answers, GateStatus, KeyStatus, State

T = TypeVar("T")

Answer = Reply | Deferred[Reply]

MOST_LISTED: Final = 1000
"""The most entries of a list; a list with fewer says that it is complete."""

MOST_ENDED: Final = 16
"""The most answers that are ended in one turn of the reactor."""

MAX_BODY: Final = 1000
"""Bytes of the largest body: an object with one member."""

_VARY: Final = (b"Vary", b"Accept")

_AGAIN: Final = ((b"Retry-After", b"1"),)

ENDED: Final = Problem(503, "The answer was ended by a request to /control/pending.")


@attrs.frozen(eq=False)
class StateControl:
    """The keys, gates, pending answers and journals of a service, shown and changed.

    Attributes:
        state: the keys, the gates and the journals.
        connections: the connections, whose requests wait for their answers.
        settings: the limits.
        clock: the clock of the answers.
    """

    state: State
    connections: Connections
    settings: Settings
    clock: IReactorTime

    def __attrs_post_init__(self) -> None:
        if self.state.peers is not None:
            self.state.peers.respond(self.respond)

    def answer(self, path: tuple[str, ...], request: ServedRequest) -> Answer:
        """Answer a request to a path below `/control`.

        Raises:
            Refused: the answer is a problem.
        """
        lists = {"keys": self._keys, "gates": self._gates, "pending": self._pending, "journal": self._journal}
        ones = {"keys": self._key, "gates": self._gate, "pending": self._one_pending}
        match path:
            case (kind,) if kind in lists:
                return lists[kind](request)
            case (kind, name) if kind in ones:
                return ones[kind](request, name)
            case _:
                return not_found(request.path).reply()

    def _keys(self, request: ServedRequest) -> Answer:
        if request.method not in {b"GET", b"HEAD"}:
            return allow(request.method, ("GET", "HEAD"))
        self._nothing(request)
        return _then(self.state.keys.all(), lambda keys: json_page(_listed("keys", map(_key_as_json, keys))))

    def _key(self, request: ServedRequest, key: str) -> Answer:
        if request.method in {b"DELETE", b"GET", b"HEAD"}:
            _named(key, "key")
            self._nothing(request)
        if request.method in {b"GET", b"HEAD"}:
            return _then(self.state.keys.status(key), lambda found: _shown_key(key, found))
        if request.method == b"DELETE":
            self.state.journal.forget(key)
            return _then(self.state.keys.forget(key), lambda known: json_page({"key": key, "deleted": known}))
        return allow(request.method, ("DELETE", "GET", "HEAD"))

    def _gates(self, request: ServedRequest) -> Answer:
        if request.method not in {b"GET", b"HEAD"}:
            return allow(request.method, ("GET", "HEAD"))
        self._nothing(request)
        return _then(self.state.gates.all(), lambda gates: json_page(_listed("gates", map(attrs.asdict, gates))))

    def _gate(self, request: ServedRequest, name: str) -> Answer:
        if request.method in {b"GET", b"HEAD", b"POST"}:
            _named(name, "gate")
        if request.method in {b"GET", b"HEAD"}:
            return self._look(request, name)
        if request.method == b"POST":
            self._nothing(request)
            return self._change(request, name)
        return allow(request.method, ("GET", "HEAD", "POST"))

    def _look(self, request: ServedRequest, name: str) -> Answer:
        arguments = read_query(_query(request), GATE_QUERY, self.settings)
        if "waiting" in arguments:
            return self._until(name, arguments["waiting"], arguments.get("timeout", self.settings.max_delay))
        if "timeout" in arguments:
            raise wrong(
                "The parameter timeout needs waiting.", "timeout", str(arguments["timeout"]), "waiting beside it"
            )
        return _then(self.state.gates.status(name), _shown_gate)

    def _until(self, name: str, waiting: int, timeout: float) -> Deferred[Reply]:
        """Answer as soon as so many wait, or with a 408 after the timeout."""
        return self._within(
            timeout,
            self.state.gates.until(name, waiting),
            lambda: _then(self.state.gates.status(name), _shown_gate),
            lambda: _then(self.state.gates.status(name), _too_few(waiting)),
        )

    def _within(
        self, timeout: float, watch: Deferred[Any], shown: Callable[[], Answer], expired: Callable[[], Answer]
    ) -> Deferred[Reply]:
        """Answer when a watch fires, or otherwise when its time is over.

        Args:
            timeout: seconds.
            watch: the watch, which is cancelled then.
            shown: makes the answer.
            expired: makes the other answer.
        """
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            watch.cancel()

        call = self.clock.callLater(timeout, give_up)

        def stop(result: T) -> T:
            if call.active():
                call.cancel()
            return result

        def failed(failure: Failure) -> Any:  # noqa: ANN401  # the failure, or a Deferred
            failure.trap(CancelledError)
            return expired() if late else failure

        answer: Deferred[Any] = watch.addBoth(stop)
        return answer.addCallback(lambda _: shown()).addErrback(failed)

    def _change(self, request: ServedRequest, name: str) -> Answer:
        match _member(request):
            case ("release", "all"):
                went = self.state.gates.release(name, None)
            case ("release", bool()):
                raise _unknown_change(request)
            case ("release", int(count)) if 1 <= count <= MAX_BARRIER:
                went = self.state.gates.release(name, count)
            case ("open", bool(opened)):
                went = self.state.gates.open(name, open=opened)
            case _:
                raise _unknown_change(request)

        def shown(released: int) -> Answer:
            return _then(
                self.state.gates.status(name), lambda gate: json_page({**attrs.asdict(gate), "released": released})
            )

        return _then(went, shown)

    def _journal(self, request: ServedRequest) -> Answer:
        if request.method not in {b"GET", b"HEAD"}:
            return allow(request.method, ("GET", "HEAD"))
        arguments = read_query(_query(request), JOURNAL_QUERY, self.settings)
        if "key" not in arguments:
            raise wrong("The key is missing.", "key", "", "the key whose requests are to be shown")
        if "timeout" in arguments and "ended" not in arguments:
            raise wrong("The parameter timeout needs ended.", "timeout", str(arguments["timeout"]), "ended beside it")
        key, ended = arguments["key"], arguments.get("ended")
        accept = b",".join(request.requestHeaders.getRawHeaders(b"Accept", [])).decode("latin-1")
        shown = _shown_lines if wants_ndjson(accept) else _shown_journal
        if ended is None:
            return _then(self.state.journal.of(key), shown)
        return self._within(
            arguments.get("timeout", self.settings.max_delay),
            self.state.journal.until(key, ended),
            lambda: _then(self.state.journal.of(key), shown),
            lambda: _then(self.state.journal.of(key), _too_few_ended(ended)),
        )

    def _pending(self, request: ServedRequest) -> Answer:
        if request.method not in {b"DELETE", b"GET", b"HEAD"}:
            return allow(request.method, ("DELETE", "GET", "HEAD"))
        key = read_query(_query(request), PENDING_QUERY, self.settings).get("key")
        if request.method in {b"GET", b"HEAD"}:
            return _then(self._ask({"do": "list", "key": key}), _shown_pending)
        if key is None:
            raise wrong("The key is missing.", "key", "", "the key whose answers are to be ended")
        return _then(self._ask({"do": "end", "key": key}), lambda answers: _shown_ended(key, answers))

    def _one_pending(self, request: ServedRequest, given: str) -> Answer:
        if request.method not in {b"DELETE", b"POST"}:
            return allow(request.method, ("DELETE", "POST"))
        self._nothing(request)
        if request.method == b"POST" and not _is_release(request):
            raise wrong("Invalid body.", "body", _text(request), '{"release": true}')
        instance, number = None, given
        if self.state.peers is not None:
            instance, _, number = given.partition("-")
        do = "end" if request.method == b"DELETE" else "release"
        return _then(self._ask({"do": do, "id": number}, instance), lambda answers: _shown_one(given, do, answers))

    def _ask(self, question: Mapping[str, Any], instance: str | None = None) -> Answers | Deferred[Answers]:
        """Ask all processes for their pending answers, or one process."""
        if self.state.peers is None:
            return Answers([self.respond(question)], complete=True)
        return self.state.peers.ask(question, instance)

    def respond(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a question about the pending answers of this process.

        Args:
            question: `do` is `list` or `end`, with a `key`, or it is `end` or `release`, with an `id`.
        """
        if "id" in question:
            return self._do(question["do"], question["id"])
        key = question["key"]
        found = (pair for pair in self._waiting() if key is None or _key_of(pair[1]) == key)
        if question["do"] == "list":
            return _listed("pending", (self._as_json(*pair) for pair in found))
        answers = deque(answer for _, answer in found)
        ended = len(answers)
        self._end_some(answers)
        return {"ended": ended}

    def _end_some(self, answers: deque[PendingAnswer]) -> None:
        """End some answers now, and the others in later turns of the reactor."""
        for _ in range(min(MOST_ENDED, len(answers))):
            answer = answers.popleft()
            # It may have been answered in a turn in between.
            if _waits(answer):
                _end(answer)
        if answers:
            self.clock.callLater(0, self._end_some, answers)

    def _do(self, do: str, number: str) -> dict[str, Any]:
        """Release or end an answer; return the status, and the reason of a refusal."""
        answer = next((answer for _, answer in self._waiting() if str(answer.number) == number), None)
        if answer is None:
            return {"status": 404, "why": "No pending answer has this id."}
        if do == "end":
            _end(answer)
            return {"status": 200}
        if not answer.active():
            return {"status": 409, "why": "The answer waits for its upstream, which only ends it."}
        if answer.waits_for == "turn":
            return {"status": 409, "why": "The answer has no plan yet: its turn is awaited."}
        answer.release()
        return {"status": 200}

    def _waiting(self) -> list[tuple[ServedRequest, PendingAnswer]]:
        """List every request whose answer waits, with the answer, in the order of their ids."""
        answers = ((request, request.pending_answer) for request in self.connections.requests)
        found = [(request, answer) for request, answer in answers if answer is not None and _waits(answer)]
        return sorted(found, key=lambda pair: pair[1].number)

    def _as_json(self, request: ServedRequest, answer: PendingAnswer) -> dict[str, Any]:
        timed = answer.active() and answer.waits_for in {"delay", "gate"}
        peers = self.state.peers
        return {
            "id": str(answer.number) if peers is None else f"{peers.instance}-{answer.number}",
            "key": _key_of(answer),
            "path": request.uri.partition(b"?")[0].decode("latin-1")[:MAX_GIVEN],
            "style": request.style,
            "for": answer.waits_for if answer.active() else "upstream",
            "left_ms": round(max(0.0, answer.getTime() - self.clock.seconds()) * 1000, 3) if timed else None,
        }

    def _nothing(self, request: ServedRequest) -> None:
        """Refuse a query where there are no parameters."""
        read_query(_query(request), (), self.settings)


def _then(result: T | Deferred[T], make: Callable[[T], Answer]) -> Answer:
    """Make an answer of a result that may come later."""
    return result.addCallback(make) if isinstance(result, Deferred) else make(result)


def _listed(name: str, entries: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """List at most MOST_LISTED entries, and say whether these are all."""
    listed: list[dict[str, Any]] = []
    for entry in entries:
        if len(listed) == MOST_LISTED:
            return {name: listed, "complete": False}
        listed.append(entry)
    return {name: listed, "complete": True}


def _shown_pending(answers: Answers) -> Reply:
    complete = answers.complete and all(each["complete"] for each in answers.found)
    shown = _listed("pending", (entry for each in answers.found for entry in each["pending"]))
    return json_page({**shown, "complete": shown["complete"] and complete})


def _shown_ended(key: str, answers: Answers) -> Reply:
    ended = sum(each["ended"] for each in answers.found)
    if not answers.complete:
        raise Refused(Problem(503, f"Not all workers have replied; those that did have ended {ended}.", headers=_AGAIN))
    return json_page({"key": key, "ended": ended})


def _shown_one(given: str, do: str, answers: Answers) -> Reply:
    if not answers.found and not answers.complete:
        raise Refused(Problem(503, "The worker of this answer has not replied.", parameter="id", headers=_AGAIN))
    # A process that is not known has no answers.
    [found] = answers.found or [{"status": 404, "why": "No pending answer has this id."}]
    if found["status"] != HTTPStatus.OK:
        raise Refused(Problem(found["status"], found["why"], parameter="id", given=given))
    return json_page({"id": given, "ended" if do == "end" else "released": 1})


def _key_as_json(key: KeyStatus) -> dict[str, Any]:
    return {"key": key.key, "turn": key.turn, "idle_ms": round(key.idle * 1000, 3)}


def _shown_key(key: str, found: KeyStatus | None) -> Reply:
    # A key that no request had, or that is forgotten, begins with its first turn.
    return json_page({"key": key, "turn": 0, "idle_ms": None} if found is None else _key_as_json(found))


def _shown_gate(gate: GateStatus) -> Reply:
    return json_page(attrs.asdict(gate))


def _too_few(waiting: int) -> Callable[[GateStatus], Reply]:
    def refuse(gate: GateStatus) -> Reply:
        there = "1 answer waits" if gate.waiting == 1 else f"{gate.waiting} answers wait"
        detail = f"{there} at the gate after the timeout, and not {waiting}."
        raise Refused(Problem(408, detail, parameter="waiting", given=str(waiting)))

    return refuse


def _shown_journal(kept: Kept) -> Reply:
    return json_page(kept.as_json(), _VARY)


def _shown_lines(kept: Kept) -> Reply:
    lines = "".join(f"{json.dumps(line)}\n" for line in kept.lines())
    return page(NDJSON.encode("ascii"), lines.encode("ascii"), _VARY)


def _too_few_ended(ended: int) -> Callable[[Kept], Reply]:
    def refuse(kept: Kept) -> Reply:
        there = "1 request has ended" if kept.ended == 1 else f"{kept.ended} requests have ended"
        detail = f"{there} within the timeout, and not {ended}."
        return Problem(408, detail, parameter="ended", given=str(ended), more=kept.as_json()).reply(_VARY)

    return refuse


def _named(text: str, parameter: str) -> None:
    if not KEY.fullmatch(text):
        raise wrong(f"Invalid {parameter}.", parameter, text, KEY_ACCEPTED)


def _waits(answer: PendingAnswer) -> bool:
    return answer.active() or answer.number in answer.registry.forwarding


def _key_of(answer: PendingAnswer) -> str | None:
    return answer.steering.key if isinstance(answer, SteeredAnswer) else None


def _end(answer: PendingAnswer) -> None:
    answer.registry.end(answer.number, ENDED)


def _member(request: ServedRequest) -> tuple[str, object]:
    """Read the one member of the object in a request's body.

    Raises:
        Refused: 413 for a body that is too large, 400 for any other body.
    """
    try:
        value = strict_json.parse(_text(request))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or len(value) != 1:
        raise wrong("Invalid body.", "body", _text(request), "an object with one member, as JSON")
    return next(iter(value.items()))


def _is_release(request: ServedRequest) -> bool:
    name, value = _member(request)
    # Not by equality: in Python, 1 is equal to True.
    return name == "release" and value is True


def _text(request: ServedRequest) -> str:
    request.content.seek(0)
    body = request.content.read(MAX_BODY + 1)
    if len(body) > MAX_BODY:
        raise Refused(too_large("The body is too large.", MAX_BODY))
    return body.decode("utf-8", "backslashreplace")


def _unknown_change(request: ServedRequest) -> Refused:
    accepted = '{"release": 1}, {"release": "all"}, {"open": true} or {"open": false}'
    return wrong("Invalid body.", "body", _text(request), accepted)


def _query(request: ServedRequest) -> bytes:
    return request.uri.partition(b"?")[2]

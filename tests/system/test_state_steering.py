"""Gates, pools, pending answers and journals of two replicas of two workers with one Redis."""

import json
import os
import select
import signal
from collections.abc import Sequence
from http.client import HTTPConnection
from typing import Any

import pytest

pytest.importorskip("txredisapi")

from tests.support.haproxy import HAPROXY
from tests.support.process import BOUND, answer, ask, get, status, until
from tests.support.redis import needed
from tests.support.samples import figures_of
from tests.system.test_state import WORKERS, Fleet, fleet, workers

__all__ = ["fleet"]

pytestmark = [needed, pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")]


def control(port: int, path: str, method: str = "GET", body: object = None) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=BOUND)
    connection.request(method, f"/control/{path}", None if body is None else json.dumps(body))
    response, text = answer(connection)
    return response.status, json.loads(text)


def waiting(fleet: Fleet, gate: str, count: int) -> None:
    """Wait until so many wait at a gate, of all processes."""
    assert control(fleet.replicas[1].port, f"gates/{gate}?waiting={count}&timeout={BOUND}s")[0] == 200


def answered(asked: Sequence[HTTPConnection]) -> int:
    """Return how many requests have an answer, or lost their connection."""
    sockets = [each.sock for each in asked]
    return len(select.select(sockets, [], [], 0)[0])


def statuses(asked: Sequence[HTTPConnection]) -> list[int]:
    return [answer(each)[0].status for each in asked]


def listed(port: int) -> list[dict[str, Any]]:
    """List the pending answers of all workers that reply."""
    found: list[dict[str, Any]] = control(port, "pending")[1]["pending"]
    return found


def pending(port: int) -> list[dict[str, Any]]:
    """List the pending answers of all workers, once each has replied in time."""
    found: dict[str, Any] = {}

    def complete() -> bool:
        found.update(control(port, "pending")[1])
        return bool(found["complete"])

    until(complete)
    answers: list[dict[str, Any]] = found["pending"]
    return answers


def test_barrier(fleet: Fleet) -> None:
    """A barrier lets ten go at a time when its requests are at all workers."""
    asked = [ask(fleet.public, "/delayed?delay=0&gate=barrier:10") for _ in range(25)]
    until(lambda: answered(asked) == 20)
    waiting(fleet, "barrier", 5)
    assert answered(asked) == 20
    assert control(fleet.public, "gates/barrier", "POST", {"release": "all"})[1]["released"] == 5
    assert statuses(asked) == [200] * 25


def test_release(fleet: Fleet) -> None:
    """Each release counts its answers when several come at once."""
    asked = [ask(fleet.public, "/delayed?delay=0&gate=counted") for _ in range(40)]
    waiting(fleet, "counted", 40)
    released = [control(each.port, "gates/counted", "POST", {"release": 7})[1]["released"] for each in fleet.replicas]
    until(lambda: answered(asked) == sum(released))
    last = control(fleet.public, "gates/counted", "POST", {"release": "all"})[1]["released"]
    assert (released, last) == ([7, 7], 26)
    assert statuses(asked) == [200] * 40


def test_pending(fleet: Fleet) -> None:
    """The pending answers of all workers are listed, ended and released when any is asked."""
    asked = [ask(fleet.public, f"/delayed?delay=5m{key}") for key in ("", "", "&key=p", "&key=p") for _ in range(2)]
    first, second = (each.port for each in fleet.replicas)
    until(lambda: len(pending(first)) == len(asked))
    found = pending(second)
    assert pending(first)[0].keys() == found[0].keys()
    assert len({each["id"] for each in found}) == len(asked)
    ended, released, *_ = [each["id"] for each in found if each["key"] is None]
    assert control(first, f"pending/{ended}", "DELETE") == (200, {"id": ended, "ended": 1})
    assert control(second, f"pending/{ended}", "DELETE")[0] == 404
    assert control(second, f"pending/{released}", "POST", {"release": True}) == (200, {"id": released, "released": 1})
    assert control(first, "pending?key=p", "DELETE") == (200, {"key": "p", "ended": 4})
    for each in [each["id"] for each in pending(second)]:
        control(first, f"pending/{each}", "DELETE")
    assert sorted(statuses(asked)) == [200] + [503] * 7


def test_pool(fleet: Fleet) -> None:
    """No more are in service than the pool has servers when all workers share it."""
    asked = [ask(fleet.public, "/delayed?delay=5m&pool=shared&servers=3&queue=9") for _ in range(12)]
    port = fleet.replicas[0].port
    until(lambda: len(pending(port)) == 12)
    assert status(port, "/delayed?delay=0&pool=shared&servers=3&queue=9") == 503
    for left in range(12, 0, -1):
        until(lambda left=left: len(pending(port)) == left)  # type: ignore[misc]  # it is called at once
        until(lambda left=left: served(port) == min(left, 3))  # type: ignore[misc]  # as above
        first = next(each["id"] for each in pending(port) if each["for"] == "delay")
        assert control(fleet.public, f"pending/{first}", "POST", {"release": True})[0] == 200
    assert statuses(asked) == [200] * 12


def served(port: int) -> int:
    found = [each["for"] for each in pending(port)].count("delay")
    assert found <= 3
    return found


def test_journal(fleet: Fleet) -> None:
    """The journal of a key has each request to any worker once."""
    asked = [ask(fleet.public, "/delayed?delay=0&key=noted") for _ in range(30)]
    assert statuses(asked) == [200] * 30
    code, found = control(fleet.replicas[0].port, f"journal?key=noted&ended=30&timeout={BOUND}s")
    assert (code, found["complete"]) == (200, True)
    assert sorted(each["n"] for each in found["requests"]) == list(range(1, 31))
    assert {each["ended"] for each in found["requests"]} == {"answered"}


def test_workers_killed(fleet: Fleet) -> None:
    """A gate and a pool forget the answers of workers when these have died."""
    first, other = (each.port for each in fleet.replicas)
    held = [
        ask(first, f"/delayed?delay=5m&{where}") for where in ("gate=left", "pool=left&servers=1") for _ in range(3)
    ]
    until(lambda: len(pending(other)) == 6)
    at_gate = [ask(other, "/delayed?delay=0&gate=left") for _ in range(3)]
    in_pool = [ask(other, "/delayed?delay=5m&pool=left&servers=1") for _ in range(3)]
    waiting(fleet, "left", 6)
    until(lambda: len(pending(other)) == 12)
    killed = workers(fleet.replicas[0])
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    until(lambda: control(other, "gates/left")[1]["waiting"] == 3)
    assert answered(held) == 6
    for each in held:
        each.close()
    assert control(other, "gates/left", "POST", {"release": "all"})[1]["released"] == 3
    assert statuses(at_gate) == [200] * 3
    # The first of the line that is left is in service.
    until(lambda: sorted(each["for"] for each in listed(other)) == ["delay", "queue", "queue"])
    for found in listed(other):
        assert control(other, f"pending/{found['id']}", "DELETE")[0] == 200
    assert statuses(in_pool) == [503] * 3
    until(lambda: len(set(workers(fleet.replicas[0])) - {*killed}) == WORKERS)


def test_redis_killed(fleet: Fleet) -> None:
    """Answers wait on while Redis is away, and go when their gate opens."""
    asked = [ask(fleet.public, "/delayed?delay=0&gate=over") for _ in range(8)]
    waiting(fleet, "over", 8)
    fleet.redis.kill()
    for each in fleet.replicas:
        until(lambda each=each: figures_of(each)["latebin_state_up",] == 0)  # type: ignore[misc]  # as above
        for path in ("/delayed?gate=over", "/delayed?pool=over&servers=1", "/control/pending", "/control/gates/over"):
            assert status(each.port, path) == 503
        assert status(each.port, "/delayed?delay=0") == 200
    assert answered(asked) == 0
    fleet.redis.start()
    for each in fleet.replicas:
        until(lambda each=each: figures_of(each)["latebin_state_up",] == WORKERS)  # type: ignore[misc]  # as above
    waiting(fleet, "over", 8)
    assert control(fleet.public, "gates/over", "POST", {"open": True})[1]["released"] == 8
    assert statuses(asked) == [200] * 8
    assert get(fleet.public, "/delayed?delay=0&gate=over")[0].status == 200

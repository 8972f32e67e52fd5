"""Two replicas of two workers behind HAProxy, whose state is in one Redis."""

import json
import os
import re
import select
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import attrs
import pytest

pytest.importorskip("txredisapi")

from latebin.server.machine import raise_descriptors
from latebin.testing.process import ServiceProcess, StartError, serving
from tests.support.haproxy import HAPROXY, balancing
from tests.support.haproxy import answered as had_its_part
from tests.support.process import BOUND, answer, ask, get, ports, status, until
from tests.support.redis import RedisServer, needed, running
from tests.support.samples import figures_of

pytestmark = [needed, pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")]

CONFIGURATION = """
global
    maxconn 3000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend public
    bind 127.0.0.1:{public}
    default_backend replicas
backend replicas
    balance roundrobin
    server first 127.0.0.1:{first}
    server second 127.0.0.1:{second}
"""

WORKERS = 2

MANY = 1000


@attrs.frozen
class Fleet:
    """The replicas, the port of HAProxy before them, and their Redis."""

    public: int
    replicas: list[ServiceProcess]
    redis: RedisServer


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    # For the connections of all requests at once.
    raise_descriptors()
    directory = tmp_path_factory.mktemp("state")
    with ExitStack() as stack:
        redis = stack.enter_context(running(directory))
        options = "--workers", str(WORKERS), "--state", str(redis.url)
        replicas = [stack.enter_context(serving(*options)) for _ in range(2)]
        [public] = ports(1)
        configuration = directory / "haproxy.cfg"
        first, second = (each.port for each in replicas)
        configuration.write_text(CONFIGURATION.format(public=public, first=first, second=second))
        stack.enter_context(balancing(configuration, public))
        yield Fleet(public, replicas, redis)


def turn(response: HTTPResponse) -> int:
    return int(response.headers["Latebin-Turn"])


def put(port: int, name: str, scenario: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=BOUND)
    connection.request("PUT", f"/control/scenarios/{name}", scenario)
    return answer(connection)[0].status


def test_one_sequence(fleet: Fleet) -> None:
    """Each of many requests takes another step of their key when all come at once."""
    paths = "/delayed?delay=0&key=many", "/raw/delayed?delay=0&key=many"
    # Every request is sent before the first answer is read.
    asked = [ask(fleet.public, paths[number % 2]) for number in range(MANY)]
    answers = [answer(each)[0] for each in asked]
    assert {each.status for each in answers} == {200}
    assert sorted(map(turn, answers)) == list(range(1, MANY + 1))
    assert all(had_its_part(each.port) for each in fleet.replicas)


def test_scenarios(fleet: Fleet) -> None:
    """A changed scenario is at every worker when one of them has taken it."""
    assert put(fleet.replicas[0].port, "mine", "delay=0&status=418") == 200

    def everywhere() -> bool:
        # A worker of a replica takes whichever connection it accepts first.
        return {status(each.port, "/as/mine/x") for each in fleet.replicas for _ in range(10)} == {418}

    until(everywhere)
    assert put(fleet.public, "mine", "delay=soon") == 400


def test_redis_killed(fleet: Fleet) -> None:
    """The service refuses what needs Redis while it is killed, and needs no restart."""
    port = fleet.replicas[0].port
    assert turn(get(port, "/delayed?delay=0&key=over")[0]) == 1
    fleet.redis.kill()
    until(lambda: figures_of(fleet.replicas[0])["latebin_state_up",] == 0)
    for path in ("/delayed?delay=0&key=over", "/raw/delayed?delay=0&seed=7", "/control/keys"):
        response, body = get(port, path)
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
        assert b'"parameter": "state"' in body
    assert put(port, "mine", "delay=1s") == 503
    for path in ("/delayed?delay=0", "/delayed?delay=1ms..2ms", "/as/mine/x", "/readyz", "/control/scenarios"):
        assert status(port, path) == (418 if path == "/as/mine/x" else 200)
    # A worker that dies meanwhile has a successor, which waits for Redis.
    replaced = workers(fleet.replicas[0])
    os.kill(replaced[0], signal.SIGKILL)
    until(lambda: len(set(workers(fleet.replicas[0])) - {replaced[0]}) == WORKERS)
    assert fleet.replicas[0].popen.poll() is None
    fleet.redis.start()
    until(lambda: figures_of(fleet.replicas[0])["latebin_state_up",] == WORKERS)
    assert figures_of(fleet.replicas[0])["latebin_state_failures_total",] >= 1
    assert turn(get(port, "/delayed?delay=0&key=over")[0]) == 2
    until(lambda: {status(port, "/as/mine/x") for _ in range(10)} == {418})


def workers(process: ServiceProcess) -> list[int]:
    """Return the processes that a service has started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


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


def test_redis_killed_while_answers_wait(fleet: Fleet) -> None:
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


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["alone", "workers"])
def test_away_at_start(options: tuple[str, ...]) -> None:
    """A service ends with an error without the password when Redis cannot be reached."""
    [port] = ports(1)
    state = f"redis://late:s3cret@127.0.0.1:{port}/2"
    with pytest.raises(StartError) as failed, serving(*options, LATEBIN_STATE=state):
        pass
    reason = rf"latebin: cannot reach redis://127\.0\.0\.1:{port}/2: .*refused"
    assert re.search(reason, str(failed.value))
    assert "s3cret" not in str(failed.value)


def test_password(tmp_path: Path) -> None:
    """The password of Redis is in no log and on no page when used."""
    with running(tmp_path, "--requirepass", "s3cret") as redis:
        state = f"redis://:s3cret@127.0.0.1:{redis.port}"
        log = tmp_path / "log"
        with serving(LATEBIN_STATE=state, log=log) as service:
            assert turn(get(service.port, "/delayed?delay=0&key=a")[0]) == 1
            pages: list[Any] = [get(service.port, path)[1] for path in ("/metrics", "/", "/openapi.json")]
            assert service.stop() == 0
            # The service itself closes its connections at the end: nothing is away then.
            assert "is away" not in service.log()
        assert b"s3cret" not in b"".join([*pages, log.read_bytes()])

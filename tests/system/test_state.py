"""Two replicas of two workers behind HAProxy, whose state is in one Redis."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import attrs
import pytest

pytest.importorskip("txredisapi")

from latebin.server.machine import raise_descriptors
from latebin.testing.process import ServiceProcess, StartError, serving
from tests.support.haproxy import HAPROXY, answered, balancing
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
    assert all(answered(each.port) for each in fleet.replicas)


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

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from latebin.testing.process import ServiceProcess, serving
from tests.support.haproxy import CLIENTS, HAPROXY, answered, answers, balancing, load
from tests.support.process import ports, until

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")

CONFIGURATION = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option redispatch
frontend public
    bind 127.0.0.1:{public}
    default_backend replicas
backend replicas
    option httpchk GET /readyz
    default-server check inter 100ms fall 1 rise 1
    server first 127.0.0.1:{first}
    server second 127.0.0.1:{second}
"""


@contextmanager
def replica(port: int) -> Iterator[ServiceProcess]:
    with serving("--port", str(port), "--shutdown-delay", "5s", "--drain-timeout", "30s") as process:
        until(lambda: answers(port))
        yield process


def test_rolling_replacement(tmp_path: Path) -> None:
    """Replicas are replaced in turn behind a load balancer without a lost request."""
    public, first, second = ports(3)
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(CONFIGURATION.format(public=public, first=first, second=second))
    over = Event()
    with ThreadPoolExecutor(CLIENTS) as pool, ExitStack() as stack:
        replicas = [(port, stack.enter_context(replica(port))) for port in (first, second)]
        stack.enter_context(balancing(configuration, public))
        stack.callback(over.set)
        paths = ["/delayed/50ms", "/raw/delayed/50ms"] * (CLIENTS // 2)
        asking = [pool.submit(load, public, path, over) for path in paths]
        for port, process in replicas:
            until(partial(answered, port))
            assert process.stop() == 0
            stack.enter_context(replica(port))
            until(partial(answered, port))
        over.set()
        statuses = [status for each in asking for status in each.result()]
    assert set(statuses) == {200}

"""Signals to a service that is at work, in one process and in several."""

import json
import re
import signal
from functools import partial
from typing import Any

import pytest

from latebin.core.endpoints import PREFIXES
from latebin.testing.process import Process, serving
from tests.support.process import answer, ask, ports, refused, status, until
from tests.support.samples import pending

WAITS = "30s"
"""How long the service may wait for its answers, in these tests."""


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def workers(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_process(workers: str) -> None:
    """Pending answers come on time, new clients are refused, and 0 is the exit code.

    SIGHUP and its like end nothing before, and say so in the log.
    """
    with serving("--workers", workers, "--drain-timeout", WAITS) as process:
        waiting = [ask(process.port, f"{prefix}/delayed/2s") for prefix in PREFIXES.values()]
        until(lambda: pending(process.port) == 2)
        for other in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            process.send_signal(other)
            until(partial(said, process, f"{other.name} does nothing"))
        process.send_signal(signal.SIGTERM)
        until(lambda: refused(process.port))
        for connection in waiting:
            response, _ = answer(connection)
            assert (response.status, response.getheader("Connection")) == (200, "close")
        assert process.wait() == 0
        waited = re.findall(r" stopped: waited \S+ for (\d+) pending", process.log())
    assert sum(map(int, waited)) == 2


def said(process: Process, text: str) -> bool:
    return text in process.log()


def test_process_in_time(workers: str) -> None:
    """Answers that are pending after --drain-timeout are refused; the exit code is 0."""
    with serving("--workers", workers, "--drain-timeout", "100ms") as process:
        waiting = [ask(process.port, f"{prefix}/delayed/5m") for prefix in PREFIXES.values()]
        until(lambda: pending(process.port) == 2)
        process.send_signal(signal.SIGTERM)
        for connection in waiting:
            response, body = answer(connection)
            assert (response.status, response.getheader("Connection")) == (503, "close")
            assert json.loads(body)["status"] == 503
        assert process.wait() == 0
        assert "Traceback" not in process.log()


def test_stream_without_end(workers: str) -> None:
    """A stream without end is whole, and is not waited for, when the service stops."""
    # By http.client, which raises at a chunked body that breaks off.
    with serving("--workers", workers, "--drain-timeout", "9m") as process:
        target = "/delayed?delay=0&type=sse&chunks=0&every=20ms"
        connections = [ask(process.port, prefix + target) for prefix in PREFIXES.values()]
        streams = [connection.getresponse() for connection in connections]
        begun = [stream.read(10) for stream in streams]
        process.send_signal(signal.SIGTERM)
        bodies = [stream.read() for stream in streams]
        for stream, connection in zip(streams, connections, strict=True):
            stream.close()
            connection.close()
        assert process.wait() == 0
        assert sum(map(int, re.findall(r"; (\d+) streams without end", process.log()))) == 2
        assert "Traceback" not in process.log()
    assert begun == [b"retry: 100"] * 2
    assert all(body.endswith(b"}\n\n") for body in bodies)


def test_second_signal(workers: str) -> None:
    """A second signal stops the process at once, with the exit code for lost answers."""
    with serving("--workers", workers, "--drain-timeout", WAITS) as process:
        waiting = ask(process.port, "/delayed/5m")
        until(lambda: pending(process.port) == 1)
        process.send_signal(signal.SIGINT)
        until(lambda: refused(process.port))
        assert process.stop(signal.SIGINT) == 1
        waiting.close()
        assert "stopped by a second signal: 1 pending broken off" in process.log()
        assert "Traceback" not in process.log()


def test_shutdown_delay(workers: str) -> None:
    """The service answers, but is not ready, during --shutdown-delay.

    The operator's pages have their own address, which serves until the last answer.
    """
    [port] = ports(1)
    admin = "--admin-listen", f"tcp:{port}:interface=127.0.0.1"
    with serving("--workers", workers, *admin, "--shutdown-delay", "2s", "--drain-timeout", WAITS) as process:
        pages = ["/healthz", "/readyz", "/metrics"]
        assert [status(process.port, page) for page in pages] == [404] * 3
        assert [status(port, page) for page in [*pages, "/", "/delayed/0"]] == [200, 200, 200, 404, 404]
        described: Any = json.loads(answer(ask(process.port, "/openapi.json"))[1])
        assert not set(pages) & set(described["paths"])
        waiting = ask(process.port, "/delayed/6s")
        until(lambda: pending(port) == 1)
        process.send_signal(signal.SIGINT)
        until(lambda: status(port, "/readyz") == 503)
        assert status(port, "/healthz") == 200
        assert status(process.port, "/raw/delayed/10ms") == 200
        until(lambda: refused(process.port))
        assert [status(port, page) for page in pages] == [200, 503, 200]
        assert answer(waiting)[0].status == 200
        assert process.wait() == 0

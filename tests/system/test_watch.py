"""`latebin watch` through real proxies."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from latebin.testing.process import serving
from tests.support.haproxy import balancing
from tests.support.nginx import nginx
from tests.support.process import BOUND, environment, ports

STREAM = "/delayed?delay=10ms&type=sse&chunks=6&every=100ms"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving() as process:
        yield process.port


def watch(port: int, prefix: str) -> tuple[int, str, dict[str, object]]:
    command = [sys.executable, "-m", "latebin", "watch", "--json", f"http://127.0.0.1:{port}{prefix}{STREAM}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND, env=environment(), check=False)
    found = json.loads(done.stdout)
    return done.returncode, found["verdict"], found["burst"]


def test_direct(port: int, prefix: str) -> None:
    """A stream comes through when nothing is on the way."""
    code, verdict, burst = watch(port, prefix)
    assert code == 0
    assert burst is None
    assert verdict.startswith("Streams through: 6 events")


@pytest.mark.parametrize(
    ("settings", "buffers"),
    [
        (("proxy_buffering off",), False),
        (("proxy_buffering on",), False),
        (("proxy_buffering on", "proxy_ignore_headers X-Accel-Buffering"), True),
    ],
    ids=["off", "on, and the header switches it off", "on"],
)
def test_nginx(port: int, prefix: str, tmp_path: Path, settings: tuple[str, ...], buffers: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """A stream through nginx is held back when nginx ignores the header against it."""
    with nginx(tmp_path / "nginx", port, *settings) as front:
        code, verdict, burst = watch(front, prefix)
    assert code == (1 if buffers else 0), verdict
    assert verdict.startswith("Buffered" if buffers else "Streams through")
    assert (burst is not None) == buffers


@pytest.mark.parametrize(("option", "buffers"), [("http-no-delay", False), ("dontlognull", True)])
def test_haproxy(port: int, prefix: str, tmp_path: Path, option: str, buffers: bool) -> None:  # noqa: FBT001  # as above
    """A stream through HAProxy is held back for 200 ms, except with http-no-delay."""
    [front] = ports(1)
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(
        "defaults\n mode http\n timeout connect 9s\n timeout client 60s\n timeout server 60s\n"
        f"listen front\n bind 127.0.0.1:{front}\n option {option}\n server one 127.0.0.1:{port}\n"
    )
    with balancing(configuration, front):
        code, verdict, _ = watch(front, prefix)
    assert code == (1 if buffers else 0), verdict

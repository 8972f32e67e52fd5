import json
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import attrs
import pytest
from twisted.internet.task import Clock

from latebin.answers.pending import Capacity
from latebin.answers.service import Service
from latebin.core.endpoints import PREFIXES
from latebin.core.settings import Settings
from latebin.server import machine
from latebin.site.factory import ServiceSite
from latebin.site.root import Root
from latebin.testing.process import serving
from tests.support.process import BOUND, environment, get, until
from tests.support.samples import figures, figures_of
from tests.support.wire import House

ROOM = 2


@pytest.fixture
def full(house: House) -> House:
    """The whole service with an answer of each style pending, without capacity for another."""
    capacity, clock = Capacity(ROOM), house.clock
    klein, resource = (Service(clock, Settings(), capacity=capacity) for _ in PREFIXES)
    root = Root(klein, resource, Settings())
    full = attrs.evolve(house, klein=klein, resource=resource, root=root, site=ServiceSite(root, clock, Clock()))
    for prefix in PREFIXES.values():
        ask(full, f"{prefix}/delayed/1s")
    assert root.pending == ROOM
    return full


def ask(house: House, target: str, method: str = "GET") -> bytes:
    wire = house.wire()
    wire.send(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return wire.received


@pytest.mark.parametrize("target", ["/delayed/1s", "/delay/1", "/drip"])
def test_full(full: House, style: str, prefix: str, target: str) -> None:
    """A request is answered 503 at once when both styles together are at the limit."""
    head, _, body = ask(full, prefix + target).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 1" in head
    assert b"\r\nContent-Type: application/problem+json\r\n" in head
    assert json.loads(body).keys() == {"type", "title", "status", "detail"}
    assert figures(full)["latebin_refused_total", "503", style] == 1
    full.clock.advance(1)


def test_accepted_while_full(full: House, prefix: str) -> None:
    """An accepted request is answered when it is due, and then there is room again."""
    ask(full, f"{prefix}/delayed/1s")
    full.clock.advance(1)
    wire = full.wire()
    wire.send(f"GET {prefix}/delayed/1s HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    full.clock.advance(1)
    assert wire.received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert figures(full)["latebin_lateness_seconds_sum", "klein"] == 0


@pytest.mark.parametrize("target", ["/delayed/1s", "/delay/1", "/drip", "/via/api/"])
def test_every_wait_needs_room(full: House, prefix: str, target: str) -> None:
    """A late answer is refused when there is no room for it."""
    assert ask(full, prefix + target).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    full.clock.advance(1)


@pytest.mark.parametrize("target", ["/", "/healthz", "/metrics", "/predict", "/raw/predict"])
def test_never_refused(full: House, target: str) -> None:
    """A page that is answered at once is never refused when there is no room."""
    assert ask(full, target).startswith(b"HTTP/1.1 200 OK\r\n")
    full.clock.advance(1)


def test_a_refusal_takes_no_turn(full: House, prefix: str) -> None:
    """A seed draws for answered requests alone when others are refused."""
    target = f"{prefix}/delayed?delay=1s..2s&seed=5"
    ask(full, target)
    full.clock.advance(1)
    wires = [full.wire() for _ in range(2)]
    wires[0].send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    wires[1].send(f"GET {target}&n=1 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    full.clock.advance(2)
    first, same = (wire.received.partition(b"asked;dur=")[2].partition(b"\r")[0] for wire in wires)
    assert first == same != b""


@pytest.fixture
def descriptors() -> Iterator[tuple[int, int]]:
    """The limit of descriptors of this process, restored afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield soft, hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_raise_descriptors(descriptors: tuple[int, int]) -> None:
    """The soft limit of descriptors is the hard one when it has been raised."""
    _, hard = descriptors
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard // 2, hard))
    machine.raise_descriptors()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


@pytest.mark.parametrize(("soft", "most"), [(20_000, 17_968), (1024, 889), (16, 1), (resource.RLIM_INFINITY, None)])
def test_most_pending(monkeypatch: pytest.MonkeyPatch, soft: int, most: int | None) -> None:
    """The most pending answers leave descriptors for refusals when these are few or many."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    assert machine.most_pending() == most


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 4), ("150000 100000", 2), ("50000 100000", 1), ("900000 100000", 4)]
)
def test_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, cores: int) -> None:
    """A container's share of CPU time counts when it is less than the cores."""
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)))
    assert machine.cores() == cores


def test_cores_without_a_cgroup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All cores count when there is no cgroup."""
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)))
    assert machine.cores() == 4


@pytest.mark.parametrize(("cores", "most"), [(1, 4), (2, 8), (64, 256), (100, 256)])
def test_most_workers(monkeypatch: pytest.MonkeyPatch, cores: int, most: int) -> None:
    """There can be four workers per core, and 256 at most."""
    monkeypatch.setattr(machine, "cores", lambda: cores)
    assert machine.most_workers() == most


MEMINFO = "MemTotal:        1000000 kB\nMemFree:   1000 kB\nMemAvailable:     500000 kB\n"

STAT = "anon 1\ninactive_file 1024\nslab 2\n"


@pytest.mark.parametrize(
    ("meminfo", "most", "available"),
    [
        (MEMINFO, "max", 500_000 * 1024),
        (MEMINFO, "409600", 409_600 - 100_000 + 1024),
        (None, "409600", 409_600 - 100_000 + 1024),
        (MEMINFO, "50000", 0),
        (MEMINFO, None, 500_000 * 1024),
        ("nothing", None, None),
    ],
)
def test_available_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, meminfo: str | None, most: str | None, available: int | None
) -> None:
    """The memory that is left is the machine's or the cgroup's when that is less."""
    if meminfo is not None:
        (tmp_path / "meminfo").write_text(meminfo)
    if most is not None:
        for name, text in (("memory.max", most), ("memory.current", "100000"), ("memory.stat", STAT)):
            (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "meminfo")
    assert machine.available_memory() == available


def test_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are refused, and `auto` means fewer, when the memory cannot hold them."""
    monkeypatch.setattr(machine, "available_memory", lambda: 100 * 1024**2)
    monkeypatch.setattr(machine, "cores", lambda: 8)
    machine.check_workers(2, 1024**2)
    with pytest.raises(ValueError, match="3 workers need 123 MiB of memory, and 100 MiB are available"):
        machine.check_workers(3, 1024**2)
    assert machine.fitting_workers() == 2


def test_too_few_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are refused when their pipes need more descriptors than the process may open."""
    monkeypatch.setattr(machine, "available_memory", lambda: None)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (40, 40))
    machine.check_workers(2, 0)
    with pytest.raises(ValueError, match="8 workers need 56 file descriptors, and 40 may be open"):
        machine.check_workers(8, 0)


def test_few_descriptors_for_workers() -> None:
    """A service with more workers than its descriptors allow is refused in one line."""
    command = [sys.executable, "-c", LIMITED.format(36), "serve", "--port", "0", "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND, check=False, env=environment())
    refusal = "latebin: --workers: 2 workers need 38 file descriptors, and 36 may be open\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", refusal)


def test_max_pending() -> None:
    """A second request is refused in either style when one answer may be pending."""
    with serving("--max-pending", "1") as process:
        first = HTTPConnection("127.0.0.1", process.port, timeout=BOUND)
        first.request("GET", "/delayed/5m")
        until(lambda: get(process.port, "/raw/delayed/0")[0].status == 503)
        assert get(process.port, "/healthz")[0].status == 200
        first.close()
        until(lambda: get(process.port, "/raw/delayed/0")[0].status == 200)


DESCRIPTORS = 64

CLIENTS = 200


def test_out_of_descriptors() -> None:
    """Some clients are answered on time, and the others closed, when descriptors run out."""
    with serving() as process:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        with ThreadPoolExecutor(CLIENTS) as pool:
            answers = list(pool.map(lambda _: delay(process.port), range(CLIENTS)))
        answered = [answer for answer in answers if answer is not None]
        assert 0 < len(answered) < CLIENTS
        assert all(status == 200 and measured >= 2000 for status, measured in answered)
        for path in ("/delayed/0", "/raw/delayed/0", "/metrics"):
            assert get(process.port, path)[0].status == 200
        assert figures_of(process)["latebin_accept_failures_total",] > 0
        assert process.stop() == 0
        said = re.findall("cannot accept connections: (.*)", process.log())
    assert said == [f"EMFILE, Too many open files; this process may open {DESCRIPTORS} descriptors"]


LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({0}, {0}))
from latebin.cli.main import main
main()
"""


def test_few_descriptors() -> None:
    """A process keeps descriptors for refusals when no limit of pending answers is set."""
    with serving(program=("-c", LIMITED.format(DESCRIPTORS))) as process:
        pending = [HTTPConnection("127.0.0.1", process.port, timeout=BOUND) for _ in range(25)]
        for connection in pending:
            connection.request("GET", "/raw/delayed/5m")
        until(lambda: figures_of(process)["latebin_pending", "resource"] == 25)
        assert get(process.port, "/delayed/0")[0].status == 503
        pending[0].close()
        until(lambda: get(process.port, "/delayed/0")[0].status == 200)
        for connection in pending:
            connection.close()


def delay(port: int) -> tuple[int, float] | None:
    """Ask for a delay of 2 s; return the status and the measured milliseconds.

    A connection that is cut gives None.
    """
    try:
        response, _ = get(port, "/raw/delayed/2s")
    except (HTTPException, OSError):
        return None
    return response.status, float(str(response.getheader("Server-Timing")).partition("delay;dur=")[2].partition(",")[0])

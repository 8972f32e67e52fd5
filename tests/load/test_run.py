"""Runs against a server of known lateness and known faults."""

import gc
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import pytest

from latebin.load import footprint
from latebin.load.generator import Connections
from latebin.load.percentiles import Percentiles
from latebin.load.report import CPU_BOUND, LAG_BOUND, SCHEMA, Cost, Report, Verdict, as_json
from latebin.load.run import run, run_apart
from latebin.load.schedule import RunError, make_schedule
from latebin.testing.process import serving
from tests.support.certificate import listening
from tests.support.late_server import CYCLE, LateServer, late_server, refusing_port
from tests.support.reports import GOOD, SCHEDULE

DELAY = SCHEDULE.delay

LATE = 0.03

BOTH = pytest.mark.parametrize("connections", ["keep", "fresh"])

GRACE = 30.0
"""Long enough for any machine: each run ends with its last answer."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LateServer]:
    with late_server(DELAY + LATE, tmp_path_factory.mktemp("measure") / "stderr") as server:
        yield server


@pytest.fixture(autouse=True)
def _frozen() -> None:
    """The objects of pytest: each run looks for garbage, and ends with `gc.unfreeze`."""
    gc.freeze()


def assert_nothing_is_lost(report: Report) -> None:
    assert report.sent == report.schedule.count
    assert report.sent == report.answered + sum(report.errors.values()) + report.unfinished


@BOTH
@pytest.mark.parametrize("path", ["/sized", "/chunked", "/close-delimited"])
def test_lateness_is_never_less_than_the_server_s(server: LateServer, path: str, connections: Connections) -> None:
    """Each answer counts once, and with at least the server's lateness, for each framing."""
    report = run(server.url(path), SCHEDULE, connections=connections, grace=GRACE)
    assert_nothing_is_lost(report)
    assert (report.answered, report.early, report.errors) == (SCHEDULE.count, 0, {})
    assert report.lateness is not None
    assert report.lateness.number == len(SCHEDULE.measured)
    assert report.lateness.least >= LATE
    assert report.lateness.p50 >= LATE


@BOTH
def test_tls(tmp_path: Path, connections: Connections) -> None:
    """A server is measured over TLS when its certificate is valid or ignored."""
    schedule = make_schedule(rate=50, delay=0.05, duration=0.2, warm_up=0)
    with serving("--listen", listening(tmp_path / "localhost.pem")) as process:
        url = f"{process.url}/delayed/{{delay}}"
        report = run(url, schedule, connections=connections, grace=GRACE, insecure=True)
        refused = run(url, schedule, connections=connections, grace=GRACE)
    assert_nothing_is_lost(report)
    assert (report.answered, report.early, report.errors) == (schedule.count, 0, {})
    assert refused.errors == {"TLS CERTIFICATE_VERIFY_FAILED": schedule.count}


def test_memory_is_never_below_zero(server: LateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of a pending answer is unknown when the server's memory has shrunk meanwhile."""
    sizes = iter([3000, 2000, 1000])

    def read(_: object) -> footprint.Footprint:
        return footprint.Footprint(cpu=0.0, memory=next(sizes), source="pss")

    monkeypatch.setattr(footprint, "read", read)
    report = run(server.url("/sized"), SCHEDULE, grace=GRACE, pids=[server.process.pid])
    assert report.cost is not None
    assert (report.cost.idle, report.cost.plateau, report.cost.per_pending) == (3000, 1000, None)


@BOTH
def test_each_failure_is_counted_by_its_kind(server: LateServer, connections: Connections) -> None:
    """A report counts each kind of failure when each is a seventh of the answers."""
    schedule = make_schedule(rate=100, delay=0, duration=0.42, warm_up=0)
    report = run(server.url("/cycle"), schedule, connections=connections, grace=GRACE)
    assert_nothing_is_lost(report)
    kinds = ("status 500", "garbage", "short", "closed", "surplus", "ECONNRESET")
    share = schedule.count // len(CYCLE)
    assert report.errors == dict.fromkeys(kinds, share)
    assert (report.answered, report.unfinished) == (share, 0)
    assert report.verdict in {Verdict.FLAWED, Verdict.BOTTLENECK}


@BOTH
def test_a_server_that_never_answers_cannot_hold_a_run_up(server: LateServer, connections: Connections) -> None:
    """Requests are unfinished and have no lateness when the server never answers."""
    report = run(server.url("/silent"), SCHEDULE, connections=connections, grace=0)
    assert report.unfinished == report.sent > 0
    assert report.lateness is None
    assert report.elapsed >= SCHEDULE.span + DELAY


@BOTH
def test_refused_connections_are_errors(connections: Connections) -> None:
    """Each request counts as an error when the server refuses connections."""
    report = run(f"http://127.0.0.1:{refusing_port()}/", SCHEDULE, connections=connections)
    assert_nothing_is_lost(report)
    assert report.errors == {"ECONNREFUSED": SCHEDULE.count}


def test_fresh_opens_a_connection_for_each_request(server: LateServer) -> None:
    """A run opens a connection for each request when connections are fresh."""
    assert run(server.url("/sized"), SCHEDULE, connections="fresh", grace=GRACE).opened == SCHEDULE.count


def test_a_report_has_the_server_s_cost(server: LateServer) -> None:
    """A report has the server's CPU time and memory when its process id is given."""
    cost = run(server.url("/sized"), SCHEDULE, grace=GRACE, pids=[server.process.pid]).cost
    assert cost is not None
    assert cost.cpu_per_answer is None or cost.cpu_per_answer >= 0
    assert cost.idle > 1_000_000
    assert cost.plateau > 1_000_000


def test_a_server_that_ends_has_no_cost(server: LateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report has no cost when the server's process ends during the run."""
    footprints = iter([footprint.read([server.process.pid])])

    def read_once(pids: object) -> object:
        for found in footprints:
            return found
        raise RunError

    monkeypatch.setattr(footprint, "read", read_once)
    assert run(server.url("/sized"), SCHEDULE, grace=GRACE, pids=[1]).cost is None


def test_the_collector_is_as_it_was_after_a_run(server: LateServer) -> None:
    """The collector is enabled, and nothing is frozen, when a run has ended."""
    assert gc.isenabled()
    run(server.url("/sized"), SCHEDULE, grace=GRACE)
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_a_run_needs_no_main_thread(server: LateServer) -> None:
    """A run succeeds when its thread cannot set a signal handler."""
    with ThreadPoolExecutor(1) as threads:
        report = threads.submit(run, server.url("/sized"), SCHEDULE, grace=GRACE).result()
    assert_nothing_is_lost(report)
    assert report.answered == SCHEDULE.count


def test_a_run_can_have_a_process_of_its_own(server: LateServer) -> None:
    """`run_apart` returns a complete report when the run has a process of its own."""
    report = run_apart(server.url("/sized"), SCHEDULE, connections="fresh", grace=GRACE)
    assert_nothing_is_lost(report)
    assert report.answered == report.opened == SCHEDULE.count


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("ftp://127.0.0.1/", {}, "http://"),
        ("http://127.0.0.1/", {"grace": -1}, "grace is -1"),
        ("http://127.0.0.1/", {"grace": 61}, "between 0 and 60"),
        ("http://127.0.0.1/", {"pids": [2**22 + 1]}, "process 4194305 does not exist"),
    ],
)
def test_an_impossible_run_is_refused(url: str, options: dict[str, Any], words: str) -> None:
    """`run` raises RunError with the reason when an argument is invalid."""
    with pytest.raises(RunError, match=words):
        run(url, SCHEDULE, **options)


def test_more_pending_than_descriptors_is_refused() -> None:
    """`run` raises RunError when it needs more connections than the limit of open files."""
    with pytest.raises(RunError, match="ulimit"):
        run("http://127.0.0.1/", make_schedule(pending=1_900_000, delay=600, duration=1))


def test_an_unknown_host_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """`run` raises RunError when the host has no address."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(RunError, match="Name or service not known"):
        run("http://nowhere.invalid/", SCHEDULE)


def test_an_address_that_accepts_connections_is_chosen(server: LateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run uses the address that accepts connections when a host has several."""
    refusing, serving = ((2, 1, 6, "", ("127.0.0.1", port)) for port in (refusing_port(), server.port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [refusing, serving])
    assert run("http://localhost/sized", SCHEDULE, grace=GRACE).answered == SCHEDULE.count


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Verdict.PUNCTUAL),
        ({"early": 1}, Verdict.FLAWED),
        ({"errors": {"closed": 1}}, Verdict.FLAWED),
        ({"unfinished": 1}, Verdict.FLAWED),
        ({"sent": 1}, Verdict.FLAWED),
        ({"interrupted": True, "early": 1}, Verdict.INTERRUPTED),
        ({"lag": Percentiles.of([LAG_BOUND * 2]), "interrupted": True}, Verdict.BOTTLENECK),
        ({"cpu": CPU_BOUND * 1.01}, Verdict.BOTTLENECK),
        ({"errors": {"EMFILE": 1}}, Verdict.BOTTLENECK),
    ],
)
def test_the_verdict_follows_from_the_figures(changes: dict[str, Any], verdict: Verdict) -> None:
    """A bottleneck goes before an interruption, and that before a flaw, in the verdict."""
    report = attrs.evolve(GOOD, **changes)
    assert report.verdict is verdict
    assert bool(report.bottlenecks) is (verdict is Verdict.BOTTLENECK)


def test_json_has_what_its_docstring_says() -> None:
    """JSON has the documented fields, times in milliseconds, and null when a figure is missing."""
    written = json.loads(json.dumps(as_json(GOOD)))
    assert written["schema"] == SCHEMA
    assert as_json.__doc__ is not None
    assert all(f"`{field}`" in as_json.__doc__ for field in written)
    assert written["plan"]["delay_ms"] == DELAY * 1000
    assert written["lateness"]["max_ms"] == 1
    assert written["server"] is None
    assert as_json(attrs.evolve(GOOD, lateness=None))["lateness"] is None


def test_json_has_the_server_s_cost_in_bytes_and_microseconds() -> None:
    """JSON has the units of its field names when a report has a cost."""
    cost = Cost(cpu_per_answer=0.0001, idle=1000, plateau=2000, per_pending=None, source="pss")
    assert as_json(attrs.evolve(GOOD, cost=cost))["server"] == {
        "cpu_per_answer_us": 100,
        "idle_bytes": 1000,
        "plateau_bytes": 2000,
        "per_pending_bytes": None,
        "memory": "pss",
    }

"""The whole measurement, against a server of known lateness and known faults: no figure flatters, none is lost."""

import gc
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from latebin.load import footprint
from latebin.load.generator import Connections
from latebin.load.percentiles import Percentiles
from latebin.load.report import CPU_BOUND, LAG_BOUND, SCHEMA, Cost, Report, Verdict, as_json
from latebin.load.run import run, run_apart
from latebin.load.schedule import RunError, agree
from tests.support.late_server import CYCLE, LateServer, late_server, refusing_port

DELAY = 0.05

LATE = 0.03

BOTH = pytest.mark.parametrize("connections", ["keep", "fresh"])

SCHEDULE = agree(rate=100, delay=DELAY, duration=0.27, warm_up=0.08)

GRACE = 30.0
"""Long enough for any machine: what ends a run is that everything is answered."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LateServer]:
    with late_server(DELAY + LATE, tmp_path_factory.mktemp("measure") / "stderr") as server:
        yield server


def assert_nothing_is_lost(report: Report) -> None:
    assert report.sent == report.schedule.count
    assert report.sent == report.answered + sum(report.errors.values()) + report.unfinished


@BOTH
@pytest.mark.parametrize("path", ["/sized", "/chunked", "/close-delimited"])
def test_lateness_is_never_less_than_the_server_s(server: LateServer, path: str, connections: Connections) -> None:
    """Whatever the framing, each answer is counted once, none is early, and each is at least as late as it was made."""
    report = run(server.url(path), SCHEDULE, connections=connections, grace=GRACE)
    assert_nothing_is_lost(report)
    assert (report.answered, report.early, report.errors) == (SCHEDULE.count, 0, {})
    assert report.lateness is not None
    assert report.lateness.number == len(SCHEDULE.measured)
    assert report.lateness.least >= LATE
    assert report.lateness.p50 >= LATE


@BOTH
def test_each_failure_is_counted_by_its_kind(server: LateServer, connections: Connections) -> None:
    """One in seven each is answered, refused by status and broken in five ways."""
    schedule = agree(rate=100, delay=0, duration=0.42, warm_up=0)
    report = run(server.url("/cycle"), schedule, connections=connections, grace=GRACE)
    assert_nothing_is_lost(report)
    kinds = ("status 500", "garbage", "short", "closed", "surplus", "ECONNRESET")
    share = schedule.count // len(CYCLE)
    assert report.errors == dict.fromkeys(kinds, share)
    assert (report.answered, report.unfinished) == (share, 0)
    assert report.verdict in {Verdict.FLAWED, Verdict.BOTTLENECK}


@BOTH
def test_a_server_that_never_answers_cannot_hold_a_run_up(server: LateServer, connections: Connections) -> None:
    """After the delay and the grace, what has no answer is unfinished, and lateness has no figure."""
    report = run(server.url("/silent"), SCHEDULE, connections=connections, grace=0)
    assert report.unfinished == report.sent > 0
    assert report.lateness is None
    assert report.elapsed >= SCHEDULE.span + DELAY


@BOTH
def test_refused_connections_are_errors(connections: Connections) -> None:
    """A server that is not there fails every request, one by one."""
    report = run(f"http://127.0.0.1:{refusing_port()}/", SCHEDULE, connections=connections)
    assert_nothing_is_lost(report)
    assert report.errors == {"ECONNREFUSED": SCHEDULE.count}


def test_fresh_opens_a_connection_for_each_request(server: LateServer) -> None:
    """Fresh connections are not used twice, even if the server would let them."""
    assert run(server.url("/sized"), SCHEDULE, connections="fresh", grace=GRACE).opened == SCHEDULE.count


def test_the_server_s_cost_is_told_with_its_process_ids(server: LateServer) -> None:
    """CPU and memory of the process are there, and plausible."""
    cost = run(server.url("/sized"), SCHEDULE, grace=GRACE, pids=[server.process.pid]).cost
    assert cost is not None
    assert cost.cpu_per_answer is None or cost.cpu_per_answer >= 0
    assert cost.idle > 1_000_000
    assert cost.plateau > 1_000_000


def test_a_server_that_dies_has_no_cost(server: LateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is told of a process that did not live to the end of the run."""
    footprints = iter([footprint.read([server.process.pid])])

    def read_once(pids: object) -> object:
        for found in footprints:
            return found
        raise RunError

    monkeypatch.setattr(footprint, "read", read_once)
    assert run(server.url("/sized"), SCHEDULE, grace=GRACE, pids=[1]).cost is None


def test_the_collector_is_as_it_was_after_a_run(server: LateServer) -> None:
    """A run leaves the process's collector enabled, with nothing frozen."""
    assert gc.isenabled()
    run(server.url("/sized"), SCHEDULE, grace=GRACE)
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_a_run_needs_no_main_thread(server: LateServer) -> None:
    """Where no signal can be caught, a run does without, and is no different otherwise."""
    with ThreadPoolExecutor(1) as threads:
        report = threads.submit(run, server.url("/sized"), SCHEDULE, grace=GRACE).result()
    assert_nothing_is_lost(report)
    assert report.answered == SCHEDULE.count


def test_a_run_can_have_a_process_of_its_own(server: LateServer) -> None:
    """The report of another process is as whole as one's own."""
    report = run_apart(server.url("/sized"), SCHEDULE, connections="fresh", grace=GRACE)
    assert_nothing_is_lost(report)
    assert report.answered == report.opened == SCHEDULE.count


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("https://127.0.0.1/", {}, "http://"),
        ("http://127.0.0.1/", {"grace": -1}, "grace is -1"),
        ("http://127.0.0.1/", {"grace": 61}, "between 0 and 60"),
        ("http://127.0.0.1/", {"pids": [2**22 + 1]}, "no process"),
    ],
)
def test_a_run_that_cannot_be_is_refused(url: str, options: dict[str, Any], words: str) -> None:
    """Every refusal comes before anything is sent and says what is wrong."""
    with pytest.raises(RunError, match=words):
        run(url, SCHEDULE, **options)


def test_more_pending_than_descriptors_is_refused() -> None:
    """A run that would break its own process's limit of open files is told beforehand."""
    with pytest.raises(RunError, match="ulimit"):
        run("http://127.0.0.1/", agree(pending=1_900_000, delay=600, duration=1))


def test_an_unknown_host_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without an address is wrong usage and not a server's failure."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(RunError, match="Name or service not known"):
        run("http://nowhere.invalid/", SCHEDULE)


def test_the_address_that_takes_connections_is_chosen(server: LateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with several addresses, one of which is served, is measured there."""
    refusing, serving = ((2, 1, 6, "", ("127.0.0.1", port)) for port in (refusing_port(), server.port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [refusing, serving])
    assert run("http://localhost/sized", SCHEDULE, grace=GRACE).answered == SCHEDULE.count


GOOD = Report(
    url="http://127.0.0.1/",
    schedule=SCHEDULE,
    connections="keep",
    began=datetime(2026, 1, 1, tzinfo=UTC),
    elapsed=1.0,
    sent=SCHEDULE.count,
    answered=SCHEDULE.count,
    early=0,
    errors={},
    unfinished=0,
    opened=10,
    pending=5,
    lateness=Percentiles.of([0.001]),
    lag=Percentiles.of([LAG_BOUND / 2]),
    cpu=0.5,
    cost=None,
    interrupted=False,
)


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
    """Nothing is said of the server when the generator was the bottleneck, nor praise when anything went wrong."""
    report = attrs.evolve(GOOD, **changes)
    assert report.verdict is verdict
    assert bool(report.bottlenecks) is (verdict is Verdict.BOTTLENECK)


def test_json_has_what_its_docstring_says() -> None:
    """Every top-level field is named in the documented schema, times are in milliseconds, absent figures are null."""
    written = json.loads(json.dumps(as_json(GOOD)))
    assert written["schema"] == SCHEMA
    assert as_json.__doc__ is not None
    assert all(f"`{field}`" in as_json.__doc__ for field in written)
    assert written["plan"]["delay_ms"] == DELAY * 1000
    assert written["lateness"]["max_ms"] == 1
    assert written["server"] is None
    assert as_json(attrs.evolve(GOOD, lateness=None))["lateness"] is None


def test_json_tells_the_server_s_cost_in_bytes_and_microseconds() -> None:
    """Units are as the names of the fields have them."""
    cost = Cost(cpu_per_answer=0.0001, idle=1000, plateau=2000, per_pending=None, source="pss")
    assert as_json(attrs.evolve(GOOD, cost=cost))["server"] == {
        "cpu_per_answer_us": 100,
        "idle_bytes": 1000,
        "plateau_bytes": 2000,
        "per_pending_bytes": None,
        "memory": "pss",
    }

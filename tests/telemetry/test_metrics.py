import re
from array import array
from collections.abc import Iterator

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock

from latebin.core.endpoints import PREFIXES
from latebin.core.settings import Settings
from latebin.site.factory import admin_site, site
from latebin.telemetry.counters import SharedCounters
from latebin.telemetry.exposition import rendering
from latebin.telemetry.families import BUCKETS, BY_STATUS, START, WIDTH
from latebin.telemetry.metrics import INTERVAL, Metrics, clear_gauges
from latebin.timing.activity import REST
from tests.support.samples import figures, read
from tests.support.turns import pieces
from tests.support.wire import House, Wire


def ask(house: House, target: str, method: str = "GET") -> None:
    house.wire().send(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())


def test_page(house: House) -> None:
    """The page is Prometheus' text format, with every family explained."""
    wire = house.wire()
    wire.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head, _, body = wire.received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n" in head
    families = list(text_string_to_metric_families(body.decode()))
    assert "latebin_lateness_seconds" in {family.name for family in families}
    assert all(family.documentation and family.type != "unknown" for family in families)


@pytest.mark.parametrize("port", ["service", "admin"])
def test_openmetrics(house: House, port: str) -> None:
    """The page is OpenMetrics when the client asks for it, also for the operator."""
    ask(house, "/delayed/0")
    house.clock.advance(0)
    wire = house.wire() if port == "service" else Wire(admin_site(house.site, Clock()), house.clock)
    accept = "Accept: text/plain;q=0.2\r\nAccept: application/openmetrics-text; version=1.0.0; q=0.5"
    wire.send(f"GET /metrics HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n\r\n".encode())
    head, _, body = wire.received.partition(b"\r\n\r\n")
    assert b"\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n" in head
    assert b"\r\nVary: Accept\r\n" in head
    assert body.endswith(b"# EOF\n")
    families = {family.name: family for family in parse_openmetrics(body.decode())}
    [counted] = [sample for sample in families["latebin_answers"].samples if sample.labels["style"] == "klein"]
    assert (counted.name, counted.value) == ("latebin_answers_total", 1)
    assert families["latebin_lateness_seconds"].type == "histogram"


@pytest.mark.parametrize(("method", "status"), [("HEAD", b"200 OK"), ("OPTIONS", b"204 "), ("POST", b"405 ")])
def test_page_methods(house: House, method: str, status: bytes) -> None:
    """The page has no body for HEAD and OPTIONS, and is not for writing."""
    wire = house.wire()
    wire.send(f"{method} /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert wire.received.startswith(b"HTTP/1.1 " + status)


def test_answers(house: House, style: str) -> None:
    """Answers are counted by style, method and status; an invented method is `other`."""
    path = f"{PREFIXES[style]}/delayed/0"
    for target, method in [(path, "GET"), (path, "GET"), (f"{path}?status=503", "POST"), (path, "BREW")]:
        ask(house, target, method)
        house.clock.advance(0)
    samples = figures(house)
    assert samples["latebin_answers_total", "GET", "200", style] == 2
    assert samples["latebin_answers_total", "POST", "503", style] == 1
    assert samples["latebin_answers_total", "other", "405", style] == 1
    assert sum(value for (name, *_), value in samples.items() if name == "latebin_answers_total") == 4


def test_site(house: House) -> None:
    """An answer of neither style is the site's."""
    ask(house, "/healthz")
    assert figures(house)["latebin_answers_total", "GET", "200", "site"] == 1


def test_refused(house: House, style: str) -> None:
    """A refusal is counted apart when its status can be asked for as well."""
    ask(house, f"{PREFIXES[style]}/delayed/soon")
    ask(house, f"{PREFIXES[style]}/delayed/0?status=400")
    house.clock.advance(0)
    samples = figures(house)
    assert samples["latebin_answers_total", "GET", "400", style] == 2
    assert samples["latebin_refused_total", "400", style] == 1


def test_pending(house: House, style: str) -> None:
    """An answer is pending until it is given."""
    ask(house, f"{PREFIXES[style]}/delayed/1s")
    assert figures(house)["latebin_pending", style] == 1
    house.clock.advance(1)
    assert figures(house)["latebin_pending", style] == 0


def test_left(house: House, style: str) -> None:
    """A client that left is counted as such, and as no answer."""
    wire = house.wire()
    wire.send(f"GET {PREFIXES[style]}/delayed HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    wire.leave()
    samples = figures(house)
    assert samples["latebin_left_total", style] == 1
    assert samples["latebin_lateness_seconds_count", style] == 0
    assert not any(name == "latebin_answers_total" for name, *_ in samples)


def test_faults(house: House, style: str) -> None:
    """A fault is counted by its kind, and not as a client that left."""
    ask(house, f"{PREFIXES[style]}/delayed/0?fault=close")
    house.clock.advance(0)
    samples = figures(house)
    assert samples["latebin_faults_total", "close", style] == 1
    assert samples["latebin_left_total", style] == 0


def test_broken(house: House, style: str) -> None:
    """An answer that an upstream broke off is neither a fault nor a client's leaving."""
    wire = house.wire()
    wire.send(f"GET {PREFIXES[style]}/delayed HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    [request] = wire.protocol._channel.requests
    request.broken = True
    wire.leave()
    samples = figures(house)
    assert samples["latebin_broken_total", style] == 1
    assert samples["latebin_left_total", style] == 0


def test_cut(house: House, style: str) -> None:
    """A delay that was drawn too long is counted, even if the client left."""
    target = f"{PREFIXES[style]}/delayed?delay=mix(50%25:9m,50%25:11m)&seed=7&n=3"
    ask(house, target)
    wire = house.wire()
    wire.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    wire.leave()
    house.clock.advance(600)
    assert figures(house)["latebin_cut_total", style] == 2


def test_lateness(house: House, style: str) -> None:
    """The lateness of an answer is in its bucket, bounds included, and in the sum."""
    ask(house, f"{PREFIXES[style]}/delayed/1s")
    house.clock.advance(1.125)
    samples = figures(house)
    buckets = [samples["latebin_lateness_seconds_bucket", bound, style] for bound in ("0.0005", "0.1", "0.25", "+Inf")]
    assert buckets == [0, 0, 1, 1]
    assert samples["latebin_lateness_seconds_sum", style] == 0.125
    assert samples["latebin_lateness_seconds_count", style] == 1
    assert sum(key[0] == "latebin_lateness_seconds_bucket" and key[2] == style for key in samples) == len(BUCKETS)


@pytest.fixture
def looking(house: House) -> Iterator[House]:
    house.site.doStart()
    yield house
    house.site.doStop()


def test_loop_lag(looking: House) -> None:
    """How late the event loop is, is measured while answers are pending."""
    ask(looking, "/delayed/1m")
    looking.clock.advance(INTERVAL)
    looking.clock.advance(INTERVAL + 0.125)
    samples = figures(looking)
    assert samples["latebin_loop_lag_seconds_count",] == 2
    assert samples["latebin_loop_lag_seconds_bucket", "0.0005"] == 1
    assert samples["latebin_loop_lag_seconds_sum",] == 0.125
    looking.clock.advance(60)


def looks(house: House) -> float:
    return figures(house)["latebin_loop_lag_seconds_count",]


def test_looks_become_rare(looking: House) -> None:
    """An idle service looks at itself once in REST seconds."""
    looking.clock.pump([INTERVAL] * round(REST / INTERVAL))
    assert looks(looking) == 1
    looking.clock.advance(INTERVAL)
    assert looks(looking) == 2


@pytest.mark.parametrize("event", ["request", "connection", "disconnect"])
def test_what_ends_a_rest(looking: House, event: str) -> None:
    """An idle service looks at itself after INTERVAL when something happens to it."""
    wire = looking.wire()
    looking.clock.pump([INTERVAL, 1])
    before = looks(looking)
    if event == "request":
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    elif event == "connection":
        looking.wire()
    else:
        wire.leave()
    looking.clock.advance(INTERVAL)
    assert looks(looking) == before + 1


def test_process(looking: House) -> None:
    """The process's usage is in the figures."""
    samples = figures(looking)
    assert samples["process_cpu_seconds_total",] > 0
    assert samples["process_resident_memory_bytes",] > 1_000_000
    assert samples["process_max_fds",] > samples["process_open_fds",] > 3
    assert samples["latebin_workers",] == samples["latebin_worker_starts_total",] == 1


def test_build(house: House) -> None:
    """The versions that run are in the figures."""
    body = house.root.metrics.page().body.decode()
    versions = r'klein="24\.\S+",python="3\.\S+",twisted="\S+",version="\d+\.\d+\.\d+"'
    assert re.search(rf"^latebin_build_info{{{versions}}} 1\.0$", body, re.MULTILINE)


def test_workers_add_up() -> None:
    """Each worker exposes the sum of all; counters of dead workers stay, gauges go."""
    clock, counters = Clock(), SharedCounters(WIDTH, 2)
    waiting = [{"klein": range(3), "resource": range(1)}, {"klein": range(4), "resource": range(0)}]
    first, second = (Metrics(clock, pending, counters, number) for number, pending in enumerate(waiting))
    for metrics in (first, second):
        metrics.start()
    for metrics in (first, second):
        samples = read(metrics.page().body)
        assert (samples["latebin_pending", "klein"], samples["latebin_workers",]) == (7, 2)
    second.stop()
    clear_gauges(counters.row(1))
    samples = read(first.page().body)
    assert (samples["latebin_pending", "klein"], samples["latebin_workers",]) == (3, 1)
    assert samples["latebin_worker_starts_total",] == 2
    first.stop()


def test_a_worker_that_rested_is_seen_by_another() -> None:
    """A worker sees the pending answers of another after INTERVAL when that one has rested."""
    clock, counters = Clock(), SharedCounters(WIDTH, 2)
    first, second = (site(Settings(), clock, counters=counters, worker=number) for number in range(2))
    for worker in (first, second):
        worker.doStart()
    clock.pump([INTERVAL, REST / 2])
    Wire(second, clock).send(b"GET /delayed/1s HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for pending in (1, 1, 1, 0):
        clock.advance(INTERVAL)
        assert read(first.resource.metrics.page().body)["latebin_pending", "klein"] == pending
    for worker in (first, second):
        worker.doStop()


def test_a_worker_goes_on_where_the_one_before_it_died() -> None:
    """CPU time that a worker's predecessor used stays used."""
    counters = SharedCounters(WIDTH)
    used = [cpu_after_a_life(counters) for _ in range(3)]
    assert used[2] - used[1] > used[0]


def cpu_after_a_life(counters: SharedCounters) -> float:
    metrics = Metrics(Clock(), {"klein": (), "resource": ()}, counters)
    metrics.start()
    metrics.stop()
    return read(metrics.page().body)["process_cpu_seconds_total",]


@pytest.mark.parametrize("openmetrics", [False, True])
def test_page_in_pieces(*, openmetrics: bool) -> None:
    """The page is made in small pieces when answers had every status and method."""
    counters = SharedCounters(WIDTH)
    first = START["latebin_answers"]
    cells = BY_STATUS[0].width
    counters.row(0)[first : first + cells] = array("d", [1.0]) * cells
    counted, page = pieces(rendering(counters, openmetrics=openmetrics))
    parse = parse_openmetrics if openmetrics else text_string_to_metric_families
    [answers] = [family for family in parse(page.decode()) if family.name == "latebin_answers"]
    assert sum(sample.value for sample in answers.samples) == len(answers.samples) == cells
    assert page.count(b"# TYPE latebin_answers") == 1
    assert max(counted) < 10_000

"""The client, against a service and against programs that are not one."""

import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from urllib.error import HTTPError
from urllib.parse import parse_qsl, urlsplit
from urllib.request import Request, urlopen

import pytest

from latebin.client import Journal, Latebin, ProblemError, Scenario, UnreachableError
from latebin.testing.process import ServiceProcess, serving, started
from tests.support.process import BOUND, ports

TOKEN = "b" * 40

EDGES = "a b&c=d+e;f#g%h/i?j\u00e4\u2603\"'<>\\"


@pytest.fixture(scope="module")
def service() -> Iterator[ServiceProcess]:
    with serving(LATEBIN_CONTROL_TOKEN=TOKEN) as service:
        yield service


@pytest.fixture
def latebin(service: ServiceProcess, request: pytest.FixtureRequest) -> Iterator[Latebin]:
    """A client with the name of the test as its key."""
    key = request.node.name.partition("[")[0]
    with Latebin(f"{service.url}/", key=key, token=TOKEN) as latebin:
        yield latebin


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(10) as threads:
        yield threads


def status(url: str, **headers: str) -> int:
    """Return the status of an answer."""
    try:
        with urlopen(Request(url, headers=headers), timeout=BOUND) as response:  # noqa: S310  # it is http
            return int(response.status)
    except HTTPError as error:
        error.close()
        return error.code


def test_imports() -> None:
    """The client needs no library beside the standard one when it is imported."""
    script = "import sys, latebin.client; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    with started("-S", "-c", f"{script}; print('done: yes', flush=True)", ready="done: (.*)") as process:
        names = set(process.output.read_text().split("done")[0].split())
    assert names <= sys.stdlib_module_names | {"__main__", "latebin"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (EDGES, EDGES),
        (0, "0"),
        (0.00005, "0.00005"),
        (Decimal("1.50"), "1.50"),
        (timedelta(minutes=2, microseconds=1), "120000001us"),
        ("lognormal(median=80ms,p99=1.2s)", "lognormal(median=80ms,p99=1.2s)"),
    ],
    ids=repr,
)
def test_value(value: str | float | Decimal | timedelta, text: str) -> None:
    """A parameter has its value when the query of the URL is read."""
    url = Latebin("http://h").url(delay=value, retry_after=None)
    assert parse_qsl(urlsplit(url).query) == [("delay", text)]
    assert url.isascii()


def test_url() -> None:
    """A URL has the key in its place when the path takes one."""
    latebin = Latebin("https://h:8/base/", key="t42")
    gate = latebin.gate("late")
    assert repr(gate) == "Gate(name='t42.late', size=None)"
    assert latebin.url() == "https://h:8/base/delayed?key=t42"
    assert latebin.url(prefix="/raw", key="t43", content_type="a/b") == (
        "https://h:8/base/raw/delayed?key=t43&content-type=a%2Fb"
    )
    assert latebin.url(gate="late") == latebin.url(gate=gate) == latebin.url() + "&gate=t42.late"
    assert latebin.url(gate="late:10") == latebin.url(gate=gate.barrier(10)) == latebin.url() + "&gate=t42.late:10"
    assert latebin.url("/delay/3") == "https://h:8/base/delay/3?key=t42"
    assert latebin.url("/predict", delay="1s..3s") == "https://h:8/base/predict?delay=1s..3s"
    assert latebin.url("/as/slow", status="503*2,200") == "https://h:8/base/as/slow;key=t42;status=503*2,200"
    assert latebin.url("/as/slow/v 1/\u00e4?", prefix="/raw") == (
        "https://h:8/base/raw/as/slow;key=t42/v%201/%C3%A4%3F"
    )
    assert latebin.url("/via/api/x") == "https://h:8/base/via/api/x"
    with pytest.raises(ValueError, match="a semicolon"):
        latebin.url("/as/slow", header="a:b;c")
    with pytest.raises(ValueError, match="a slash"):
        latebin.url("/as/slow", header="a:b/c")
    assert Latebin("http://h").url(header=["a:1", "b:2"]) == "http://h/delayed?header=a:1&header=b:2"


def test_headers() -> None:
    """Parameters become headers when a client can only add these."""
    latebin = Latebin("http://h", key="t42")
    assert latebin.headers(delay=1, retry_after=2) == {
        "Latebin-Key": "t42",
        "Latebin-Delay": "1",
        "Latebin-Retry-After": "2",
    }
    with pytest.raises(ValueError, match="several values"):
        latebin.headers(header=["a:1", "b:2"])


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda latebin: latebin.url(prefix="raw"), "prefix: expected '/raw'.* not 'raw'"),
        (lambda latebin: latebin.url(header={"X-A": "1"}), "header: expected a text.* not dict"),
        (lambda latebin: latebin.scenario(body=b"ab"), "body: expected a text.* not bytes"),
        (lambda latebin: latebin.scenario(rule="/a"), "rule: expected a list of mappings.* not '/a'"),
        (lambda latebin: latebin.scenario("x", "delay=1s", status=503), "not both: status"),
        (lambda latebin: latebin.gate("a b"), "gate: expected 1 to 128 letters.* not 't42.a b'"),
        (lambda latebin: latebin.url(gate=":10"), "gate: expected .* not 't42.'"),
        (lambda latebin: latebin.journal(ended=1, timeout="2s"), "timeout: expected a number of seconds.* not '2s'"),
    ],
)
def test_wrong_values(wrong: Callable[[Latebin], object], named: str) -> None:
    """A client refuses a value by its name when the type or form is wrong."""
    with Latebin("http://127.0.0.1:1", key="t42") as latebin, pytest.raises((TypeError, ValueError), match=named):
        wrong(latebin)


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://h", "http://", "http://h/?a=b"])
def test_wrong_url(url: str) -> None:
    """A URL is refused when it is not that of a service."""
    with pytest.raises(ValueError, match="is not the URL of a service"):
        Latebin(url)


def test_no_key() -> None:
    """A method that needs a key raises an error when the client has no key."""
    with pytest.raises(ValueError, match="expected a key"):
        Latebin("http://h").turn()


@pytest.mark.parametrize("prefix", ["", "/raw"])
def test_characters(latebin: Latebin, prefix: str) -> None:
    """The service reads the very text of a parameter when it needs an encoding."""
    header = "X-Edges:a b&c=d+e,f#g%h?i\"'<>\\"
    latebin.scenario("edges", delay=0)
    for path in ("/delayed", f"/as/edges/{EDGES}"):
        with urlopen(latebin.url(path, prefix=prefix, delay=0, header=header)) as response:  # noqa: S310  # it is http
            assert response.headers["X-Edges"] == header.removeprefix("X-Edges:")


def test_several_values(latebin: Latebin) -> None:
    """An answer has each header when a parameter has several values."""
    headers = ["X-One:1", "X-Two:2"]
    for url in (latebin.url(delay=0, header=headers), latebin.scenario(delay=0, header=headers)):
        with urlopen(url) as response:  # noqa: S310  # it is http
            assert (response.headers["X-One"], response.headers["X-Two"]) == ("1", "2")


def test_sequence(latebin: Latebin) -> None:
    """A client that fails twice succeeds, and its key counts until it is forgotten."""
    url = latebin.url(delay=0, status="503*2,200")
    assert [status(url) for _ in range(3)] == [503, 503, 200]
    assert latebin.turn() == 3
    assert [key.turn for key in latebin.keys() if key.key == latebin.key] == [3]  # noqa: SIM118  # a method
    assert latebin.forget()
    assert not latebin.forget()
    assert latebin.turn() == 0


def test_journal(latebin: Latebin, threads: ThreadPoolExecutor) -> None:
    """The journal has the requests of a key and their summary when these have ended."""
    url = latebin.url(delay=0, status="503*1,200")
    assert [status(url), status(url)] == [503, 200]
    journal = latebin.journal(ended=2, timeout=BOUND)
    assert [(each.n, each.status, each.ended) for each in journal.requests] == [
        (1, 503, "answered"),
        (2, 200, "answered"),
    ]
    assert journal.requests[0].id
    assert journal.requests[1].gap_ms is not None
    assert (journal.summary.attempts, journal.complete) == (2, True)
    with pytest.raises(ProblemError) as caught:
        latebin.journal(ended=3, timeout=0.001)
    assert caught.value.status == 408
    with latebin.gate() as gate:
        threads.submit(status, latebin.url(delay=0, gate=gate))
        gate.wait_for(1, timeout=BOUND)
        assert latebin.journal().requests[2].ended is None


def test_journal_of_a_newer_service() -> None:
    """A journal is read when it has members that are unknown, or lacks some."""
    members = {"requests": [{"n": 1, "new": 2}], "summary": {"attempts": 1, "new": 2}, "complete": False, "new": 2}
    journal = Journal.read(members)
    assert (journal.requests[0].n, journal.summary.attempts, journal.complete) == (1, 1, False)


def test_gate(latebin: Latebin, threads: ThreadPoolExecutor) -> None:
    """Answers wait at a gate until the test lets them go."""
    gate = latebin.gate("late")
    answers = [threads.submit(status, latebin.url(delay=0, gate="late")) for _ in range(3)]
    assert gate.wait_for(3, timeout=BOUND) == gate.waiting == 3
    assert [each.waits_for for each in latebin.pending()] == ["gate"] * 3
    assert gate.release() == 1
    latebin.pending()[0].release()
    latebin.pending()[0].end()
    assert sorted(each.result() for each in answers) == [200, 200, 503]
    assert gate.open() == 0
    assert status(latebin.url(delay=0, gate=gate)) == 200
    gate.shut()
    with latebin.gate("late"):
        waiting = threads.submit(status, latebin.url(delay=0, gate=gate))
        gate.wait_for(1, timeout=BOUND)
    assert waiting.result() == 200


def test_barrier(latebin: Latebin, threads: ThreadPoolExecutor) -> None:
    """Ten connections are open at once when a barrier of ten lets their requests go."""
    gate = latebin.gate().barrier(10)
    answers = [threads.submit(status, latebin.url(delay=0, gate=gate)) for _ in range(9)]
    assert gate.wait_for(9, timeout=BOUND) == 9
    assert not any(each.done() for each in answers)
    assert status(latebin.url(delay=0, gate=gate)) == 200
    assert [each.result() for each in answers] == [200] * 9


def test_end_pending(latebin: Latebin, threads: ThreadPoolExecutor) -> None:
    """The answers of one key end when they are ended, and no other answer."""
    with latebin.gate() as gate:
        mine = threads.submit(status, latebin.url(delay=0, gate=gate))
        other = threads.submit(status, latebin.url(delay=0, gate=gate, key="another"))
        gate.wait_for(2, timeout=BOUND)
        assert latebin.end_pending() == 1
        assert mine.result() == 503
        assert [each.key for each in latebin.pending("another")] == ["another"]
    assert other.result() == 200


def test_scenario(latebin: Latebin) -> None:
    """A scenario answers at its base URL until it is reset."""
    rule = {"path": "/v1/refunds", "status": 402, "delay": timedelta(0)}
    with latebin.scenario("payments", delay=0, status=201, rule=[rule]) as base:
        assert isinstance(base, Scenario)
        assert base == latebin.url("/as/payments")
        assert status(f"{base}/v1/charges?limit=5") == 201
        assert status(f"{base}/v1/refunds") == 402
    assert status(base) == 404
    base.reset()
    slow = latebin.scenario("slow", "delay=0&status=418")
    assert status(slow) == 418
    slow.reset()
    assert status(latebin.scenario(given={"delay": "0", "status": 202})) == 202
    assert status(latebin.url("/via/x"), **latebin.headers(delay=0)) == 404


def test_close(service: ServiceProcess, threads: ThreadPoolExecutor) -> None:
    """Gates are open and scenarios reset when the context of a client ends."""
    with Latebin(service.url, key="closing", token=TOKEN) as latebin:
        base = latebin.scenario(delay=0)
        gate = latebin.gate("late")
        answer = threads.submit(status, latebin.url(delay=0, gate=gate))
        gate.wait_for(1, timeout=BOUND)
    assert answer.result() == 200
    assert status(latebin.url(delay=0, gate=gate)) == 200
    assert status(base) == 404


def test_problem(latebin: Latebin) -> None:
    """An error has the members of the problem when the service refuses."""
    with pytest.raises(ProblemError) as caught:
        latebin.scenario("payments", delya="1s")
    problem = caught.value
    assert (problem.status, problem.title, problem.parameter, problem.given) == (400, "Bad Request", "delya", "1s")
    assert problem.accepted is not None
    assert problem.accepted.startswith("the parameters delay, ")
    assert str(problem).startswith(f"400 Bad Request: {problem.detail} Given: '1s'. Accepted: the parameters delay,")
    copy = pickle.loads(pickle.dumps(problem))  # noqa: S301  # its own
    assert (str(copy), copy.given) == (str(problem), "1s")


def test_timeout(latebin: Latebin) -> None:
    """The error says how many wait when too few come to a gate."""
    with pytest.raises(ProblemError, match="0 answers wait at the gate") as caught:
        latebin.gate("late").wait_for(1, timeout=0.001)
    assert (caught.value.status, caught.value.parameter) == (408, "waiting")


def test_token(service: ServiceProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control takes the token of the environment when none is given."""
    with pytest.raises(ProblemError, match="The token is missing or wrong") as caught:
        Latebin(service.url).keys()
    assert caught.value.status == 403
    monkeypatch.setenv("LATEBIN_CONTROL_TOKEN", TOKEN)
    assert isinstance(Latebin(service.url).keys(), list)
    with pytest.raises(ProblemError):
        Latebin(service.url, token="wrong").keys()  # noqa: S106  # it is not a secret


def test_admin() -> None:
    """Control is asked at an address of its own when the service has one."""
    [port] = ports(1)
    with serving("--admin-listen", f"tcp:{port}:interface=127.0.0.1") as service:
        latebin = Latebin(service.url, control=f"http://127.0.0.1:{port}", key="t42")
        assert latebin.ready()
        assert status(latebin.url(delay=0)) == 200
        assert latebin.turn() == 1


def test_unreachable() -> None:
    """The error names the URL when nothing listens there, and the service is not ready."""
    [port] = ports(1)
    latebin = Latebin(f"http://127.0.0.1:{port}", key="k")
    assert not latebin.ready()
    with pytest.raises(UnreachableError, match=rf"GET http://127.0.0.1:{port}/control/keys: .*refused"):
        latebin.keys()


def test_another_program() -> None:
    """The error says so when another program answers."""
    with started("-u", "-m", "http.server", "0", "--bind", "127.0.0.1", ready=r" port (\d+) ") as other:
        latebin = Latebin(f"http://127.0.0.1:{other.found[0]}")
        assert not latebin.ready()
        with pytest.raises(ProblemError, match="404 File not found"):
            latebin.keys()

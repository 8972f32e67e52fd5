"""Scenarios at every path and on ports, `/control` and CORS, in memory."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from latebin.compare.contract import comparable
from latebin.core.endpoints import ENDPOINTS, PREFIXES, Endpoint
from latebin.core.settings import Settings
from latebin.site.factory import ServiceSite, admin_site, scenario_site, site
from tests.support.wire import Wire

Ask = Callable[..., bytes]


def service(**chosen: Any) -> tuple[ServiceSite, Clock]:
    clock = Clock()
    given = {"payments": "delay=10ms&status=418", "web": "delay=10ms&upstream=up"}
    settings = Settings(scenarios=given, upstreams={"up": "http://up.test"}, **chosen)
    return site(settings, clock), clock


def ask(
    made: ServiceSite, clock: Clock, target: str, method: str = "GET", body: str = "", **headers: str
) -> tuple[int, str, str]:
    """Send one request, let a second pass, and return status, headers and body."""
    wire = Wire(made, clock)
    fields = {
        "Host": "localhost",
        "Content-Length": str(len(body)),
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    wire.send(f"{method} {target} HTTP/1.1\r\n{lines}\r\n{body}".encode())
    clock.advance(1)
    head, _, content = wire.received.decode().partition("\r\n\r\n")
    wire.leave()
    found = re.match(r"HTTP/1\.1 (\d+)", head)
    assert found, "no answer"
    return int(found[1]), head, content


@pytest.mark.parametrize(
    "target", ["/nothing", "/v1/users?delay=x&limit=5", "/a%2Fb//c", "/%ff", "/delayed/1s/more", "/raw/nothing", "/asx"]
)
@pytest.mark.parametrize("stack", ["tuned", "stock"])
def test_default(stack: str, target: str) -> None:
    """Any other path is the default scenario's when there is one."""
    made, clock = service(default_scenario="payments", stack=stack)
    assert ask(made, clock, target, "POST", "dropped")[0] == 418
    assert ask(made, clock, "/delayed/10ms")[0] == 200
    assert ask(made, clock, "/healthz")[0] == 200
    assert ask(*service(), target)[0] in {400, 404}


OTHERS = [each for each in ENDPOINTS if each.styled and each.path != "/as/{name}"]


@pytest.mark.parametrize("endpoint", OTHERS, ids=lambda each: each.path)
def test_default_and_endpoints(endpoint: Endpoint) -> None:
    """A default scenario leaves the path of an endpoint alone, in either style."""
    made, clock = service(default_scenario="payments", default_delay=0.0, max_delay=0.5)
    assert [ask(made, clock, prefix + endpoint.example)[0] for prefix in PREFIXES.values()] == [200, 200]


@pytest.mark.parametrize("stack", ["tuned", "stock"])
@pytest.mark.parametrize("target", ["/", "/healthz", "/delayed/10ms", "/raw/x", "/control/scenarios", "/%ff"])
def test_port(stack: str, target: str) -> None:
    """Every path is the scenario's when it comes to the scenario's port."""
    made, clock = service(stack=stack)
    assert ask(scenario_site(made, clock, "payments"), clock, target, "PATCH", "dropped")[0] == 418


def test_host_on_a_port() -> None:
    """A request to a scenario's port is refused when its Host is invalid."""
    made, clock = service()
    assert ask(scenario_site(made, clock, "payments"), clock, "/", Host="a b")[0] == 400


def test_bodies_for_an_upstream() -> None:
    """A body is streamed when its scenario has an upstream, and dropped otherwise."""
    made, clock = service(default_scenario="web")
    port = scenario_site(made, clock, "web")
    assert [made.streams(target) for target in (b"/as/web/x", b"/raw/as/web", b"/x", b"/via/up")] == [True] * 4
    assert [made.streams(target) for target in (b"/as/payments/x", b"/delayed", b"/as")] == [False] * 3
    assert port.streams(b"/as/payments/x")


@pytest.mark.parametrize("prefix", PREFIXES.values())
@pytest.mark.parametrize("stack", ["tuned", "stock"])
def test_control(stack: str, prefix: str) -> None:
    """A second request on a connection is answered anew when its scenario is replaced."""
    made, clock = service(stack=stack)
    wire = Wire(made, clock)
    for status in ("418", "503"):
        wire.send(f"GET {prefix}/as/payments/v1 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        clock.advance(1)
        assert wire.received.count(f"HTTP/1.1 {status}".encode()) == 1
        ask(made, clock, "/control/scenarios/payments", "PUT", "delay=10ms&status=503")
    wire.leave()


def test_a_pending_answer_stays_as_planned() -> None:
    """An answer that waits is given as planned when its scenario is replaced."""
    made, clock = service()
    wire = Wire(made, clock)
    wire.send(b"GET /as/payments HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert ask(made, clock, "/control/scenarios/payments", "PUT", "delay=1m")[0] == 200
    assert wire.received.startswith(b"HTTP/1.1 418")
    wire.leave()


def test_control_in_json() -> None:
    """A scenario is shown as given, and its ETag guards changes, when it is put."""
    made, clock = service()
    given = json.dumps({"delay": "20ms", "rule": [{"path": "/v1/**", "status": 503}]})
    status, head, body = ask(made, clock, "/control/scenarios/new", "PUT", given, Content_Type="application/json")
    assert (status, json.loads(body)["given"]) == (200, json.loads(given))
    assert json.loads(body)["rules"][0]["prediction"]["p50_ms"] == 20
    etag = str(re.search(r'ETag: (".*")', head)[1])  # type: ignore[index]  # a test that finds none fails
    assert ask(made, clock, "/control/scenarios/new", "PUT", "delay=1s", If_Match='"other"')[0] == 412
    assert ask(made, clock, "/control/scenarios/new", "PUT", "delay=1s", If_Match=etag)[0] == 200
    assert ask(made, clock, "/control/scenarios/new", "DELETE")[0] == 200
    assert ask(made, clock, "/control/scenarios/new")[0] == 404
    assert ask(made, clock, "/control/reset", "POST")[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("PUT", "scenarios/payments", "delay=soon", {}, 400),
        ("PUT", "scenarios/payments", "[1]", {"Content_Type": "application/json"}, 400),
        ("PUT", "scenarios/payments", "{", {"Content_Type": "application/json"}, 400),
        ("PUT", "scenarios/payments", "[" * 50_000, {"Content_Type": "application/json"}, 400),
        ("PUT", "scenarios/payments", '{"a":' * 900 + "1" + "}" * 900, {"Content_Type": "application/json"}, 400),
        ("PUT", "scenarios/payments", '{"delay": 1, "delay": 2}', {"Content_Type": "application/json"}, 400),
        ("PUT", "scenarios/payments", '{"body": NaN}', {"Content_Type": "application/json"}, 400),
        ("PUT", "scenarios/payments", '{"body": 1e999}', {"Content_Type": "application/json"}, 400),
        ("PUT", "scenarios/payments", '{"seed": 1%s}' % ("0" * 5000), {"Content_Type": "application/json"}, 400),
        ("PUT", "scenarios/..", "delay=0", {}, 400),
        ("PUT", "scenarios/payments", "delay=0&upstream=nowhere", {}, 400),
        ("PUT", "scenarios/payments", "header=X-A:1%0d%0aX-B:2", {}, 400),
        ("PUT", "scenarios/payments", "header=Latebin-Turn:9", {}, 400),
        ("PUT", "scenarios/payments", "header=Timing-Allow-Origin:*", {}, 400),
        ("PUT", "scenarios/payments", "delay=0", {"If_None_Match": "*"}, 412),
        ("PUT", "scenarios/payments", "<a/>", {"Content_Type": "text/xml"}, 415),
        ("PUT", "scenarios/payments", "delay=0" + "&" * 200_000, {}, 413),
        ("PUT", "scenarios/a%2Fb", "delay=0", {}, 404),
        ("PUT", "scenarios/a%20b", "delay=0", {}, 400),
        ("POST", "scenarios/payments", "", {}, 405),
        ("GET", "reset", "", {}, 405),
        ("GET", "nothing", "", {}, 404),
        ("GET", "scenarios?limit=1", "", {}, 400),
        ("GET", "scenarios/payments?delay=1s", "", {}, 400),
        ("PUT", "scenarios/payments?delay=1s", "status=503", {}, 400),
        ("DELETE", "scenarios/payments?now", "", {}, 400),
        ("POST", "reset?name=payments", "", {}, 400),
        ("GET", "scenarios", "", {"Origin": "https://evil.example"}, 403),
        ("GET", "scenarios", "", {"Sec_Fetch_Site": "cross-site"}, 403),
        ("GET", "scenarios", "", {"Host": "evil.example"}, 403),
    ],
)
def test_control_refuses(method: str, path: str, body: str, headers: dict[str, str], status: int) -> None:
    """A change is refused with a problem when it is wrong or not allowed."""
    made, clock = service()
    found, head, content = ask(made, clock, f"/control/{path}", method, body, **headers)
    assert (found, "application/problem+json" in head, json.loads(content)["status"]) == (status, True, status)
    assert ask(made, clock, "/as/payments")[0] == 418


def test_control_reads_every_line_of_a_header() -> None:
    """A request is refused when one of its two Origin lines is foreign."""
    made, clock = service()
    wire = Wire(made, clock)
    wire.send(
        b"GET /control/scenarios HTTP/1.1\r\nHost: localhost\r\n"
        b"Origin: https://evil.example\r\nOrigin: http://localhost\r\n\r\n"
    )
    assert wire.received.startswith(b"HTTP/1.1 403")
    wire.leave()


def test_rules_of_both_styles() -> None:
    """Both styles choose the same rule when a scenario has several."""
    made, clock = service()
    rules = [{"path": "/v1/**", "method": "POST", "status": 503}, {"header": "Accept: *json*", "status": 406}]
    given = json.dumps({"delay": "20ms", "rule": rules})
    assert ask(made, clock, "/control/scenarios/rules", "PUT", given, Content_Type="application/json")[0] == 200
    for method, path, accept in [("POST", "/v1/a%2Fb", "*/*"), ("GET", "/v1", "application/json"), ("GET", "", "*/*")]:
        found = []
        for style, prefix in PREFIXES.items():
            _, head, body = ask(made, clock, f"{prefix}/as/rules{path}", method, Accept=accept)
            found.append(comparable(f"{head}\r\n\r\n{body}".encode(), style))
        assert found[0] == found[1]


def test_not_modified() -> None:
    """A scenario that a client knows is not sent again when If-None-Match has its tag."""
    made, clock = service()
    _, head, _ = ask(made, clock, "/control/scenarios/payments")
    etag = re.findall(r"ETag: (.*)", head)[0].strip()
    status, head, body = ask(made, clock, "/control/scenarios/payments", If_None_Match=etag)
    assert (status, etag in head, body) == (304, True, "")


@pytest.mark.parametrize(
    ("chosen", "headers", "status"),
    [
        ({}, {}, 200),
        ({"host": "0.0.0.0"}, {}, 403),
        ({"host": "0.0.0.0", "control": "open"}, {}, 200),
        ({"host": "0.0.0.0", "control_token": "secret"}, {}, 403),
        ({"host": "0.0.0.0", "control_token": "secret"}, {"Authorization": "Bearer secret"}, 200),
        ({"control_token": "secret"}, {}, 403),
        ({"listen": ("tcp:8080",)}, {}, 403),
        ({"listen": ("tcp:8080:interface=127.0.0.1",)}, {}, 200),
        ({"workers": 2}, {}, 409),
        ({"admin_listen": ("tcp:9000",)}, {}, 404),
    ],
)
def test_access(chosen: dict[str, Any], headers: dict[str, str], status: int) -> None:
    """The service can be changed where its settings say so, and nowhere else."""
    made, clock = service(**chosen)
    assert ask(made, clock, "/control/scenarios", **headers)[0] == status


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["path", "delay", "x"]), inner),
    max_leaves=6,
)

BODIES = st.one_of(
    st.text(max_size=40),
    st.builds(
        "{}={}".format, st.sampled_from(["delay", "status", "header", "body", "answer", "n"]), st.text(max_size=9)
    ),
    st.dictionaries(st.sampled_from(["delay", "status", "header", "rule", "body"]), VALUES, max_size=3).map(json.dumps),
)

ANYTHING = service()


@given(BODIES, st.sampled_from(["text/plain", "application/json", "application/json;charset=utf-16", "x", ""]))
@settings(max_examples=60, deadline=None)
def test_any_body(body: str, kind: str) -> None:
    """Any body is either a scenario that answers, or refused by a problem."""
    made, clock = ANYTHING
    headers = {"Content_Type": kind, "Content_Length": str(len(body.encode()))}
    status, _, content = ask(made, clock, "/control/scenarios/any", "PUT", body, **headers)
    assert status in {200, 400, 415}
    assert ("prediction" in json.loads(content)) == (status == 200)
    if status == 200:
        assert json.loads(ask(made, clock, "/control/scenarios/any")[2]) == json.loads(content)
        assert ask(made, clock, "/as/any", Latebin_Delay="1ms", Latebin_Fault="hang:0")[0] != 500


def test_access_on_the_admin_address() -> None:
    """The service is changed on the admin address when there is one."""
    made, clock = service(admin_listen=("tcp:9000",))
    assert ask(admin_site(made, clock), clock, "/control/scenarios")[0] == 200
    assert "/control" in ask(admin_site(made, clock), clock, "/")[2]
    made, clock = service(admin_listen=("tcp:9000",), control_token="secret")  # noqa: S106  # a test's own
    assert ask(admin_site(made, clock), clock, "/control/scenarios")[0] == 403


SHOP = "https://shop.example"


@pytest.mark.parametrize("stack", ["tuned", "stock"])
@pytest.mark.parametrize("prefix", PREFIXES.values())
@pytest.mark.parametrize("target", ["/delayed/10ms", "/delayed/soon", "/nothing", "/as/payments/x", "/predict"])
def test_cors(stack: str, prefix: str, target: str) -> None:
    """A page may read answers and problems when its origin is allowed."""
    made, clock = service(cors=(SHOP,), stack=stack)
    _, head, _ = ask(made, clock, prefix + target, Origin=SHOP)
    assert f"\r\nAccess-Control-Allow-Origin: {SHOP}" in head
    assert f"\r\nTiming-Allow-Origin: {SHOP}" in head
    _, head, _ = ask(made, clock, prefix + target, Origin="https://evil.example")
    assert ("Access-Control" in head, "\r\nVary: Origin" in head) == (False, True)
    _, head, _ = ask(*service(), prefix + target, Origin=SHOP)
    assert ("Access-Control" in head, "Vary" in head) == (False, False)


@pytest.mark.parametrize("target", ["/delayed", "/raw/delay/1", "/as/payments/x", "/via/up/x", "/nothing"])
def test_preflight(target: str) -> None:
    """A preflight is answered at once, at every path of both styles."""
    made, clock = service(cors=("*",))
    wanted = {"Origin": SHOP, "Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "latebin-delay"}
    status, head, _ = ask(made, clock, target, "OPTIONS", **wanted)
    assert (status, "\r\nAccess-Control-Allow-Methods: PUT" in head) == (204, True)
    assert "\r\nAccess-Control-Allow-Headers: latebin-delay" in head


def test_no_cors_for_control() -> None:
    """A page of another origin is refused below /control when --cors allows any."""
    made, clock = service(cors=("*",))
    status, head, _ = ask(made, clock, "/control/scenarios", Origin=SHOP)
    assert (status, "Access-Control" in head) == (403, False)
    status, head, _ = ask(
        made, clock, "/control/scenarios/x", "OPTIONS", Origin=SHOP, Access_Control_Request_Method="PUT"
    )
    assert (status, "Access-Control" in head) == (403, False)


@pytest.mark.parametrize("target", ["/control", "/%63ontrol/scenarios", "//control", "/controls"])
def test_cors_beside_control(target: str) -> None:
    """Only the paths below /control are not shared when --cors allows an origin."""
    made, clock = service(cors=("*",))
    shared = "Access-Control-Allow-Origin: *" in ask(made, clock, target, Origin=SHOP)[1]
    assert shared == (target in {"//control", "/controls"})
    _, head, _ = ask(scenario_site(made, clock, "payments"), clock, target, Origin=SHOP)
    assert "Access-Control-Allow-Origin: *" in head


def test_a_body_that_was_dropped() -> None:
    """A request is refused when its scenario gets an upstream after its body was dropped."""
    made, clock = service()
    wire = Wire(made, clock)
    wire.send(b"POST /as/payments/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nab")
    assert ask(made, clock, "/control/scenarios/payments", "PUT", "delay=0&upstream=up")[0] == 200
    wire.send(b"cd")
    assert wire.received.startswith(b"HTTP/1.1 503")
    wire.leave()


@pytest.mark.parametrize("target", ["/delayed/10ms", "/as/payments", "/nothing"])
def test_same_bytes(target: str) -> None:
    """Both styles give the same bytes when CORS and a default scenario are on."""
    answers = []
    for style, prefix in PREFIXES.items():
        made, clock = service(cors=(SHOP,), default_scenario="payments")
        _, head, body = ask(made, clock, prefix + target, Origin=SHOP)
        answers.append(comparable(f"{head}\r\n\r\n{body}".encode(), style))
    assert answers[0] == answers[1]

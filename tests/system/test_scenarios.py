"""Scenarios given at the start of a process, and changed from a terminal."""

import json
import socket
from pathlib import Path

import pytest

from latebin.testing.process import serving
from tests.support.command import latebin, refusal
from tests.support.process import get, ports, until

FILE = """
[orders]
delay = "1ms"
body-file = "orders.json"
content-type = "application/json"
[[orders.rule]]
path = "/v1/slow/**"
status = 503
"""


def test_process(tmp_path: Path) -> None:
    """A process answers by its scenarios, on any path and port, until one is changed."""
    (tmp_path / "orders.json").write_text('{"orders": []}')
    (tmp_path / "scenarios.toml").write_text(FILE)
    options = ("--scenarios", str(tmp_path / "scenarios.toml"), "--scenario", "teapot=delay=1ms&status=418:100%")
    more = ("--default-scenario", "teapot", "--scenario-listen", "orders=tcp:0:interface=127.0.0.1")
    with serving(*options, *more) as process:
        port = process.port
        response, body = get(port, "/as/orders/v1/users")
        assert (response.status, response.getheader("Content-Type"), body) == (
            200,
            "application/json",
            b'{"orders": []}',
        )
        assert get(port, "/raw/as/orders/v1/slow/1")[0].status == 503
        assert get(port, "/v2/anything?x=1")[0].status == 418
        changed = latebin("control", "--url", process.url, "put", "teapot", '{"delay": "1ms", "status": 429}')
        assert (changed.returncode, json.loads(changed.stdout)["understood"]["status"]) == (0, "429")
        assert get(port, "/v2/anything")[0].status == 429
        wrong = latebin("control", "--url", process.url, "put", "teapot", "delay=soon")
        assert (wrong.returncode, 'Invalid delay "soon"' in wrong.stderr) == (1, True)
        assert latebin("control", "--url", process.url, "reset").returncode == 0
        assert get(port, "/v2/anything")[0].status == 418


def test_loop() -> None:
    """A request is refused when its scenario leads back to itself."""
    [port] = ports(1)
    options = "--upstream", f"me=http://127.0.0.1:{port}/as/loop", "--scenario", "loop=upstream=me&delay=1ms"
    with serving("--port", str(port), *options) as process:
        assert get(port, "/as/loop/")[0].status == 508
        until(lambda: process.log().count("GET /as/loop") == 9)


def test_state() -> None:
    """A terminal shows and changes keys, gates and pending answers of a process."""
    with serving() as process, socket.create_connection(("127.0.0.1", process.port), timeout=30) as waiting:
        control = ("control", "--url", process.url)
        waiting.sendall(b"GET /delayed?delay=0&gate=g&key=a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        get(process.port, "/control/gates/g?waiting=1&timeout=30s")
        shown = json.loads(latebin(*control, "pending", "--key", "a").stdout)
        assert [each["for"] for each in shown["pending"]] == ["gate"]
        assert json.loads(latebin(*control, "gates", "g", "--release", "all").stdout)["released"] == 1
        assert waiting.recv(65536).startswith(b"HTTP/1.1 200 OK")
        shown = json.loads(latebin(*control, "journal", "a").stdout)
        assert [each["query"] for each in shown["requests"]] == ["delay=0&gate=g&key=a"]
        assert json.loads(latebin(*control, "keys", "a", "--forget").stdout) == {"key": "a", "deleted": True}
        assert json.loads(latebin(*control, "keys").stdout)["keys"] == []
        assert latebin(*control, "gates", "g", "--release", "some").returncode == 1
        assert latebin(*control, "gates", "--open").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scenario", "a=delay=soon"], "scenario 'a', parameter 'delay': "),
        (["--scenario", "a"], "is not NAME=QUERY"),
        (["--scenario", "a=delay=1s", "--scenario", "a=delay=2s"], "'a' is given twice"),
        (["--default-scenario", "nothing"], "there is no scenario 'nothing'; there are dead, flaky"),
        (["--scenario-listen", "nothing=tcp:0"], "there is no scenario 'nothing'"),
        (["--scenario-listen", "tcp:0"], "is not NAME=ENDPOINT"),
        (["--scenarios", "/nowhere.toml"], "/nowhere.toml: No such file"),
        (["--cors", "shop.example"], "'shop.example' is not an origin"),
        (["--control-token-file", "/nowhere"], "does not exist"),
        (["--scenario", "a=over=1s"], "scenario 'a', parameter 'over': "),
        (["--scenario", "..=delay=1s"], "scenario '..', parameter 'name': "),
    ],
)
def test_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """The start is refused in one line when a scenario is wrong."""
    assert words in refusal(monkeypatch, capsys, "serve", *arguments)


def test_listed() -> None:
    """The scenarios are listed with their meaning, and one with its prediction."""
    listed = latebin("scenarios", "--scenario", "mine=delay=1s")
    assert (listed.returncode, "mine: delay=1s" in listed.stdout, "RFC 6585" in listed.stdout) == (0, True, True)
    assert "p99" in latebin("scenarios", "slow", "--max-delay", "100ms").stdout
    assert latebin("scenarios", "nothing").returncode == 2


def test_predicted_by_rule(tmp_path: Path) -> None:
    """A prediction is shown for each rule when a scenario has several."""
    (tmp_path / "scenarios.toml").write_text("[a]\nupstream = 'api'\n[[a.rule]]\npath = '/v1/*'\nmethod = 'PUT'\n")
    options = "--scenarios", str(tmp_path / "scenarios.toml"), "--upstream", "api=http://127.0.0.1:9"
    shown = latebin("scenarios", *options, "a").stdout
    assert ("path /v1/*, method PUT:" in shown, shown.count("p99.9")) == (True, 2)

import pickle
import re
import signal
import socket
import sys
from ipaddress import ip_network
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from latebin.cli import main, serve
from latebin.core.language.trace import Trace
from latebin.core.settings import Settings
from latebin.core.state_url import parse as parse_state
from latebin.server.machine import cores, most_workers
from latebin.testing.process import serving
from tests.support.certificate import certificate as write_certificate
from tests.support.command import TRACE, latebin, refusal
from tests.support.log import records
from tests.support.process import get


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings that `serve` would have served with."""
    settings: list[Settings] = []
    monkeypatch.setattr(serve, "_run", settings.append)
    return settings


def run(*arguments: str, **variables: str) -> Any:
    return CliRunner().invoke(main.cli, ["serve", *arguments], env=variables, catch_exceptions=False)


def test_defaults(chosen: list[Settings]) -> None:
    """`latebin serve` without options serves with the defaults."""
    assert run().exit_code == 0
    assert chosen == [Settings()]


FLAGS: dict[str, tuple[str, dict[str, Any]]] = {
    "--host": ("::1", {"host": "::1"}),
    "--port": ("0", {"port": 0}),
    "--listen": ("tcp:0", {"listen": ("tcp:0",)}),
    "--default-delay": ("250ms", {"default_delay": 0.25}),
    "--max-delay": ("1h", {"max_delay": 3600.0}),
    "--upstream": ("api=http://127.0.0.1:9000/v2/", {"upstreams": {"api": "http://127.0.0.1:9000/v2"}}),
    "--upstream-timeout": ("2s", {"upstream_timeout": 2.0}),
    "--upstream-host": ("keep", {"upstream_host": "keep"}),
    "--max-body": ("64k", {"max_body": 65536}),
    "--header-timeout": ("5s", {"header_timeout": 5.0}),
    "--body-timeout": ("1m30s", {"body_timeout": 90.0}),
    "--keep-alive-timeout": ("75s", {"keep_alive_timeout": 75.0}),
    "--trace": (f"two={TRACE}", {"traces": {"two": Trace("two", (0.25, 1.0))}}),
    "--max-pending": ("7", {"max_pending": 7}),
    "--max-unread": ("1m", {"max_unread": 1024**2}),
    "--log-format": ("json", {"log_format": "json"}),
    "--log-buffer": ("64k", {"log_buffer": 65536}),
    "--proxy-headers": ("10.0.0.0/8", {"proxy_headers": (ip_network("10.0.0.0/8"),)}),
    "--workers": ("2", {"workers": 2}),
    "--shutdown-delay": ("5s", {"shutdown_delay": 5.0}),
    "--drain-timeout": ("1m", {"drain_timeout": 60.0}),
    "--admin-listen": ("tcp:8081", {"admin_listen": ("tcp:8081",)}),
    "--scenario": ("mine=delay=1s", {"scenarios": {"mine": "delay=1s"}}),
    "--scenarios": (str(TRACE.with_name("scenarios.toml")), {"scenarios": {"slowest": {"delay": "3s"}}}),
    "--default-scenario": ("slow", {"default_scenario": "slow"}),
    "--scenario-listen": ("slow=tcp:9001", {"scenario_listen": (("slow", "tcp:9001"),)}),
    "--state": ("redis://localhost/2", {"state": parse_state("redis://localhost/2")}),
    "--state-lifetime": ("10m", {"state_lifetime": 600.0}),
    "--cors": ("https://shop.example", {"cors": ("https://shop.example",)}),
    "--control": ("open", {"control": "open"}),
    "--control-token-file": (str(TRACE.with_name("token.txt")), {"control_token": "a-token"}),
    "--stack": ("stock", {"stack": "stock"}),
}


OF_UPSTREAMS = ("--record", "--upstream-ca", "--upstream-cert", "--upstream-insecure")


def test_options_of_upstreams(chosen: list[Settings], tmp_path: Path) -> None:
    """The options of one upstream name it, and need it."""
    certificate, trace = str(tmp_path / "a.pem"), str(tmp_path / "a.trace")
    write_certificate(tmp_path / "a.pem")
    given = (f"a={trace}", certificate, f"a={certificate}", "a")
    options = tuple(zip(OF_UPSTREAMS, given, strict=True))
    assert run("--upstream", "a=https://b", *chain(*options)).exit_code == 0
    settings = chosen[0]
    assert (settings.records, settings.upstream_ca) == ({"a": trace}, certificate)
    assert (settings.upstream_certs, settings.upstream_insecure) == ({"a": certificate}, ("a",))
    for option, value in options:
        if option != "--upstream-ca":
            assert option in run(option, value).output


@pytest.mark.parametrize("flag", FLAGS)
def test_flags_and_variables(chosen: list[Settings], flag: str) -> None:
    """Every setting has a flag, and a variable that says the same."""
    value, expected = FLAGS[flag]
    variable = "LATEBIN_" + flag.strip("-").replace("-", "_").upper()
    assert run(flag, value).exit_code == 0
    assert run(**{variable: value}).exit_code == 0
    assert chosen == [Settings(**expected), Settings(**expected)]


def test_every_option_is_tried() -> None:
    """The table of flags above has every option there is."""
    assert {option.opts[0] for option in serve.serve_command.params} == {*FLAGS, *OF_UPSTREAMS}


def test_flag_wins(chosen: list[Settings]) -> None:
    """A flag wins over the variable."""
    run("--max-delay", "1h", LATEBIN_MAX_DELAY="2h")
    assert chosen[0].max_delay == 3600


def test_listen_against_port(chosen: list[Settings]) -> None:
    """A flag wins over a variable, of --listen and --port; two are refused."""
    run("--port", "1", LATEBIN_LISTEN="tcp:2 tcp:3")
    run("--listen", "tcp:2", "--listen", "tcp:3", LATEBIN_PORT="1")
    assert [settings.listen for settings in chosen] == [(), ("tcp:2", "tcp:3")]
    assert run("--port", "1", "--listen", "tcp:2").exit_code == 2
    assert run(LATEBIN_PORT="1", LATEBIN_LISTEN="tcp:2").exit_code == 2


def test_upstreams(chosen: list[Settings]) -> None:
    """--upstream may be given more than once; in the variable, spaces separate the upstreams."""
    run("--upstream", "a=http://b", "--upstream", "c=https://d")
    run(LATEBIN_UPSTREAM="a=http://b c=https://d")
    assert [settings.upstreams for settings in chosen] == [{"a": "http://b", "c": "https://d"}] * 2


def test_proxy_headers(chosen: list[Settings]) -> None:
    """--proxy-headers may be given more than once; in the variable, spaces separate the networks."""
    run("--proxy-headers", "127.0.0.1", "--proxy-headers", "2001:db8::/32")
    run(LATEBIN_PROXY_HEADERS="127.0.0.1/32 2001:db8::/32")
    expected = (ip_network("127.0.0.1"), ip_network("2001:db8::/32"))
    assert [settings.proxy_headers for settings in chosen] == [expected] * 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--port", "http"], "'http' is not a valid integer"),
        (["--port", "65536"], "--port"),
        (["--default-delay", "soon"], "--default-delay"),
        (["--max-delay", "-1s"], "--max-delay"),
        (["--default-delay", "2m", "--max-delay", "1m"], "the default delay, 2m, is above the longest, 1m"),
        (["--log-format", "xml"], "--log-format"),
        (["--max-pending", "0"], "--max-pending"),
        (["--max-pending", "none"], "--max-pending"),
        (["--workers", "0"], "--workers"),
        (["--stack", "ours"], "'ours' is not one of 'stock', 'tuned'"),
        (["--stack", "stock", "--workers", "2", "--listen", "unix:/a"], "several workers cannot share unix:/a"),
        (["--workers", "many"], "--workers"),
        (["--workers", "1000000"], f"1000000 is above {most_workers()}, the most on this machine"),
        (["--workers", "9" * 5000], "--workers"),
        (["--log-buffer", "1k"], "Invalid size '1k': expected 64k to 1024m"),
        (["--log-buffer", "1025m"], "Invalid size '1025m': expected 64k to 1024m"),
        (["--log-buffer", "some"], "Invalid size 'some'"),
        (["--listen", "carrier-pigeon:80"], "--listen"),
        (["--listen", "tcp"], "--listen"),
        (["--listen", "stdio:"], "'stdio:' is not an endpoint that a client can connect to"),
        (["--host", ""], "'' is not an address; 0.0.0.0 is all of them"),
        (["--listen", "ssl:443:privateKey=/nowhere"], "--listen"),
        (["--upstream", "http://127.0.0.1"], "--upstream"),
        (["--upstream", "api=ftp://127.0.0.1"], "--upstream"),
        (["--upstream", "a=http://b", "--upstream", "a=http://c"], "--upstream takes each name once"),
        (["--upstream-timeout", "soon"], "--upstream-timeout"),
        (["--keep-alive-timeout", "0"], "the keep-alive timeout is 0s"),
        (["--proxy-headers", "on"], "expected an address or a network such as 192.0.2.1, 10.0.0.0/8"),
        (["--proxy-headers", "10.0.0.1/8"], "10.0.0.1/8 has host bits set"),
        (["--prot", "1"], "--prot"),
        (["--max-body", "all"], "--max-body"),
        (["--trace", "checkout"], "'checkout' is not NAME=FILE"),
        (["--trace", "checkout="], "'checkout=' is not NAME=FILE"),
        (["--trace", f"two={sys.executable}"], "the file is not UTF-8"),
        (["--trace", f"a b={TRACE}"], "expected a trace name of up to 64"),
        (["--trace", "two=/nowhere"], "No such file"),
        (["--trace", f"two={TRACE.parent}"], "Is a directory"),
        (["--trace", f"two={__file__}"], "test_serve.py': line 2: expected a duration"),
        (["--trace", "two=/dev/zero"], "larger than 64m"),
        (["--trace", f"two={TRACE},unit=weeks"], "expected a unit, one of h, m, s, ms, us, ns, not 'weeks'"),
        (
            ["--trace", f"two={TRACE},colum=a"],
            "unknown option 'colum' behind the file; there are column, unit and where",
        ),
        (["--trace", f"two={TRACE},unit=ms,unit=s"], "expected one value for unit"),
        (["--trace", f"two={TRACE},where=status"], "expected where=COLUMN:VALUE, not 'status'"),
        (["--trace", f"two={TRACE},column=path"], "line 1: there is no column 'path'; the columns are latency, status"),
        (["--default-delay", "500"], "did you mean 500ms or 500s?"),
        (["--scenario", "a=delay=500"], "did you mean 500ms or 500s?"),
        (["--trace", f"two={TRACE}", "--trace", f"two={TRACE}"], "two was given twice"),
    ],
)
def test_wrong_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    """A wrong value is one line that names it, and exit code 2."""
    assert named in refusal(monkeypatch, capsys, "serve", *arguments)


def test_a_worker_for_each_core(chosen: list[Settings]) -> None:
    """A worker for each core is started with `--workers auto`."""
    assert run("--workers", "auto").exit_code == 0
    assert chosen == [Settings(workers=cores())]


def test_a_worker_needs_a_parent() -> None:
    """A worker is nothing to start by hand."""
    for given in (b"", b"settings", pickle.dumps(Settings())):
        done = CliRunner().invoke(main.cli, ["worker"], input=given)
        assert done.exit_code == 2


def test_wrong_variable() -> None:
    """A wrong variable is refused like a wrong flag."""
    assert run(LATEBIN_PORT="http").exit_code == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process(number: int) -> None:
    """`python -m latebin serve` prints its URLs, answers in both styles, logs it, and stops at a signal."""
    with serving("--default-delay", "50ms") as process:
        for path in ("/delayed", "/raw/delayed"):
            response, body = get(process.port, path)
            assert (response.status, body) == (200, b"<html><body>Sorry to keep you waiting.</body></html>")
        assert process.stop(number) == 0
        output = process.log()
    line = r"\S+Z {} GET {} 200 asked=50\.0ms measured=\S+ms sent=52B 127\.0\.0\.1 [0-9a-f]{{32}}\n"
    answers = line.format("klein", "/delayed") + line.format("resource", "/raw/delayed")
    assert re.fullmatch(answers + r"\S+Z stopping: .*\n\S+Z stopped: .*\n", output)


def test_process_with_json() -> None:
    """With --log-format json, every line of output is a JSON object."""
    with serving(LATEBIN_LOG_FORMAT="json") as process:
        get(process.port, "/raw/delayed/10ms")
        process.stop()
        event, *others = records(process.log())
    assert [other["namespace"] for other in others] == ["latebin.server.drain", "latebin.server.drain"]
    assert (event["style"], event["status"], event["asked_ms"]) == ("resource", 200, 10.0)
    assert event["measured_ms"] >= 10


def test_port_is_taken() -> None:
    """A port that something else listens on is one line and exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = latebin("serve", "--port", str(port))
    assert done.returncode == 1
    assert re.fullmatch(rf"latebin: .*127\.0\.0\.1:{port}.*Address already in use\.\n", done.stderr)


@pytest.mark.parametrize(
    ("endpoint", "code", "reason"),
    [("tcp:65536", 2, "port must be 0-65535"), ("unix:/nowhere/socket", 1, "No such file or directory")],
)
def test_nowhere_to_listen(endpoint: str, code: int, reason: str) -> None:
    """An endpoint that cannot be listened on is one line; an invalid port is wrong."""
    done = latebin("serve", "--listen", endpoint)
    assert (done.returncode, done.stdout) == (code, "")
    assert re.fullmatch(rf"latebin: .*{reason}.*\n", done.stderr)

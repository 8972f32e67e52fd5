import json
import pickle
import re
import signal
import subprocess
import sys
from http.client import HTTPConnection, HTTPResponse
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from app import cli
from app.limits import cores
from app.settings import Settings
from app.trace import Trace
from tests.process import environment, serving


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings that `serve` would have served with."""
    settings: list[Settings] = []
    monkeypatch.setattr(cli, "_run", settings.append)
    return settings


def run(*arguments: str, **variables: str) -> Any:
    return CliRunner().invoke(cli.cli, ["serve", *arguments], env=variables, catch_exceptions=False)


def get(port: int, path: str) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def test_defaults(chosen: list[Settings]) -> None:
    """Told nothing, `delayed serve` serves with the defaults."""
    assert run().exit_code == 0
    assert chosen == [Settings()]


TRACE = Path(__file__).parent / "two.csv"

FLAGS: dict[str, tuple[str, dict[str, Any]]] = {
    "--host": ("::1", {"host": "::1"}),
    "--port": ("0", {"port": 0}),
    "--listen": ("tcp:0", {"listen": ("tcp:0",)}),
    "--default-delay": ("250ms", {"default_delay": 0.25}),
    "--max-delay": ("1h", {"max_delay": 3600.0}),
    "--upstream": ("api=http://127.0.0.1:9000/v2/", {"upstreams": {"api": "http://127.0.0.1:9000/v2"}}),
    "--upstream-timeout": ("2s", {"upstream_timeout": 2.0}),
    "--max-body": ("64k", {"max_body": 65536}),
    "--trace": (f"two={TRACE}", {"traces": {"two": Trace("two", (0.25, 1.0))}}),
    "--max-pending": ("7", {"max_pending": 7}),
    "--log-format": ("json", {"log_format": "json"}),
    "--proxy-headers": ("10.0.0.0/8", {"proxy_headers": (ip_network("10.0.0.0/8"),)}),
    "--workers": ("2", {"workers": 2}),
}


@pytest.mark.parametrize("flag", FLAGS)
def test_flags_and_variables(chosen: list[Settings], flag: str) -> None:
    """Every setting has a flag, and a variable that says the same."""
    value, expected = FLAGS[flag]
    variable = "DELAYED_" + flag.strip("-").replace("-", "_").upper()
    assert run(flag, value).exit_code == 0
    assert run(**{variable: value}).exit_code == 0
    assert chosen == [Settings(**expected), Settings(**expected)]


def test_every_option_is_tried() -> None:
    """The table of flags above has every option there is."""
    assert {option.opts[0] for option in cli.serve.params} == set(FLAGS)


def test_flag_wins(chosen: list[Settings]) -> None:
    """A flag wins over the variable."""
    run("--max-delay", "1h", DELAYED_MAX_DELAY="2h")
    assert chosen[0].max_delay == 3600


def test_listen_against_port(chosen: list[Settings]) -> None:
    """Of --listen and --port the one that is a flag wins; two flags, or two variables, are refused."""
    run("--port", "1", DELAYED_LISTEN="tcp:2 tcp:3")
    run("--listen", "tcp:2", "--listen", "tcp:3", DELAYED_PORT="1")
    assert [settings.listen for settings in chosen] == [(), ("tcp:2", "tcp:3")]
    assert run("--port", "1", "--listen", "tcp:2").exit_code == 2
    assert run(DELAYED_PORT="1", DELAYED_LISTEN="tcp:2").exit_code == 2


def test_upstreams(chosen: list[Settings]) -> None:
    """--upstream may be given more than once; in the variable, spaces separate the upstreams."""
    run("--upstream", "a=http://b", "--upstream", "c=https://d")
    run(DELAYED_UPSTREAM="a=http://b c=https://d")
    assert [settings.upstreams for settings in chosen] == [{"a": "http://b", "c": "https://d"}] * 2


def test_proxy_headers(chosen: list[Settings]) -> None:
    """--proxy-headers may be given more than once; in the variable, spaces separate the networks."""
    run("--proxy-headers", "127.0.0.1", "--proxy-headers", "2001:db8::/32")
    run(DELAYED_PROXY_HEADERS="127.0.0.1/32 2001:db8::/32")
    expected = (ip_network("127.0.0.1"), ip_network("2001:db8::/32"))
    assert [settings.proxy_headers for settings in chosen] == [expected] * 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--port", "http"], "--port"),
        (["--port", "65536"], "--port"),
        (["--default-delay", "soon"], "--default-delay"),
        (["--max-delay", "-1s"], "--max-delay"),
        (["--default-delay", "2m", "--max-delay", "1m"], "the default delay, 2m, is above the longest, 1m"),
        (["--log-format", "xml"], "--log-format"),
        (["--max-pending", "0"], "--max-pending"),
        (["--max-pending", "none"], "--max-pending"),
        (["--proxy-headers", "on"], "accepted is an address or a network such as 192.0.2.1, 10.0.0.0/8"),
        (["--proxy-headers", "10.0.0.1/8"], "10.0.0.1/8 has host bits set"),
        (["--workers", "0"], "--workers"),
        (["--workers", "many"], "--workers"),
        (["--listen", "carrier-pigeon:80"], "--listen"),
        (["--listen", "tcp"], "--listen"),
        (["--listen", "ssl:443:privateKey=/nowhere"], "--listen"),
        (["--upstream", "http://127.0.0.1"], "--upstream"),
        (["--upstream", "api=ftp://127.0.0.1"], "--upstream"),
        (["--upstream", "a=http://b", "--upstream", "a=http://c"], "--upstream takes each name once"),
        (["--upstream-timeout", "soon"], "--upstream-timeout"),
        (["--prot", "1"], "--prot"),
        (["--max-body", "all"], "--max-body"),
        (["--trace", "checkout"], "--trace"),
        (["--trace", f"a b={TRACE}"], "a trace's name is"),
        (["--trace", "two=/nowhere"], "No such file"),
        (["--trace", f"two={TRACE.parent}"], "Is a directory"),
        (["--trace", f"two={__file__}"], "test_cli.py': line 2: not a duration"),
        (["--trace", "two=/dev/zero"], "larger than 64m"),
        (["--trace", f"two={TRACE}", "--trace", f"two={TRACE}"], "two was given twice"),
    ],
)
def test_wrong_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    """A wrong value is one line that names it, and exit code 2."""
    assert named in refusal(monkeypatch, capsys, "serve", *arguments)


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the command line, which is to refuse its arguments; give back what it says."""
    monkeypatch.setattr(sys, "argv", ["delayed", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    written = capsys.readouterr()
    assert re.fullmatch(r"delayed: .*\n", written.err)
    assert written.out == ""
    return written.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["1s...3s"], "at character 4: expected a duration"),
        (["lognormal(mean=80ms)"], "at character 10: expected 'median'"),
        (["1s\n"], "'1s\\n' is no delay: at character 2"),
        (["11m"], "every draw would be above the longest delay, 10m"),
        (["2s", "--max-delay", "1s"], "every draw would be above the longest delay, 1s"),
        (["trace(two)"], "a trace that was given at the start: none"),
        (["1s", "--timeout", "soon"], "--timeout"),
        (["1s", "--trace", "two=/nowhere"], "No such file"),
        ([], "EXPR"),
    ],
)
def test_wrong_expression(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    """What cannot be predicted is one line that points at the character, and exit code 2."""
    assert named in refusal(monkeypatch, capsys, "predict", *arguments)


def predicted(*arguments: str, **variables: str) -> list[str]:
    done = CliRunner().invoke(cli.cli, ["predict", *arguments], env=variables, catch_exceptions=False)
    assert done.exit_code == 0
    return [" ".join(line.split()) for line in done.stdout.splitlines()]


def test_prediction() -> None:
    """A prediction is a line for each figure, and a histogram whose longest bar is that of the greatest share."""
    lines = predicted("mix(75%:1s,25%:2s)", "--timeout", "1s")
    figures, histogram = lines[: lines.index("")], lines[lines.index("") + 1 :]
    assert figures == [
        *("mean 1.25s", "p50 1s", "p90 2s", "p95 2s", "p99 2s", "p99.9 2s", "max 2s"),
        "cut by 1s 25.00%",
    ]
    assert histogram[0] == "up to share"
    assert histogram[1].startswith("1.07s 75.00% ████")
    assert histogram[-1].startswith("2s 25.00% ████")
    assert (histogram[1].count("█"), histogram[-1].count("█")) == (40, 13)


def test_prediction_of_what_is_cut() -> None:
    """A prediction is of what is left when longer draws are cut, and without a timeout tells of none."""
    lines = predicted("0s..4s", "--max-delay", "2s")
    assert "max 2s" in lines
    assert not any(line.startswith("cut") for line in lines)


def test_prediction_of_a_trace() -> None:
    """A trace is given to `predict` as to `serve`, by the flag or the variable."""
    assert predicted("trace(two)", "--trace", f"two={TRACE}") == predicted("trace(two)", DELAYED_TRACE=f"two={TRACE}")
    assert "mean 625ms" in predicted("trace(two)", "--trace", f"two={TRACE}")


def test_prediction_in_ascii() -> None:
    """Where the output cannot take a block, bars are made of what it can."""
    with_blocks = delayed("predict", "1s..3s").stdout
    assert delayed("predict", "1s..3s", PYTHONIOENCODING="ascii").stdout == with_blocks.replace("█", "#")


def test_a_worker_for_each_core(chosen: list[Settings]) -> None:
    """As many workers as the machine has cores for this process can be asked for without counting them."""
    assert run("--workers", "auto").exit_code == 0
    assert chosen == [Settings(workers=cores())]


def test_a_worker_needs_a_parent() -> None:
    """A worker is nothing to start by hand."""
    for given in (b"", b"settings", pickle.dumps(Settings())):
        done = CliRunner().invoke(cli.cli, ["worker"], input=given)
        assert done.exit_code == 2


def test_wrong_variable() -> None:
    """A wrong variable is refused like a wrong flag."""
    assert run(DELAYED_PORT="http").exit_code == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process(number: int) -> None:
    """`python -m app serve` prints its URLs, answers in both styles, logs it, and stops at a signal."""
    with serving("--default-delay", "50ms") as process:
        for path in ("/delayed", "/raw/delayed"):
            response, body = get(process.port, path)
            assert (response.status, body) == (200, b"<html><body>Sorry to keep you waiting.</body></html>")
        code, output = process.stop(number)
    assert code == 0
    line = r"\S+Z {} GET {} 200 asked=50\.0ms measured=\S+ms sent=52B 127\.0\.0\.1 [0-9a-f]{{32}}\n"
    assert re.fullmatch(line.format("klein", "/delayed") + line.format("resource", "/raw/delayed"), output)


def test_process_with_json() -> None:
    """With --log-format json, every line of output is a JSON object."""
    with serving(DELAYED_LOG_FORMAT="json") as process:
        get(process.port, "/raw/delayed/10ms")
        _, output = process.stop()
    [event] = [json.loads(line) for line in output.splitlines()]
    assert (event["style"], event["status"], event["asked_ms"]) == ("resource", 200, 10.0)
    assert event["measured_ms"] >= 10


def test_stopping_does_not_wait() -> None:
    """A signal stops the service though somebody waits for an answer."""
    with serving() as process:
        connection = HTTPConnection("127.0.0.1", process.port, timeout=30)
        connection.request("GET", "/delayed/5m")
        code, _ = process.stop()
        connection.close()
    assert code == 0


def delayed(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("delayed")), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=30, env=environment(**variables)
    )


def test_version() -> None:
    """`delayed`, as installed, tells its version."""
    assert re.fullmatch(r"delayed, version \d+\.\d+\.\d+\n", delayed("--version").stdout)


def test_port_is_taken() -> None:
    """A port that somebody else listens on is one line and exit code 1."""
    with serving() as process:
        second = delayed("serve", "--port", str(process.port))
    assert second.returncode == 1
    assert re.fullmatch(rf"delayed: .*127\.0\.0\.1:{process.port}.*Address already in use\.\n", second.stderr)


@pytest.mark.parametrize("command", ["measure", "compare"])
def test_a_missing_extra(command: str) -> None:
    """A command whose extra is not installed says what to install, in one line; serving and the help need none."""
    without = "import sys; sys.modules['hdrh.histogram'] = None;from app.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", without, command, "--whatever", "x"], capture_output=True, text=True, check=False,
        env=environment(),
    )  # fmt: skip
    assert done.returncode == 1
    assert re.fullmatch(
        rf"delayed: {command} needs [a-z.]+, which is not installed: pip install '\.\[measure\]'\n", done.stderr
    )
    listed = subprocess.run(
        [sys.executable, "-c", without, "--help"], capture_output=True, text=True, check=True, env=environment()
    )
    assert {"serve", "measure", "compare"} <= set(listed.stdout.split())


def test_a_command_with_its_extra() -> None:
    """The commands that are imported late are the ones of their modules."""
    result = CliRunner().invoke(cli.cli, ["measure", "--help"])
    assert "Tell how late the server at URL answers." in result.output
    assert CliRunner().invoke(cli.cli, ["nothing"]).exit_code == 2

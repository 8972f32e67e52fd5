import json
import re
import signal
import subprocess
import sys
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from app import cli
from app.settings import Settings
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


FLAGS: dict[str, tuple[str, dict[str, Any]]] = {
    "--host": ("::1", {"host": "::1"}),
    "--port": ("0", {"port": 0}),
    "--listen": ("tcp:0", {"listen": ("tcp:0",)}),
    "--default-delay": ("250ms", {"default_delay": 0.25}),
    "--max-delay": ("1h", {"max_delay": 3600.0}),
    "--log-format": ("json", {"log_format": "json"}),
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


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--port", "http"], "--port"),
        (["--port", "65536"], "--port"),
        (["--default-delay", "soon"], "--default-delay"),
        (["--max-delay", "-1s"], "--max-delay"),
        (["--default-delay", "2m", "--max-delay", "1m"], "the default delay, 2m, is above the longest, 1m"),
        (["--log-format", "xml"], "--log-format"),
        (["--listen", "carrier-pigeon:80"], "--listen"),
        (["--listen", "tcp"], "--listen"),
        (["--listen", "ssl:443:privateKey=/nowhere"], "--listen"),
        (["--prot", "1"], "--prot"),
    ],
)
def test_wrong_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    """A wrong value is one line that names it, and exit code 2."""
    monkeypatch.setattr(sys, "argv", ["delayed", "serve", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    written = capsys.readouterr()
    assert re.fullmatch(rf"delayed: .*{re.escape(named)}.*\n", written.err)
    assert written.out == ""


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
    line = r"\S+Z {} GET {} 200 asked=50\.0ms measured=\S+ms sent=52B 127\.0\.0\.1\n"
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


def delayed(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("delayed")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, env=environment())


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
    without = (
        "import sys; sys.modules['hdrh.histogram'] = sys.modules['rich.console'] = None;"
        "from app.cli import main; main()"
    )
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

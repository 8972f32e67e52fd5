"""The `measure` command: its tables, its JSON and its exit code."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner

from latebin.cli import measure as command
from latebin.cli.measure import EXIT_CODES, measure_command, verdict_text
from latebin.load.percentiles import Percentiles
from latebin.load.report import Cost, Report, Verdict
from tests.support.late_server import LateServer, late_server
from tests.support.process import environment
from tests.support.reports import GOOD

PROGRAM = (sys.executable, "-c", "from latebin.cli.measure import measure_command; measure_command()")

SHORT_RUN = ("--rate", "50", "--delay", "50ms", "--duration", "200ms", "--warm-up", "0.1", "--grace", "30s")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LateServer]:
    with late_server(0.06, tmp_path_factory.mktemp("command") / "stderr") as server:
        yield server


def requests_of(text: str) -> dict[str, Any]:
    """Return the counts of a report, after a check of their sums."""
    requests: dict[str, Any] = json.loads(text)["requests"]
    assert requests["failed"] == sum(requests["errors"].values())
    assert requests["sent"] == requests["answered"] + requests["failed"] + requests["unfinished"]
    return requests


def test_a_run_prints_tables_and_writes_json(server: LateServer, tmp_path: Path) -> None:
    """The command prints a report and also writes it when it is given a file."""
    file = tmp_path / "report.json"
    done = subprocess.run(
        (*PROGRAM, server.url("/sized"), *SHORT_RUN, "--pid", str(server.process.pid), "--json", str(file)),
        capture_output=True,
        text=True,
        check=False,
        env=environment(COLUMNS="120"),
    )
    assert "lateness" in done.stdout
    assert "CPU per answer" in done.stdout
    written = json.loads(file.read_text())
    assert requests_of(file.read_text())["answered"] == 18
    assert written["lateness"]["least_ms"] >= 10
    assert done.returncode == EXIT_CODES[Verdict(written["verdict"])]


def test_json_can_go_to_standard_output(server: LateServer) -> None:
    """The command prints JSON alone to standard output when the file is -."""
    done = subprocess.run(
        (*PROGRAM, server.url("/status-500"), *SHORT_RUN, "--json", "-"), capture_output=True, text=True, check=False
    )
    assert requests_of(done.stdout)["errors"] == {"status 500": 18}
    assert "status 500" in done.stderr
    assert done.returncode in {1, 3}


def test_ctrl_c_ends_with_a_report(tmp_path: Path) -> None:
    """The command reports pending requests as unfinished, at once, when it is interrupted."""
    with (
        late_server(0, tmp_path / "stderr") as server,
        subprocess.Popen(
            (*PROGRAM, server.url("/silent"), "--rate", "20", "--delay", "100s", "--json", "-"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        server.wait_for_request()
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate()
    requests = requests_of(printed)
    assert 0 < requests["sent"] == requests["unfinished"]
    assert json.loads(printed)["interrupted"]
    assert process.returncode in {130, 3}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("http://h/", "--rate", "5"), "give two of pending, rate and delay"),
        (("http://h/", "--rate", "5", "--delay", "soon"), "Invalid duration 'soon': expected a duration"),
        (("ftp://h/", "--rate", "5", "--delay", "1"), "not an http://"),
        (("http://h/", "--pending", "9", "--rate", "5", "--delay", "1"), "does not agree"),
        (("http://h/", "--rate", "high", "--delay", "1"), "'high' is not a valid number."),
        (("http://h/", "--rate", "5", "--delay", "1", "--json", "/nowhere/m.json"), "there is no directory '/nowhere'"),
    ],
)
def test_wrong_usage_is_refused(arguments: tuple[str, ...], words: str) -> None:
    """The command exits with 2 and prints the reason when its arguments are invalid."""
    result = CliRunner().invoke(measure_command, arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "Every request was answered, none early: p99 lateness 1.000 ms."),
        ({"early": 2, "unfinished": 1}, "Flawed: 2 early, 1 unfinished; p99 lateness 1.000 ms."),
        ({"errors": {"closed": 3}, "lateness": None}, "Flawed: 3 failed; no answer was measured."),
        ({"interrupted": True, "lateness": None}, "Stopped: no answer was measured until then."),
        (
            {"lag": Percentiles.of([0.007])},
            "No verdict: the load generator was the bottleneck: p99 lag of 7.0 ms, above 2 ms.",
        ),
    ],
)
def test_the_verdict_is_a_sentence(changes: dict[str, Any], words: str) -> None:
    """The sentence has the lateness for each verdict except a bottleneck."""
    assert verdict_text(attrs.evolve(GOOD, **changes)) == words


def test_every_verdict_has_an_exit_code_of_its_own() -> None:
    """Each verdict has an exit code of its own, other than that of wrong usage."""
    assert set(EXIT_CODES) == set(Verdict)
    assert len({2, *EXIT_CODES.values()}) == len(Verdict) + 1


def test_a_url_is_printed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command prints square brackets in a URL as they are."""

    def reported(*_: object, **__: object) -> Report:
        return attrs.evolve(GOOD, url="http://h/[/x]")

    monkeypatch.setattr(command, "run", reported)
    result = CliRunner().invoke(measure_command, ["http://h/", "--rate", "5", "--delay", "1"])
    assert "http://h/[/x]: " in result.output


def test_missing_figures_are_dashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command prints a dash when there is no figure."""
    cost = Cost(cpu_per_answer=None, idle=1000, plateau=2000, per_pending=None, source="rss")

    def reported(*_: object, **__: object) -> Report:
        return attrs.evolve(GOOD, cost=cost, lag=None)

    monkeypatch.setattr(command, "run", reported)
    result = CliRunner().invoke(measure_command, ["http://h/", "--rate", "5", "--delay", "1"])
    assert " - " in result.output
    assert result.exit_code == 0

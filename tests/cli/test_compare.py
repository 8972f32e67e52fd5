"""The command as a process: its output, its files, its exit code."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from rich.console import Console

from latebin.cli import compare as command
from latebin.cli.compare import EXIT_CODES, compare_command, show, spread_text
from latebin.compare.findings import Comparison, Outcome, Spread
from latebin.testing.process import ServiceProcess, serving
from tests.support import doctored_service
from tests.support.comparisons import DIFFERENT, EVIL, EXAMPLES, SCHEMA_FILE, comparison, parsed, turns
from tests.support.late_server import refusing_port
from tests.support.process import environment

PROGRAM = (sys.executable, "-m", "latebin", "compare")


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (*PROGRAM, *arguments),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment(COLUMNS="120", **variables),
    )


@pytest.fixture(scope="module")
def doctored() -> Iterator[ServiceProcess]:
    with serving(program=(doctored_service.__file__,)) as service:
        yield service


def test_the_whole_of_it(tmp_path: Path) -> None:
    """The command starts a service, prints, writes both files, and leaves nothing running."""
    json_file, html_file = tmp_path / "c.json", tmp_path / "c.html"
    done = run(
        "--pending", "50", "--rounds", "1", "--bound", "31s", "--longest", "200ms", "--json", json_file.as_posix(),
        "--html", html_file.as_posix(),
        STARTED_BY=str(tmp_path),
    )  # fmt: skip
    assert json_file.exists(), done.stderr
    written = json.loads(json_file.read_text())
    Draft202012Validator(json.loads(SCHEMA_FILE.read_text())).validate(written)
    assert written["parity"]["differences"] == []
    assert len(written["rounds"]) == 1
    assert written["rounds"][0]["klein"]["load"]["server"]["memory"] in {"pss", "rss"}
    assert done.returncode == EXIT_CODES[Outcome(written["outcome"])]
    assert "Same answers" in done.stdout
    assert "Work for the author of each style" in done.stdout
    assert "This takes about" in done.stderr
    parsed(html_file.read_text())
    assert not [path for path in Path("/proc").glob("[0-9]*/environ") if str(tmp_path).encode() in bytes_of(path)]


def bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_difference(doctored: ServiceProcess) -> None:
    """The command prints a diff and exits with 1 when the styles differ."""
    done = run("--url", doctored.url, "--rounds", "0", "--longest", "100ms")
    assert done.returncode == 1
    assert "--- klein" in done.stdout
    assert "+++ resource" in done.stdout
    assert "Different answers" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pid", "1"], "--pid needs --url"),
        (["--bound", "5s"], "the bound is 5 s"),
        (["--bound", "soon"], "Invalid duration 'soon': expected a duration"),
        (["--rounds", "0", "--url", "http://127.0.0.1/path"], "has a path"),
        (["--rounds", "0", "--url", "ftp://127.0.0.1"], "is not an http:// or https:// URL"),
        (["--rounds", "0", "--url", "https://127.0.0.1"], "is not an http:// URL"),
        (["--rounds", "-1"], "not in the range"),
        (["--rounds", "few"], "'few' is not a valid integer."),
        (["--json", "/nowhere/c.json"], "there is no directory '/nowhere'"),
        (["--html", "/nowhere/c.html"], "there is no directory '/nowhere'"),
    ],
)
def test_wrong_usage_is_refused(arguments: list[str], words: str) -> None:
    """The command exits with 2 and prints the reason when it cannot compare."""
    result = CliRunner().invoke(compare_command, arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


def test_no_service() -> None:
    """The command prints one line and nothing else when no service can be reached."""
    result = CliRunner().invoke(compare_command, ["--rounds", "0", "--url", f"http://127.0.0.1:{refusing_port()}"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: the service cannot be reached: ")


def test_a_missing_extra_is_reported_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is measured when the libraries of the page are missing."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "latebin.compare.html", raising=False)
    monkeypatch.setattr(command, "compare", None)
    monkeypatch.delattr("latebin.compare.html", raising=False)
    result = CliRunner().invoke(compare_command, ["--html", str(tmp_path / "c.html")])
    assert result.exit_code == 1
    assert "--html needs matplotlib, which is not installed: pip install '.[report]'" in result.output


@pytest.mark.parametrize("outcome", EXAMPLES)
def test_exit_codes(monkeypatch: pytest.MonkeyPatch, outcome: Outcome) -> None:
    """The command ends with the exit code of its outcome."""

    def found(*_: object, **__: object) -> Comparison:
        return EXAMPLES[outcome]

    monkeypatch.setattr(command, "compare", found)
    assert set(EXIT_CODES) == set(Outcome)
    assert CliRunner().invoke(compare_command, []).exit_code == EXIT_CODES[outcome]


def test_markup_is_printed_as_it_is() -> None:
    """Square brackets from the service are printed as they are."""
    console = Console(file=io.StringIO(), width=200)
    show(comparison(turns(2, 1), parity=DIFFERENT), console)
    assert EVIL in console.file.getvalue()  # type: ignore[attr-defined]


def test_skipped() -> None:
    """A skipped conversation is printed with its reason."""
    console = Console(file=io.StringIO(), width=200)
    show(comparison(turns(2, 1)), console)
    assert "Conversation skipped: four. a reason." in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("rounds", "expected"), [(1, " x 0.5 s, 1 round\n"), (2, " x 0.5 s, 2 rounds\n")])
def test_rounds_in_the_title(rounds: int, expected: str) -> None:
    """The table of figures is headed by the load and the number of rounds."""
    console = Console(file=io.StringIO(), width=200)
    show(comparison(*[turns(2, 1)] * rounds), console)
    assert expected in re.sub(" +\n", "\n", console.file.getvalue())  # type: ignore[attr-defined]


def test_spread_text() -> None:
    """A spread has its median and its ends, and a missing one is a dash."""
    assert spread_text(Spread(1, 2, 3), str) == "2\n1 to 3"
    assert spread_text(None, str) == "-"

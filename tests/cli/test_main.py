import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from latebin.cli import main
from tests.support.command import latebin, refusal
from tests.support.process import environment


def test_version() -> None:
    """The installed command prints its version."""
    assert re.fullmatch(r"latebin, version \d+\.\d+\.\d+\n", latebin("--version").stdout)


def test_no_command() -> None:
    """The help goes to standard error with exit code 2 when there is no command."""
    done = latebin()
    assert (done.returncode, done.stdout, done.stderr) == (2, "", latebin("--help").stdout)


@pytest.mark.parametrize("command", ["measure", "compare"])
def test_a_missing_extra(command: str) -> None:
    """A command names the extra to install when it is missing; the help needs none."""
    without = "import sys; sys.modules['hdrh.histogram'] = None;from latebin.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", without, command, "--anything", "x"], capture_output=True, text=True, check=False,
        env=environment(),
    )  # fmt: skip
    assert done.returncode == 1
    assert re.fullmatch(
        rf"latebin: {command} needs [a-z.]+, which is not installed: pip install '\.\[measure\]'\n", done.stderr
    )
    shown = subprocess.run(
        [sys.executable, "-c", without, command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    assert f"Usage: latebin {command}" in shown.stdout.replace("-c", "latebin")
    listed = subprocess.run(
        [sys.executable, "-c", without, "--help"], capture_output=True, text=True, check=True, env=environment()
    )
    assert {"serve", "measure", "compare"} <= set(listed.stdout.split())


def test_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A refusal is one line when click writes several."""
    assert refusal(monkeypatch, capsys, "manifest") == (
        "latebin: Missing argument '{compose|kubernetes}'. Choose from: compose, kubernetes\n"
    )


def test_a_command_with_its_extra() -> None:
    """A command comes from its module."""
    result = CliRunner().invoke(main.cli, ["measure", "--help"])
    assert "Measure how late the server at URL answers." in result.output


def test_unknown_command() -> None:
    """The refusal names the commands when the name is unknown."""
    done = CliRunner().invoke(main.cli, ["serv", "--port", "0"])
    assert done.exit_code == 2
    assert "There is no command 'serv'; there are serve, health, " in done.stderr
    assert "worker" not in done.stderr

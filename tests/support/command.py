"""The command line, as installed and in this process."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from latebin.cli import main
from tests.support.process import BOUND, environment

TRACE = Path(__file__).with_name("two.csv")


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the command line, which is to refuse its arguments; return its error message."""
    monkeypatch.setattr(sys, "argv", ["latebin", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main.main()
    assert stopped.value.code == 2
    written = capsys.readouterr()
    assert re.fullmatch(r"latebin: .*\n", written.err)
    assert written.out == ""
    return written.err


def latebin(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command as it is installed."""
    command = [str(Path(sys.executable).with_name("latebin")), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=BOUND, env=environment(**variables)
    )

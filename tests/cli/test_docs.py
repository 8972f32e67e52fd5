import pytest
from click.testing import CliRunner

from latebin.cli import docs
from latebin.cli.main import cli
from latebin.core.topics import TOPICS
from tests.support.command import latebin, refusal
from tests.support.process import ROOT


def test_list() -> None:
    """`latebin docs` lists every page with its subject."""
    lines = CliRunner().invoke(cli, ["docs"]).stdout.splitlines()
    assert [tuple(line.split(maxsplit=1)) for line in lines] == list(TOPICS.items())


@pytest.mark.parametrize("topic", TOPICS)
def test_page(topic: str) -> None:
    """`latebin docs TOPIC` writes the file unchanged when the output is a pipe."""
    page = (ROOT / "app" / "latebin" / "docs" / f"{topic}.md").read_text("utf-8")
    assert CliRunner().invoke(cli, ["docs", topic]).stdout == page


def test_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A page is formatted, without marks and backticks, when the output is a terminal."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    docs.docs_command.main(["faults"], standalone_mode=False)
    written = capsys.readouterr().out
    assert "Faults" in written
    assert "# Faults" not in written
    assert "`" not in written


def test_unknown_topic(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown topic is refused with exit code 2 and the list of topics."""
    message = refusal(monkeypatch, capsys, "docs", "latency")
    assert "'latency'" in message
    assert all(f"'{topic}'" in message for topic in TOPICS)


def test_installed() -> None:
    """The installed command finds the pages."""
    assert latebin("docs", "faults").stdout.startswith("# Faults\n")

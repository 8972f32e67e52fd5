"""The `trace` command."""

import gzip
from pathlib import Path

import pytest
from click.testing import CliRunner

from latebin.cli import main
from latebin.core.language.trace_file import read

REQUEST = '192.0.2.1 - - [26/Nov/2026:10:00:00 +0000] "GET /a HTTP/1.1" 200 612 "-" "curl/8"'


def test_read_again(tmp_path: Path) -> None:
    """A trace is read as it was written, times above a minute too."""
    log = tmp_path / "access.log"
    log.write_text(f"{REQUEST} 0.123\n\n{REQUEST}\n{REQUEST} 75.000\n")
    done = CliRunner().invoke(main.cli, ["trace", str(log)], catch_exceptions=False)
    assert done.exit_code == 0
    assert read("api", done.stdout.splitlines()).values == (0.123, 75.0)
    assert done.stderr == "taken: 2 nginx; skipped: 1 blank, 1 without a time\n"


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\xff\xfe", gzip.compress(REQUEST.encode(), mtime=0), f"{REQUEST}\n".encode("utf-16"), b'{"a":' * 10_000],
    ids=["empty", "bytes", "gzip", "UTF-16", "nested"],
)
def test_odd(content: bytes) -> None:
    """A file without the time of any request is refused."""
    done = CliRunner().invoke(main.cli, ["trace", "-"], input=content)
    assert done.exit_code == 2
    assert "the log has no time of a request" in done.stderr
    assert not done.stdout


def test_no_file() -> None:
    """A log is refused when it is not there."""
    done = CliRunner().invoke(main.cli, ["trace", "/nowhere/access.log"])
    assert done.exit_code == 2
    assert "File '/nowhere/access.log' does not exist." in done.stderr

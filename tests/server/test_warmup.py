"""The service answers itself once before it listens."""

import subprocess
import sys

from twisted.logger import capturedLogs

from latebin.core.settings import Settings
from latebin.server.warmup import PATHS, warm_up


def layout(*words: str) -> tuple[int, int]:
    """Return the sizes that `tests.support.layout` measures."""
    command = [sys.executable, "-m", "tests.support.layout", *words]
    connection, request = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout.split()
    return int(connection), int(request)


def test_layout() -> None:
    """Attributes are held inline when many clients come at once at first."""
    warm, cold = layout("warm"), layout()
    assert 2 * max(warm) < min(cold)


def test_both_styles_answer() -> None:
    """Each style answers from beginning to end when the service warms up."""
    answers = warm_up(Settings())
    assert len(answers) == len(PATHS) == 2
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"Sorry to keep you waiting.</body></html>")


def test_no_log() -> None:
    """Nothing is logged when the service warms up, even if it refuses every request."""
    with capturedLogs() as events:
        warm_up(Settings(max_pending=0))
    assert not events

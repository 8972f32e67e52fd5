"""The service answers itself once before it is listened for."""

import subprocess
import sys

from twisted.logger import capturedLogs

from latebin.core.settings import Settings
from latebin.server.warmup import PATHS, warm_up


def layout(*words: str) -> tuple[int, int]:
    """Give the sizes that `tests.support.layout` tells."""
    command = [sys.executable, "-m", "tests.support.layout", *words]
    connection, request = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout.split()
    return int(connection), int(request)


def test_layout() -> None:
    """However many come at once at first, what a connection and a request have is kept within them."""
    warm, cold = layout("warm"), layout()
    assert 2 * max(warm) < min(cold)


def test_both_styles_answer() -> None:
    """Each style answers, from beginning to end."""
    answers = warm_up(Settings())
    assert len(answers) == len(PATHS) == 2
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"Sorry to keep you waiting.</body></html>")


def test_nobody_hears_of_it() -> None:
    """Nothing is logged, not even by a service that refuses whatever it is asked."""
    with capturedLogs() as events:
        warm_up(Settings(max_pending=0))
    assert not events

import os
import signal
import subprocess
import sys

import pytest

from latebin.server.guard import Guard
from latebin.testing.process import serving
from tests.server.test_workers import alive, children, children_of, state
from tests.support.process import BOUND, ROOT, environment, refused, until

HELD = """
import threading, time
from twisted.internet import reactor, threads
from twisted.internet.defer import Deferred
from latebin.cli import main
from latebin.server import listening

def spin():
    while True:
        pass

def hold():
    {hold}

announced = listening.announce

def announce(*arguments):
    reactor.callLater(0, hold)
    return announced(*arguments)

listening.announce = announce
main.main()
"""


@pytest.mark.parametrize(
    "hold",
    [
        "reactor.addSystemEventTrigger('before', 'shutdown', Deferred)",
        "threads.deferToThread(time.sleep, 3600)",
        "threading.Thread(target=time.sleep, args=[3600]).start()",
        "spin()",
        "time.sleep(3600)",
    ],
    ids=["a Deferred", "a thread of the pool", "a thread", "a turn that does not end", "a call that does not return"],
)
def test_held(hold: str) -> None:
    """A held process ends and writes its stacks when its time is up."""
    with serving(program=("-c", HELD.format(hold=hold))) as process:
        assert process.stop() == 1
        output = process.log()
    assert "Timeout (0:00:" in output
    assert "most recent call first" in output


def test_second_signal_while_held() -> None:
    """A held process ends long before its drain when a second signal comes."""
    code = HELD.format(hold="threading.Thread(target=time.sleep, args=[3600]).start()")
    with serving("--drain-timeout", "1h", program=("-c", code)) as process:
        process.send_signal(signal.SIGTERM)
        # Two signals of one kind that nothing has heard are one.
        until(lambda: refused(process.port))
        assert process.stop() == 1


def test_a_stopped_worker() -> None:
    """A worker that hears no signal is killed when its time is up."""
    with serving("--workers", "2") as process:
        workers = children(process)
        os.kill(workers[0], signal.SIGSTOP)
        until(lambda: state(workers[0]) == "T")
        assert process.stop() == 0
    assert not any(map(alive, workers))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_while_workers_start(number: int) -> None:
    """A signal that comes while workers start is heard, and none is left."""
    command = [sys.executable, "-m", "latebin", "serve", "--port", "0", "--workers", "4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(), cwd=ROOT) as popen:
        process = started_from(popen)
        popen.send_signal(number)
        output, _ = popen.communicate(timeout=BOUND)
    assert popen.returncode == 0
    assert not any(map(alive, process))
    assert "Traceback" not in output


def started_from(popen: "subprocess.Popen[str]") -> list[int]:
    """Wait for a process's first child; give back those that there are."""
    found: list[int] = []

    def any_children() -> bool:
        found[:] = children_of(popen.pid)
        return bool(found)

    until(any_children)
    return found


def test_armed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time begins with the first call, and is shortened by a second signal alone."""
    armed: list[float] = []
    monkeypatch.setattr("faulthandler.dump_traceback_later", lambda seconds, **_: armed.append(seconds))
    guard = Guard(1e12)
    guard.arm()
    guard.arm()
    guard.shorten()
    assert armed == [1e9, 3.0]

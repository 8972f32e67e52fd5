from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from latebin.answers import record
from latebin.answers.record import Recorder, RecordingUpstreams
from latebin.answers.upstream_connection import Question
from latebin.core.http.upstream_response import Head
from latebin.core.language.trace_file import read

HEAD = Head(1, 200, b"OK", ())


class Slow:
    """Upstreams that answer when the test says so, and the listener that they answer to."""

    listener: Any = None

    def ask(self, question: Question, listener: Any, /) -> Any:
        Slow.listener = listener
        return self


class Listener:
    """A listener that keeps what it was called with."""

    def __init__(self) -> None:
        self.heads: list[Head] = []
        self.progressed = self.interim = self.came = self.ended = self.failed = self.heads.append

    def began(self, head: Head) -> None:
        self.heads.append(head)


def asked(upstreams: RecordingUpstreams, name: str) -> Listener:
    listener = Listener()
    upstreams.ask(Question(name, b"GET", b"/", ()), cast("Any", listener))
    return listener


def test_recorded(tmp_path: Path) -> None:
    """The file of an upstream has the time of each answer, as a trace."""
    clock, file = Clock(), tmp_path / "api.trace"
    with capturedLogs() as events:
        upstreams = RecordingUpstreams(Slow(), {"api": str(file)}, clock)
        for seconds in (0.25, 0.5, 75.0):
            listener = asked(upstreams, "api")
            clock.advance(seconds)
            Slow.listener.began(HEAD)
            assert listener.heads == [HEAD]
        other = asked(upstreams, "other")
        assert Slow.listener is other
        upstreams.close()
    assert read("api", file.read_text().splitlines()).values == (0.25, 0.5, 75.0)
    assert events[-1]["number"] == 3
    assert events[-1]["summary"] == ": p50 500ms, p90 500ms, p99 500ms, most 1m15s"


def test_continued(tmp_path: Path) -> None:
    """A second recording continues the file of the first, and writes while requests come."""
    file = tmp_path / "api.trace"
    for _ in range(2):
        clock = Clock()
        recorder = Recorder("api", file, clock)
        recorder.record(0.125)
        clock.advance(1)
        recorder.record(0.25)
        assert file.read_text().endswith("0.125000s\n0.250000s\n")
        recorder.close()
    assert file.read_text() == "0.125000s\n0.250000s\n" * 2


def test_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording ends at its bound, and says so once."""
    monkeypatch.setattr(record, "MAX_VALUES", 2)
    with capturedLogs() as events:
        recorder = Recorder("api", tmp_path / "api.trace", Clock())
        for _ in range(5):
            recorder.record(0.1)
        recorder.close()
    assert (tmp_path / "api.trace").read_text() == "0.100000s\n" * 2
    assert [event.get("reason") for event in events] == ["2 times are recorded", None]


def test_full_disk() -> None:
    """A file that cannot be written ends the recording, and the service goes on."""
    with capturedLogs() as events:
        recorder = Recorder("api", Path("/dev/full"), clock := Clock())
        clock.advance(2)
        recorder.record(0.1)
        recorder.record(0.1)
        recorder.close()
    assert "No space left" in events[0]["reason"]
    assert len(events) == 2


def test_nothing_recorded(tmp_path: Path) -> None:
    """A recording without any request says that."""
    with capturedLogs() as events:
        Recorder("api", tmp_path / "api.trace", Clock()).close()
    assert (events[0]["number"], events[0]["summary"]) == (0, "")

"""The recording of an upstream's own times, as a trace to replay."""

from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from latebin.core.language.duration import render
from latebin.core.language.trace import MAX_VALUES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latebin.answers.upstream_connection import Listener, Question, Upstream
    from latebin.answers.upstreams import Asker
    from latebin.core.http.upstream_response import Head

log = Logger()

PERCENTILES: Final = (50, 90, 99)

EVERY: Final = 1.0
"""Seconds between two times when the file gets what was recorded, while requests come."""


class Recorder:
    """The times of one upstream, in a file and in memory.

    The file has a time in seconds on each line, as `latebin serve --trace NAME=FILE` reads it. An existing file is
    continued. After MAX_VALUES times, or when the file cannot be written, the recording ends.

    Args:
        name: the name of the upstream.
        path: the file.
        clock: the clock of EVERY.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, name: str, path: Path, clock: IReactorTime) -> None:
        self._name = name
        # Several workers append to one file; each writes whole lines.
        self._file = path.open("ab", buffering=0)
        self._clock = clock
        self._times = array("d")
        self._lines: list[str] = []
        self._written = clock.seconds()
        self._full = False

    def record(self, seconds: float) -> None:
        """Take the time of an answer, in seconds."""
        if self._full:
            return
        self._times.append(seconds)
        self._lines.append(f"{seconds:.6f}s\n")
        if len(self._times) == MAX_VALUES:
            self._end(f"{MAX_VALUES} times are recorded")
        elif self._clock.seconds() - self._written >= EVERY:
            self._write()

    def close(self) -> None:
        """Write the rest, and log the percentiles of this process."""
        self._write()
        self._full = True
        self._file.close()
        log.info(
            "recorded {number} times of {name}{summary}",
            number=len(self._times),
            name=self._name,
            summary=self._summary(),
        )

    def _summary(self) -> str:
        if not self._times:
            return ""
        ascending = sorted(self._times)
        figures = [f"p{share} {_render(ascending[(len(ascending) - 1) * share // 100])}" for share in PERCENTILES]
        return f": {', '.join(figures)}, most {_render(ascending[-1])}"

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        self._written = self._clock.seconds()
        if self._full or not lines:
            return
        try:
            self._file.write("".join(lines).encode("ascii"))
        except OSError as error:
            self._end(str(error))

    def _end(self, reason: str) -> None:
        self._write()
        self._full = True
        log.warn("the recording of {name} ended: {reason}", name=self._name, reason=reason)


def _render(seconds: float) -> str:
    return render(round(seconds, 6))


class RecordingListener:
    """A listener that takes the time to the head of the final response.

    Args:
        listener: the listener that the response is for.
        recorder: the times of its upstream.
        clock: the clock of the times.
    """

    def __init__(self, listener: "Listener", recorder: Recorder, clock: IReactorTime) -> None:
        self._recorder = recorder
        self._clock = clock
        self._asked = clock.seconds()
        self._listener = listener
        self.progressed = listener.progressed
        self.interim = listener.interim
        self.came = listener.came
        self.ended = listener.ended
        self.failed = listener.failed

    def began(self, head: "Head") -> None:
        self._recorder.record(self._clock.seconds() - self._asked)
        self._listener.began(head)


class RecordingUpstreams:
    """The upstreams of a service, of which some are recorded.

    Args:
        upstreams: the upstreams.
        files: the file of each recorded upstream, by its name.
        clock: the clock of the times.

    Raises:
        OSError: a file cannot be opened.
    """

    def __init__(self, upstreams: "Asker", files: "Mapping[str, str]", clock: IReactorTime) -> None:
        self._upstreams = upstreams
        self._clock = clock
        self._recorders = {name: Recorder(name, Path(path), clock) for name, path in files.items()}

    def ask(self, question: "Question", listener: "Listener", /) -> "Upstream":
        recorder = self._recorders.get(question.upstream)
        if recorder is None:
            return self._upstreams.ask(question, listener)
        return self._upstreams.ask(question, RecordingListener(listener, recorder, self._clock))

    def close(self) -> None:
        """End each recording."""
        for recorder in self._recorders.values():
            recorder.close()

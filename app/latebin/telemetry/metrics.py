"""The metrics of the service for Prometheus, over all of its workers."""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Mapping, Sized
from typing import Final

from twisted.internet.interfaces import IReactorTime

from latebin.answers.interfaces import ServedRequest
from latebin.core.ends import CAUSES
from latebin.core.faults import KINDS
from latebin.core.http.reply import ALLOWED, Reply, page
from latebin.state.interfaces import PoolStatus
from latebin.telemetry.counters import SharedCounters
from latebin.telemetry.families import BUCKETS, DEPTH, GAUGES, LOST, METHODS, START, STATUSES, STYLES, WIDTH
from latebin.telemetry.process_usage import Meter
from latebin.timing.activity import Activity, RegularLook
from latebin.timing.piecewise import complete

INTERVAL: Final = 0.25
"""Seconds from one look at the event loop to the next, while answers are pending and after each request.

No figure of another worker is older than that if a request, or a client that connects or leaves, has changed it. CPU
time, memory and descriptors of a worker that only sends, or is idle, are at most `activity.REST` seconds old.
"""

_ANSWERS: Final = START["latebin_answers"]
_REFUSED: Final = START["latebin_refused"]
_LEFT: Final = START["latebin_left"]
_LOST: Final = START["latebin_lost"]
_ERRORS: Final = START["latebin_connection_errors"]
_BROKEN: Final = START["latebin_broken"]
_FAULTS: Final = START["latebin_faults"]
_CUT: Final = START["latebin_cut"]
_STARTS: Final = START["latebin_worker_starts"]
_LOG_LINES_DROPPED: Final = START["latebin_log_lines_dropped"]
_UNREAD_ABORTS: Final = START["latebin_unread_aborts"]
_ACCEPT_FAILURES: Final = START["latebin_accept_failures"]
_CPU: Final = START["process_cpu_seconds"]
_LATENESS: Final = START["latebin_lateness_seconds"]
_LAG: Final = START["latebin_loop_lag_seconds"]
_STATE_SECONDS: Final = START["latebin_state_seconds"]
_STATE_UP: Final = START["latebin_state_up"]
_STATE_FAILURES: Final = START["latebin_state_failures"]
_LIVING: Final = START[GAUGES[0].name]

_STYLE: Final = {style: number for number, style in enumerate(STYLES)}
_METHOD: Final = {method.encode("ascii"): number for number, method in enumerate(ALLOWED)}
_LOSS: Final = {end: number for number, end in enumerate(LOST)}
_CAUSE: Final = {cause: number for number, cause in enumerate(CAUSES)}
_FAULT: Final = {fault: number for number, fault in enumerate(KINDS)}

_VARY: Final = (b"Vary", b"Accept")

_OTHER_METHOD: Final = len(METHODS) - 1
_OTHER_STATUS: Final = len(STATUSES) - 1


class Metrics:
    """The metrics of one worker, and the page with those of all.

    Args:
        clock: the clock that measures the answers.
        pending: the pending answers, by style.
        counters: the counters of all workers; None for a service without other workers.
        worker: the number of this worker's row.
        activity: brings the looks back to their interval; without requests they become rare.
        unread: returns the bytes of answers that wait for clients.
        pools: returns the figures of the pools.
    """

    def __init__(
        self,
        clock: IReactorTime,
        pending: Mapping[str, Sized],
        counters: SharedCounters | None = None,
        worker: int = 0,
        activity: Activity | None = None,
        *,
        unread: Callable[[], int] = lambda: 0,
        pools: Callable[[], Iterable[PoolStatus]] = tuple,
    ) -> None:
        counters = counters or SharedCounters(WIDTH)
        self._unread = unread
        self._pending = [pending[style] for style in STYLES[:2]]
        self._cells = counters.row(worker)
        self._meter = Meter()
        self._look = RegularLook(clock, activity or Activity(), INTERVAL, self._looked)
        self._sites = 0
        self._cpu_before = 0.0
        self._state_up: bool | None = None
        self._counters = counters
        self._pools = pools

    def start(self) -> None:
        """Begin to look at the event loop and the process, for the first site."""
        self._sites += 1
        if self._sites > 1:
            return
        self._meter.open()
        self._cells[_STARTS] += 1
        # Earlier workers with this row have used CPU time, and a counter does not go back.
        self._cpu_before = self._cells[_CPU]
        self._publish()
        self._look.start()

    def stop(self) -> None:
        """Look no more, with the last site."""
        self._sites -= 1
        if self._sites:
            return
        self._look.stop()
        self._meter.close()

    def answered(self, request: ServedRequest) -> None:
        """Count an answer that was given."""
        cells, answer = self._cells, request.pending_answer
        style, code = _STYLE[request.style], request.code
        status = code - 200 if 200 <= code < 600 else _OTHER_STATUS  # noqa: PLR2004  # what STATUSES has
        method = _METHOD.get(request.method, _OTHER_METHOD)
        cells[_ANSWERS + (style * len(METHODS) + method) * len(STATUSES) + status] += 1
        if answer is not None:
            if answer.measured is not None:
                self._observe(_LATENESS + style * DEPTH, answer.measured - answer.plan.wait)
            if answer.plan.cut:
                cells[_CUT + style] += 1
        elif code >= 400:  # noqa: PLR2004  # where the statuses of problems begin
            cells[_REFUSED + style * len(STATUSES) + status] += 1

    def left(self, request: ServedRequest) -> None:
        """Count a connection that was lost before the answer was whole, by its end."""
        cells, style, answer = self._cells, _STYLE[request.style], request.pending_answer
        fault = None if answer is None else answer.fault
        if request.broken:
            cells[_BROKEN + style] += 1
        elif fault is not None:
            cells[_FAULTS + style * len(_FAULT) + _FAULT[fault]] += 1
        elif request.end == "left":
            cells[_LEFT + style] += 1
        else:
            cells[_LOST + style * len(_LOSS) + _LOSS[request.end]] += 1
        if request.pending_answer is not None and request.pending_answer.plan.cut:
            cells[_CUT + style] += 1

    def connection_error(self, cause: str) -> None:
        """Count a connection or stream that was ended by an error.

        Args:
            cause: one of `latebin.core.ends.CAUSES`.
        """
        self._cells[_ERRORS + _CAUSE[cause]] += 1

    def page(self) -> Reply:
        """Return the page that `rendering` makes in text format 0.0.4, in one go."""
        return complete(self.rendering(openmetrics=False))

    def rendering(self, *, openmetrics: bool) -> Generator[None, None, Reply]:
        """Make a page with the figures of all workers.

        Args:
            openmetrics: whether in OpenMetrics 1.0.0, instead of Prometheus' text format 0.0.4.

        Yields:
            After each piece of the work.

        Returns:
            The page.
        """
        from latebin.telemetry import exposition  # noqa: PLC0415  # 20 ms, for the first scrape

        self._publish()
        body = yield from exposition.rendering(
            self._counters, self._pools(), openmetrics=openmetrics, state=self._state_up is not None
        )
        return page(exposition.OPENMETRICS_TYPE if openmetrics else exposition.CONTENT_TYPE, body, _VARY)

    def accept_failed(self) -> None:
        """Count a connection that was not accepted."""
        self._cells[_ACCEPT_FAILURES] += 1

    def unread_aborted(self) -> None:
        """Count a connection that was aborted as its client left answers unread."""
        self._cells[_UNREAD_ABORTS] += 1

    def state_up(self, up: bool) -> None:  # noqa: FBT001  # the state itself
        """Note whether this worker reaches the state in Redis."""
        self._state_up = up
        # At once: a worker without requests rarely looks at itself.
        self._cells[_STATE_UP] = up

    def state_answered(self, seconds: float) -> None:
        """Count an answer of Redis, with its time."""
        self._observe(_STATE_SECONDS, seconds)

    def state_failed(self) -> None:
        """Count a script that Redis did not answer."""
        self._cells[_STATE_FAILURES] += 1

    def _observe(self, histogram: int, seconds: float) -> None:
        self._cells[histogram + bisect_left(BUCKETS, seconds)] += 1
        self._cells[histogram + len(BUCKETS)] += seconds

    def _looked(self, late: float) -> bool:
        self._observe(_LAG, late)
        self._publish()
        return any(self._pending)

    def _publish(self) -> None:
        """Update the gauges of this worker in its row, for all workers."""
        usage = self._meter.read()
        self._cells[_CPU] = self._cpu_before + usage.cpu
        used = usage.resident, usage.descriptors, usage.most_descriptors
        living = *map(len, self._pending), 1, self._unread(), self._state_up or 0, *used
        self._cells[_LIVING:WIDTH] = array("d", living)


def pending_in(counters: SharedCounters) -> int:
    """Return the number of pending answers in all workers, at most INTERVAL seconds old."""
    start, width = START["latebin_pending"], GAUGES[0].width
    return round(sum(counters.total(start, start + width)))


def log_lines_dropped(cells: "memoryview[float]") -> "memoryview[float]":
    """Return the cell in which a process counts the log lines that it drops.

    Args:
        cells: the row of the process in the shared counters.
    """
    return cells[_LOG_LINES_DROPPED : _LOG_LINES_DROPPED + 1]


def clear_gauges(cells: "memoryview[float]") -> None:
    """Set the gauges of a worker that has died to 0; its counters stay.

    Args:
        cells: the worker's row of the counters.
    """
    cells[_LIVING:WIDTH] = array("d", bytes(cells[_LIVING:WIDTH].nbytes))

"""The metrics by their names, and the cells of each in a row of counters."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import inf, prod
from typing import Final

import attrs

from latebin.core.ends import CAUSES, ENDS
from latebin.core.faults import KINDS
from latebin.core.http.reply import ALLOWED

STYLES: Final = ("klein", "resource", "site")

METHODS: Final = (*ALLOWED, "other")
"""Methods that answers are counted by; a caller can make up any other, and those share one label."""

STATUSES: Final = (*map(str, range(200, 600)), "other")

BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, inf)
"""Upper bounds of the histograms, in seconds, inclusive as Prometheus has them."""

LOST: Final = tuple(end for end in ENDS if end != "left")
"""The ends of answers that are counted by their names."""


@attrs.frozen
class Family:
    """A metric in a row of counters, with its cells for each combination of labels.

    Attributes:
        name: the metric's name, without the `_total` of a counter.
        text: its description in the exposition.
        labels: the values that each label can have.
        depth: cells of one combination.
        state: whether it is exposed with a state in Redis alone.
        zeros: whether a 0 is exposed; if not, it means that the platform does not report the figure.
    """

    name: str
    text: str
    labels: Mapping[str, Sequence[str]] = attrs.field(factory=dict)
    depth: int = 1
    zeros: bool = True
    state: bool = False

    @property
    def width(self) -> int:
        """The number of cells that the metric takes."""
        return self.depth * prod(map(len, self.labels.values()))


DEPTH: Final = len(BUCKETS) + 1
"""Cells of a histogram: one for each bucket, then the sum of what was observed."""

_STYLES: Final = {"style": STYLES}

_LATE_STYLES: Final = {"style": STYLES[:2]}

BY_STATUS: Final = (
    Family("latebin_answers", "Answers given.", {**_STYLES, "method": METHODS}, len(STATUSES)),
    Family("latebin_refused", "Requests answered with a problem at once.", _STYLES, len(STATUSES)),
)
"""Counters with a label more, `status`, and a cell for each of STATUSES."""

COUNTERS: Final = (
    Family("latebin_left", "Clients that left before their answer was whole.", _STYLES),
    Family("latebin_lost", "Answers lost as their connection or stream was ended.", {**_STYLES, "end": LOST}),
    Family("latebin_connection_errors", "Connections and streams ended by an error.", {"cause": CAUSES}),
    Family("latebin_broken", "Answers that an upstream broke off.", _LATE_STYLES),
    Family("latebin_faults", "Faults done in the place of an answer.", {**_LATE_STYLES, "fault": tuple(KINDS)}),
    Family("latebin_cut", "Delays drawn above the longest or above their max, and cut to it.", _LATE_STYLES),
    Family("latebin_worker_starts", "Worker processes started."),
    Family("latebin_accept_failures", "Connections not accepted, for want of file descriptors or memory."),
    Family("latebin_unread_aborts", "Connections aborted above --max-unread, as their answers were not read."),
    Family("latebin_log_lines_dropped", "Log lines that could not be written."),
    Family("latebin_state_failures", "Scripts that Redis did not answer.", state=True),
    Family("process_cpu_seconds", "CPU time used by all workers, in the system too."),
)

HISTOGRAMS: Final = (
    Family("latebin_lateness_seconds", "How much later than asked an answer left.", _LATE_STYLES, DEPTH),
    Family("latebin_loop_lag_seconds", "How late the event loop came to what was due.", depth=DEPTH),
    Family("latebin_state_seconds", "How long Redis took to answer a script.", depth=DEPTH, state=True),
)

GAUGES: Final = (
    Family("latebin_pending", "Answers that are waited for.", _LATE_STYLES),
    Family("latebin_workers", "Worker processes alive."),
    Family("latebin_unread_bytes", "Bytes of answers that wait for clients to read them."),
    Family("latebin_state_up", "Worker processes that reach the state in Redis.", state=True),
    Family("process_resident_memory_bytes", "Memory of all workers that is in RAM.", zeros=False),
    Family("process_open_fds", "File descriptors open in all workers.", zeros=False),
    Family("process_max_fds", "File descriptors that may be open in all workers."),
)

POOLS: Final = (
    Family("latebin_pool_busy", "Answers of a pool that are in service.", {"pool": ()}),
    Family("latebin_pool_waiting", "Answers in the line of a pool.", {"pool": ()}),
)
"""Gauges by pool, from the state of the service and not from a row of counters."""

MOST_POOLS: Final = 100
"""The most pools with series of their own; the others share the label `other`."""

_FAMILIES: Final = (*BY_STATUS, *COUNTERS, *HISTOGRAMS, *GAUGES)

_ENDS: Final = list(accumulate(family.width for family in _FAMILIES))

START: Final = {family.name: end - family.width for family, end in zip(_FAMILIES, _ENDS, strict=True)}
"""The first cell of each family in a worker's row, by the family's name."""

WIDTH: Final = _ENDS[-1]
"""The number of cells in a worker's row of the counters."""

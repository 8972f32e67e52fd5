"""The parts of a request that steer its answer: key, gate and pool."""

import re
from typing import Final

import attrs

# A client would take `.` and `..` out of a path (RFC 3986, section 5.2.4).
KEY: Final = re.compile(r"(?!\.\.?$)[A-Za-z0-9._-]{1,128}")
"""A key, or the name of a gate or a pool."""

KEY_ACCEPTED: Final = "1 to 128 letters, digits, `.`, `_` and `-`"

ORDERS: Final = ("fifo", "lifo", "random")
"""The orders in which a gate lets requests go."""

MAX_BARRIER: Final = 10_000
_SIZE: Final = re.compile(r"[1-9][0-9]{0,3}|10000")
MAX_SERVERS: Final = 10_000
MAX_QUEUE: Final = 1_000_000


@attrs.frozen
class GateWait:
    """A wait at a gate.

    Attributes:
        name: the name of the gate.
        size: how many requests a barrier waits for; None for a gate without a barrier.
        within: seconds after which a request goes on by itself.
        order: the order in which requests go, one of ORDERS.
        seed: the seed of a random order; None for a new order each time.
    """

    name: str
    size: int | None = None
    within: float = 0.0
    order: str = "fifo"
    seed: int | None = None


@attrs.frozen
class PoolWait:
    """A place in a pool of servers.

    Attributes:
        name: the name of the pool.
        servers: how many requests are in service at once.
        queue: how many more may wait; None for no limit.
    """

    name: str
    servers: int
    queue: int | None = None


@attrs.frozen
class Steering:
    """The key, the gate and the pool that a request names.

    Attributes:
        key: the name of the test that the request belongs to; None without one.
        gate: the gate that the answer waits at before its delay.
        pool: the pool in which the delay is the time of service.
    """

    key: str | None = None
    gate: GateWait | None = None
    pool: PoolWait | None = None


def parse_gate(text: str) -> tuple[str, int | None]:
    """Read a gate, with the size of its barrier behind a colon.

    Raises:
        ValueError: the text is not a gate.
    """
    name, colon, size = text.partition(":")
    if not KEY.fullmatch(name):
        raise ValueError(f"expected a name of {KEY_ACCEPTED}")
    if not colon:
        return name, None
    if not _SIZE.fullmatch(size):
        raise ValueError(f"expected a barrier of 1 to {MAX_BARRIER} requests behind the colon")
    return name, int(size)

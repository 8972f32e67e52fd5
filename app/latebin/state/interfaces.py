"""The interface of everything that a service remembers between requests.

A request without a key, a gate, a pool or a seed never gets here. An operation that another process may have to answer
can return a Deferred; that of this process's memory returns its result at once. Every operation can raise `Refused`, or
give it to its Deferred.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred

from latebin.core.http.reply import Problem
from latebin.core.journal import Asked, End, Kept
from latebin.core.steering import GateWait, PoolWait

Taken = tuple[int, int] | Deferred[tuple[int, int]]
"""A turn: the number of a request among those of its key, and its number for draws."""

Counted = tuple[int | None, str]
"""A seed, and the expression that is drawn from."""


class StateError(Exception):
    """The state that processes have in common cannot be reached at the start."""


@attrs.frozen
class KeyStatus:
    """A key, as `/control/keys` shows it.

    Attributes:
        key: the key.
        turn: the number of its requests so far.
        idle: seconds since its last request.
    """

    key: str
    turn: int
    idle: float


@attrs.frozen
class GateStatus:
    """A gate, as `/control/gates` shows it.

    Attributes:
        name: the name of the gate.
        waiting: how many requests wait.
        open: whether it lets every request through.
    """

    name: str
    waiting: int
    open: bool


@attrs.frozen
class PoolStatus:
    """A pool, as the metrics show it.

    Attributes:
        name: the name of the pool.
        busy: how many requests are in service.
        waiting: how many wait for a place in service.
    """

    name: str
    busy: int
    waiting: int


class Waiter(Protocol):
    """An answer that waits at a gate or in a line."""

    def passed(self) -> None:
        """Go on: the gate has let it through, or a place in service is free."""
        ...

    def end(self, problem: Problem, /) -> None:
        """Go on as a refusal."""
        ...


class Place(Protocol):
    """The place of an answer at a gate, or in a pool.

    Attributes:
        waiting: whether the answer still waits for `passed`.
    """

    waiting: bool

    def leave(self) -> None:
        """Give the place up; a second call has no effect."""
        ...


class Keys(Protocol):
    """The turns of keys and seeds."""

    def take(self, key: str | None, style: str, counted: Counted | None) -> Taken:
        """Take the turn of a request.

        Args:
            key: the key of the request; None without one.
            style: the style that answers; requests without a key are counted by style.
            counted: the seed and the expression to count for; None if the request needs no count of its own.

        Returns:
            The number of the request among those of its key, and its number for draws. Without `counted`, both are the
            same. Without a key, the first is 1.

        Raises:
            Refused: 429, for a new key above the bound; 409, for a key that other workers would not know.
        """
        ...

    def forget(self, key: str) -> bool | Deferred[bool]:
        """Forget a key with its turn and its seeds.

        Returns:
            Whether it was known.
        """
        ...

    def status(self, key: str) -> KeyStatus | Deferred[KeyStatus | None] | None:
        """Return the status of a key; None for an unknown one."""
        ...

    def all(self) -> Iterable[KeyStatus] | Deferred[Iterable[KeyStatus]]:
        """Return the status of every key, in the order of their last requests."""
        ...


class Gates(Protocol):
    """The gates, and the answers that wait at them."""

    def arrive(self, wait: GateWait, waiter: Waiter, n: int) -> Place:
        """Come to a gate.

        Args:
            wait: the gate, whose size and order are those of its latest request.
            waiter: the answer that waits.
            n: the number of the request for its draws, for a random order with a seed.

        Returns:
            Its place; it does not wait where the gate is open.

        Raises:
            Refused: 429, for a new gate above the bound.
        """
        ...

    def release(self, name: str, count: int | None) -> int | Deferred[int]:
        """Let waiting answers go, one in each turn of the reactor.

        Args:
            name: the name of the gate.
            count: how many at most; None for all.

        Returns:
            How many go.
        """
        ...

    def open(self, name: str, *, open: bool) -> int | Deferred[int]:  # noqa: A002  # the member's name in JSON
        """Open a gate for good, or close it.

        Returns:
            How many answers go.

        Raises:
            Refused: 429, for a new gate above the bound.
        """
        ...

    def until(self, name: str, waiting: int) -> Deferred[int]:
        """Wait until so many answers wait at a gate.

        Returns:
            A Deferred of how many there are then; cancel it to wait no longer.

        Raises:
            Refused: 429, for a new gate above the bound, or for too many such requests.
        """
        ...

    def status(self, name: str) -> GateStatus | Deferred[GateStatus]:
        """Return the status of a gate; a gate without a request is closed."""
        ...

    def all(self) -> Iterable[GateStatus] | Deferred[Iterable[GateStatus]]:
        """Return the status of every gate that is open or has requests."""
        ...


class Pools(Protocol):
    """The pools, and the answers in service or in line."""

    def arrive(self, wait: PoolWait, waiter: Waiter) -> Place:
        """Come to a pool.

        Args:
            wait: the pool, whose numbers of servers and of places in line are those of its latest request.
            waiter: the answer.

        Returns:
            Its place, to be left when the service is over.

        Raises:
            Refused: 503, if the line is full; 429, for a new pool above the bound.
        """
        ...

    def all(self) -> Iterable[PoolStatus]:
        """Return the status of every pool.

        The figures are those of all processes; with several, they may be a second old.
        """
        ...


class Record(Protocol):
    """The place in the journal of one request, which fills it in."""

    def planned(self, n: int | None, asked_ms: float | None, /) -> None:
        """Note the turn of the request, and the delay that it asked for."""
        ...

    def end(self, end: End, /) -> None:
        """Note the end of the request; a second call has no effect."""
        ...


class Journal(Protocol):
    """The requests of each key, with their ends.

    It is bounded: at the bound the newcomer is dropped, and its key's journal is not complete.
    """

    def begin(self, key: str, asked: Asked, connection: object) -> Record:
        """Write a request down.

        Args:
            key: its key.
            asked: the request.
            connection: the connection that it came on; only its identity counts, and it is not kept alive.
        """
        ...

    def of(self, key: str) -> Kept | Deferred[Kept]:
        """Return the journal of a key; an empty one for an unknown key."""
        ...

    def until(self, key: str, ended: int) -> Deferred[None]:
        """Wait until so many requests of a key have ended.

        Returns:
            A Deferred that fires then; cancel it to wait no longer.

        Raises:
            Refused: 429, for too many such requests.
        """
        ...

    def forget(self, key: str) -> None:
        """Forget the journal of a key; the ends of pending requests are dropped."""
        ...


@attrs.frozen
class Answers:
    """The answers of several processes to a question.

    Attributes:
        found: the answer of each process that gave one, in the order of the processes' names.
        complete: whether these are all processes.
    """

    found: Sequence[Mapping[str, Any]]
    complete: bool


class Peers(Protocol):
    """All processes with the same state, this one among them.

    Attributes:
        instance: the name of this process.
    """

    instance: str

    def respond(self, answer: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        """Have a function answer the questions to this process."""
        ...

    def leave(self) -> Deferred[Any]:
        """Leave the others: this process has nothing more in the common state.

        Returns:
            A Deferred that fires when that is done, or cannot be done.
        """
        ...

    def ask(self, question: Mapping[str, Any], instance: str | None = None) -> Deferred[Answers]:
        """Ask all processes, or one.

        Args:
            question: an object that JSON can have.
            instance: the name of the one; None for all.

        Returns:
            A Deferred of their answers, of which some are missing where a process is silent.

        Raises:
            Refused: 429, for too many questions at once.
        """
        ...


class State(Protocol):
    """Everything that a service remembers between requests.

    Attributes:
        keys: the turns of keys and seeds.
        gates: the gates.
        pools: the pools.
        journal: the requests of each key.
        peers: the processes with the same state; None for a state of one process.
    """

    @property
    def keys(self) -> Keys: ...
    @property
    def gates(self) -> Gates: ...
    @property
    def pools(self) -> Pools: ...
    @property
    def journal(self) -> Journal: ...
    @property
    def peers(self) -> Peers | None: ...

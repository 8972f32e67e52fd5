"""The gates, scenarios and pending answers of a service, as a client hands them out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Literal, Self
from urllib.parse import quote

from latebin.client.exchange import Exchange, ProblemError, seconds


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate; as a context manager, it is opened at the end.

    Attributes:
        name: its name in the service.
        exchange: the requests to the service.
        size: how many answers a barrier waits for; None for a gate without a barrier.
    """

    name: str
    exchange: Exchange = field(repr=False)
    size: int | None = None

    def __str__(self) -> str:
        """Return the value of the parameter `gate`."""
        return self.name if self.size is None else f"{self.name}:{self.size}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.open()

    def barrier(self, size: int) -> "Gate":
        """Return this gate as a barrier, which waits for so many answers."""
        return replace(self, size=size)

    @property
    def waiting(self) -> int:
        """The number of answers that wait at the gate now."""
        waiting: int = self.exchange.ask("GET", self._path)["waiting"]
        return waiting

    def wait_for(self, count: int, timeout: float = 10.0) -> int:
        """Wait until answers wait at the gate.

        Args:
            count: how many of them.
            timeout: in seconds.

        Returns:
            The number of those that wait.

        Raises:
            ProblemError: with status 408, fewer wait after the timeout.
            LatebinError: as in `open`.
        """
        query = {"waiting": str(count), "timeout": seconds(timeout)}
        waiting: int = self.exchange.ask("GET", self._path, query=query, wait=timeout)["waiting"]
        return waiting

    def release(self, count: int | Literal["all"] = 1) -> int:
        """Let answers go that wait now; return how many go."""
        return self._change({"release": count})

    def open(self) -> int:
        """Let all answers go that wait, and later ones pass; return how many go.

        Raises:
            ProblemError: the service refuses the request.
            UnreachableError: the service cannot be reached.
        """
        return self._change({"open": True})

    def shut(self) -> int:
        """Close the gate again, so that later answers wait; return 0, as no answer goes."""
        return self._change({"open": False})

    @property
    def _path(self) -> str:
        return f"/control/gates/{quote(self.name, safe='')}"

    def _change(self, change: Mapping[str, Any]) -> int:
        released: int = self.exchange.ask("POST", self._path, body=json.dumps(change))["released"]
        return released


class Scenario(str):
    """The base URL of a scenario, which is reset at the end of a context.

    Attributes:
        name: the name of the scenario.
        exchange: the requests to the service.
    """

    __slots__ = ("exchange", "name")

    name: str
    exchange: Exchange

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.reset()

    def reset(self) -> None:
        """Set the scenario back to what it was at the start.

        If the scenario was not there then, it is gone.

        Raises:
            LatebinError: as in `Gate.open`.
        """
        try:
            self.exchange.ask("DELETE", f"/control/scenarios/{quote(self.name, safe='')}")
        except ProblemError as problem:
            if problem.status != HTTPStatus.NOT_FOUND:  # It is gone already.
                raise


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the service.

    Attributes:
        key: the key.
        turn: how many requests it had.
        idle_ms: the time since its last request.
    """

    key: str
    turn: int
    idle_ms: float | None


@dataclass(frozen=True, slots=True)
class Pending:
    """A request whose answer waits.

    Attributes:
        id: the number of the answer.
        key: its key; None without one.
        path: its path.
        style: the style that answers.
        waits_for: the reason why it waits: delay, gate, queue or upstream.
        left_ms: the time until the delay is over, or the gate expires; None where it cannot be known.
        exchange: the requests to the service.
    """

    id: str
    key: str | None
    path: str
    style: str
    waits_for: str
    left_ms: float | None
    exchange: Exchange = field(repr=False)

    def release(self) -> None:
        """Answer now, as planned.

        Raises:
            ProblemError: with status 404, the answer no longer waits.
            LatebinError: as in `Gate.open`.
        """
        self.exchange.ask("POST", f"/control/pending/{self.id}", body=json.dumps({"release": True}))

    def end(self) -> None:
        """Answer now, with 503.

        Raises:
            LatebinError: as in `release`.
        """
        self.exchange.ask("DELETE", f"/control/pending/{self.id}")

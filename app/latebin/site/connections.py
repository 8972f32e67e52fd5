"""The connections of a site that are open, and how they come to an end."""

from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from latebin.core.http.reply import Reply
    from latebin.overrides.request import Request

from latebin.overrides.connection import Connection
from latebin.timing.activity import Activity


@attrs.define(eq=False)
class Connections:
    """The connections of one site.

    Attributes:
        activity: what learns that a connection opens or closes.
        ending: whether each answer is the last of its connection.
    """

    activity: Activity = attrs.field(factory=Activity)
    ending: bool = attrs.field(default=False, init=False)
    _open: set[Connection] = attrs.field(factory=set, init=False)
    _ended: Deferred[None] | None = attrs.field(default=None, init=False)

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._open)

    @property
    def requests(self) -> "list[Request]":
        """What was received on any of them, and is not answered."""
        return [request for connection in self._open for request in connection.requests]

    def opened(self, connection: Connection) -> None:
        """Learn of another."""
        self._open.add(connection)
        if self.activity.resting:
            self.activity.begin()

    def lost(self, connection: Connection) -> None:
        """Learn that one is closed."""
        self._open.discard(connection)
        if self.activity.resting:
            self.activity.begin()
        self._tell()

    def end(self) -> Deferred[None]:
        """Close those that are idle, and the others when their answers have left.

        Returns:
            A Deferred that fires when none is open.
        """
        ended = self._ended = Deferred()
        for connection in list(self._open):
            connection.end()
        self._tell()
        return ended

    def dismiss(self, reply: "Reply") -> int:
        """Answer at once, and alike, whatever is waited for; what has begun is broken off.

        Returns:
            How many answers could not be given.
        """
        requests = self.requests
        for request in requests:
            request.dismiss(reply)
        return len(requests)

    def abort(self) -> None:
        """Close them all, whatever is under way."""
        for connection in list(self._open):
            connection.abort()

    def _tell(self) -> None:
        if not self._open and self._ended is not None:
            ended, self._ended = self._ended, None
            ended.callback(None)

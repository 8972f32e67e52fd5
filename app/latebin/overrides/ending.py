"""The end of a connection, in the middle of what is under way on it."""

from typing import TYPE_CHECKING, Any, Protocol, cast

from twisted.logger import Logger

from latebin.answers.failures import by_client, report

if TYPE_CHECKING:
    from twisted.internet.interfaces import ITCPTransport
    from twisted.python.failure import Failure

    from latebin.core.ends import End

log = Logger()


class Ending(Protocol):
    """The own part of a connection, of HTTP/1.1 or of HTTP/2."""

    ended: "End | None"
    site: Any
    transport: Any

    def getPeer(self) -> Any: ...  # noqa: ANN401  # as Twisted has it


def fail(channel: Ending, failure: "Failure") -> None:
    """End a connection, and count and log why.

    Args:
        channel: the connection's own part.
        failure: the exception that bytes of the client have caused.
    """
    report(log, failure, channel.getPeer())
    client = by_client(failure)
    channel.site.connection_error("client" if client else "service")
    abort(channel, "protocol_error" if client else "failed")


def abort(channel: Ending, end: "End") -> None:
    """Close a connection, also in the middle of an answer.

    Args:
        channel: the connection's own part.
        end: the reason, for the requests whose answers are lost by it.
    """
    channel.ended = end
    cast("ITCPTransport", channel.transport).abortConnection()

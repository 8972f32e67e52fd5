"""Whose doing an exception is that was raised while bytes were taken in."""

import sys
from typing import TYPE_CHECKING, Final

from twisted.internet.error import ConnectionAborted
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from latebin.core.ends import End

CLIENT_ERRORS: Final = {
    "builtins": "ValueError",
    "h2.exceptions": "H2Error",
    "hpack.exceptions": "HPACKError",
    "hyperframe.exceptions": "HyperframeError",
    "OpenSSL.SSL": "Error",
}
"""Raised by parsers at bytes that mean nothing, by module; anything else is a mistake of the service."""


class EndedError(ConnectionAborted):
    """The end of a connection or stream that its client has not just left.

    Args:
        end: why it ended.
    """

    def __init__(self, end: "End") -> None:
        super().__init__(end)
        self.end = end


def by_client(failure: Failure) -> bool:
    """Return whether bytes that a client may not send are the reason."""
    # A module that is not imported has raised nothing: without TLS, most of these are not.
    modules = ((sys.modules.get(name), error) for name, error in CLIENT_ERRORS.items())
    return isinstance(failure.value, tuple(getattr(module, error) for module, error in modules if module is not None))


def report(log: Logger, failure: Failure, peer: object) -> None:
    """Log the end of a connection, with the traceback unless the client caused it.

    Args:
        log: the logger of what ends.
        failure: the reason.
        peer: the client's address.
    """
    host = getattr(peer, "host", None)
    if by_client(failure):
        log.emit(LogLevel.warn, "connection of {host} ended: {error}", host=host, error=_line(failure))
    else:
        log.failure("connection of {host} ended", failure, host=host)


def _line(failure: Failure) -> str:
    """Write an exception as one printable line, with the place where it was raised."""
    text = f"{type(failure.value).__name__}: {failure.getErrorMessage()}"[:200]
    frames = failure.frames
    place = f" ({frames[-1][1].rpartition('/')[2]}:{frames[-1][2]})" if frames else ""
    return text.encode("unicode_escape").decode("ascii") + place

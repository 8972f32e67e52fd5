"""The ends of an incomplete answer, as the log and the metrics name them."""

from typing import Final, Literal

End = Literal["left", "goaway", "protocol_error", "timeout", "unread", "refused", "aborted", "failed"]
"""The name of such an end."""

ENDS: Final[dict[End, str]] = {
    "left": "the client closed its connection, or reset its stream",
    "goaway": "the client ended its HTTP/2 connection with an error",
    "protocol_error": "the client broke the protocol, and its connection or stream was ended for it",
    "timeout": "the client took nothing of its answer for too long",
    "unread": "too many answers waited in memory for clients, and this client had left its own unread for longest",
    "refused": "the body of the request was refused after its answer had begun",
    "aborted": "the service stopped",
    "failed": "an exception in the service ended the connection or the stream",
}
"""Each end with its reason. A fault that was asked for, and `broken` for an upstream's, stand in their place."""

CAUSES: Final = ("client", "service")
"""The two that a connection error can be due to: bytes that a client may not send, and an exception in the service."""

"""The comparison of the styles' answers: the contract's conversations with each style over real sockets."""

import json
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import unified_diff
from http.client import HTTPConnection, HTTPException
from typing import Final

import attrs

from latebin.compare.contract import Case, Conversation, comparable, held_by
from latebin.core.endpoints import PREFIXES
from latebin.core.openapi import STACK
from latebin.core.settings import STACKS
from latebin.load import target
from latebin.load.response import ProtocolError, ResponseParser
from latebin.load.schedule import RunError

LONGEST: Final = 5.0
"""The default for the longest wait of a conversation, in seconds."""

PATIENCE: Final = 30.0
"""How long a socket may be silent beyond the wait of its conversation, in seconds."""

CLOSED: Final = "closed"
RESET: Final = "reset"
SILENT: Final = "silent"

_CONNECTIONS: Final = 32
"""Connections open at once: few enough for any limit, and enough for most waits to pass at the same time."""

_LINE: Final = 160
"""The longest line of a diff in characters; longer ones are split, so that a difference in them can be seen."""

_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([2-9][0-9]{2}) ")

_RECEIVED: Final = 65_536

Address = tuple[str, int]


@attrs.frozen
class Exchange:
    """The bytes from the service over one connection, and its end.

    Attributes:
        received: every byte.
        ended: CLOSED or RESET by the service, or SILENT if the service sent nothing for too long.
    """

    received: bytes
    ended: str


@attrs.frozen
class Difference:
    """A conversation that differs between the styles, or from the contract.

    Attributes:
        name: the name of the conversation.
        diff: lines of a unified diff: from Klein to raw, or from the contract to both styles if these are the same.
    """

    name: str
    diff: tuple[str, ...]


@attrs.frozen
class Parity:
    """The result of all conversations with both styles.

    Attributes:
        held: the names of the conversations with both styles.
        left_out: the names of the conversations that wait for longer than `longest`.
        longest: the longest wait of a conversation, in seconds.
        differences: empty if the styles are the same.
        skipped: the names of the conversations that this service is not asked, with the reasons.
    """

    held: tuple[str, ...]
    left_out: tuple[str, ...]
    longest: float
    differences: tuple[Difference, ...]
    skipped: dict[str, str] = attrs.field(factory=dict)

    def joined(self, others: Iterable["Parity"]) -> "Parity":
        """Return the result of these conversations and of others."""
        every = (self, *others)
        return Parity(
            held=tuple(name for each in every for name in each.held),
            left_out=tuple(name for each in every for name in each.left_out),
            longest=self.longest,
            differences=tuple(difference for each in every for difference in each.differences),
            skipped={name: reason for each in every for name, reason in each.skipped.items()},
        )


def address(url: str) -> Address:
    """Return the host and the port of a service.

    Args:
        url: an http URL without a path.

    Raises:
        RunError: the URL is malformed, has another scheme, or has a path.
    """
    parts = target.parse(url, 0)
    if parts.secure:
        raise RunError(f"{url!r} is not an http:// URL: the conversations are compared byte by byte, without TLS")
    if parts.resource != "/":
        raise RunError(f"{url!r} has a path; give the URL of the service alone: its styles are at / and at /raw")
    return parts.host, parts.port


def stack_of(where: Address, patience: float = PATIENCE) -> str:
    """Return the stack that a service runs on, by its own description at /openapi.json.

    Args:
        where: the service's address.
        patience: how long the socket may be silent, in seconds.

    Returns:
        One of `latebin.core.settings.STACKS`: tuned if the service does not describe itself.

    Raises:
        OSError: the service cannot be reached.
    """
    connection = HTTPConnection(*where, timeout=patience)
    try:
        connection.request("GET", "/openapi.json")
        stack = json.load(connection.getresponse())["info"][STACK]
    except (HTTPException, ValueError, LookupError, TypeError):
        return "tuned"
    finally:
        connection.close()
    return stack if stack in STACKS else "tuned"


def compare(
    where: Address,
    conversations: Sequence[Conversation],
    longest: float = LONGEST,
    patience: float = PATIENCE,
    *,
    progress: Callable[[], object] = lambda: None,
    stack: str = "tuned",
    connections: int = _CONNECTIONS,
) -> Parity:
    """Compare the styles' answers in every conversation that is short enough.

    Args:
        where: the service's address.
        conversations: the conversations; one that leaves its connection open is followed by a further request, which
            shows that the connection still works.
        longest: the longest wait of a conversation, in seconds.
        patience: how long a socket may be silent beyond that, in seconds.
        progress: called after each conversation with a style.
        stack: the service's; conversations that need the tuned one are skipped on the stock one.
        connections: how many are open at once.

    Returns:
        The result, in the order of the conversations.
    """
    kept = held_by(stack, conversations)
    short = [each for each in kept if each.wait <= longest]

    def exchange(conversation: Conversation, style: str) -> Exchange:
        found = converse(where, conversation, style, conversation.wait + patience)
        progress()
        return found

    with ThreadPoolExecutor(connections) as threads:
        # The longest first: their waits pass while the short ones take turns.
        exchanges = {
            (each.name, style): threads.submit(exchange, each, style)
            for each in sorted(short, key=lambda each: -each.wait)
            for style in PREFIXES
        }
        differences = [
            _difference(each, {style: exchanges[each.name, style].result() for style in PREFIXES}) for each in short
        ]
    return Parity(
        held=tuple(each.name for each in short),
        left_out=tuple(each.name for each in kept if each.wait > longest),
        longest=longest,
        differences=tuple(filter(None, differences)),
        skipped={each.name: each.needs_tuned for each in conversations if each not in kept},
    )


def converse(where: Address, conversation: Conversation, style: str, patience: float) -> Exchange:
    """Have one conversation with one style.

    Args:
        where: the service's address.
        conversation: the requests, and when to send them.
        style: the style to send them to.
        patience: how long the socket may be silent, in seconds.

    Returns:
        Every byte from the service, and the end of the connection.
    """
    received = bytearray()
    try:
        with socket.create_connection(where, timeout=patience) as connection:
            for data in _converse(connection, conversation, style):
                received += data
    except TimeoutError:
        return Exchange(bytes(received), SILENT)
    except (ConnectionResetError, BrokenPipeError):
        return Exchange(bytes(received), RESET)
    return Exchange(bytes(received), CLOSED)


def transcript(exchange: Exchange, style: str) -> tuple[str, ...]:
    """Write an exchange as lines, without the parts that may differ.

    Args:
        exchange: an exchange with the style.
        style: the style that answered.

    Returns:
        Lines of printable ASCII; the last one is the end of the connection.
    """
    text = comparable(exchange.received, style).decode("latin-1").encode("unicode_escape").decode("ascii")
    lines = text.replace("\\r\\n", "\\r\\n\n").split("\n")
    pieces = (line[at : at + _LINE] for line in lines for at in range(0, len(line), _LINE))
    return (*pieces, f"({exchange.ended})")


def _converse(connection: socket.socket, conversation: Conversation, style: str) -> Iterator[bytes]:
    *before, (last, _) = conversation.batches(style)
    for data, cases in before:
        connection.sendall(data)
        yield from _answers(connection, len(cases))
    connection.sendall(last + (_LAST_REQUEST.request(style) if conversation.stays else b""))
    if conversation.leaves == "after the headers":
        received = b""
        while b"\r\n\r\n" not in received and (data := connection.recv(_RECEIVED)):
            received += data
            yield data
    if conversation.leaves is not None:
        connection.shutdown(socket.SHUT_WR)
    while data := connection.recv(_RECEIVED):
        yield data


_LAST_REQUEST: Final = Case("", "/delayed", method="OPTIONS", headers=("Connection: close",))
"""A request after which a service that still answers closes the connection."""


def _answers(connection: socket.socket, number: int) -> Iterator[bytes]:
    """Receive a number of answers, or fewer if the connection or HTTP ends."""
    parser = ResponseParser()
    while number and (data := connection.recv(_RECEIVED)):
        yield data
        try:
            number -= parser.feed(data) is not None
        except ProtocolError:
            return


def _difference(conversation: Conversation, exchanges: dict[str, Exchange]) -> Difference | None:
    klein, resource = (transcript(exchanges[style], style) for style in ("klein", "resource"))
    if klein != resource:
        return Difference(conversation.name, tuple(unified_diff(klein, resource, "klein", "resource", lineterm="")))
    promised = (*conversation.statuses, *((204,) if conversation.stays else ()))
    given = tuple(int(status) for status in _STATUS.findall(exchanges["klein"].received))
    if given == promised:
        return None
    before, after = (" ".join(map(str, statuses)) or "no answer" for statuses in (promised, given))
    diff = unified_diff([before], [after, *klein], "contract", "both styles", lineterm="")
    return Difference(conversation.name, tuple(diff))

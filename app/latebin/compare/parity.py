"""Whether both styles give the same answers: the contract's conversations, held with each over real sockets."""

import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import unified_diff
from typing import Final

import attrs

from latebin.compare.contract import Case, Conversation, comparable
from latebin.core.endpoints import PREFIXES
from latebin.load import target
from latebin.load.response import ProtocolError, ResponseParser
from latebin.load.schedule import RunError

LONGEST: Final = 5.0
"""The longest wait of a conversation that is held unless it is said, in seconds."""

PATIENCE: Final = 30.0
"""How long a socket may be silent beyond what a conversation waits for, in seconds."""

CLOSED: Final = "closed"
RESET: Final = "reset"
SILENT: Final = "silent"

_AT_ONCE: Final = 32
"""How many connections are open at once: far from any limit, and as many as let the waits pass side by side."""

_LINE: Final = 160
"""Characters of a line in a diff, so that a difference inside a long body stays readable."""

_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([2-9][0-9]{2}) ")

_RECEIVED: Final = 65_536

Address = tuple[str, int]


@attrs.frozen
class Exchange:
    """What came back over one connection.

    Attributes:
        received: every byte.
        ended: CLOSED or RESET by the service, or SILENT for longer than was waited.
    """

    received: bytes
    ended: str


@attrs.frozen
class Difference:
    """A conversation that is not the same in both styles, or not as promised.

    Attributes:
        name: the conversation's.
        diff: lines of a unified diff, from Klein to the raw resource; or what was promised, where both broke it.
    """

    name: str
    diff: tuple[str, ...]


@attrs.frozen
class Parity:
    """What holding the conversations showed.

    Attributes:
        held: the names of the conversations that were held with both styles.
        left_out: the names of those that wait for too long.
        longest: seconds; what too long means.
        differences: none if the styles are the same.
    """

    held: tuple[str, ...]
    left_out: tuple[str, ...]
    longest: float
    differences: tuple[Difference, ...]


def address(url: str) -> Address:
    """Read where a service is.

    Args:
        url: an http URL without a path.

    Raises:
        RunError: it is none.
    """
    parts = target.parse(url, 0)
    if parts.resource != "/":
        raise RunError(f"{url!r} has a path; the two styles are at / and at /raw of one service")
    return parts.host, parts.port


def compare(
    where: Address,
    conversations: Sequence[Conversation],
    longest: float = LONGEST,
    patience: float = PATIENCE,
    progress: Callable[[], object] = lambda: None,
) -> Parity:
    """Hold every conversation that is short enough with both styles, side by side, and compare what they say.

    Args:
        where: the service's address.
        conversations: what to hold; a request that none of them is about is sent behind those whose connection is
            kept, so that each of them shows that it left its connection in order.
        longest: seconds that a conversation may wait.
        patience: seconds for which a socket may be silent beyond that.
        progress: called after each conversation with a style.

    Returns:
        What was held and what differs, in the order of the conversations.
    """
    short = [each for each in conversations if each.wait <= longest]

    def hold(conversation: Conversation, style: str) -> Exchange:
        exchange = converse(where, conversation, style, conversation.wait + patience)
        progress()
        return exchange

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        # Each style's turn is begun before anything is waited for, the longest first.
        begun = {
            each.name: {style: threads.submit(hold, each, style) for style in PREFIXES}
            for each in sorted(short, key=lambda each: -each.wait)
        }
        found = [
            _difference(each, {style: turn.result() for style, turn in begun[each.name].items()}) for each in short
        ]
    return Parity(
        held=tuple(each.name for each in short),
        left_out=tuple(each.name for each in conversations if each.wait > longest),
        longest=longest,
        differences=tuple(filter(None, found)),
    )


def converse(where: Address, conversation: Conversation, style: str, patience: float) -> Exchange:
    """Hold one conversation with one style.

    Args:
        where: the service's address.
        conversation: what is sent, and when.
        style: to whom.
        patience: seconds for which the socket may be silent.

    Returns:
        What came back.
    """
    received = bytearray()
    try:
        with socket.create_connection(where, timeout=patience) as connection:
            for data in _parts(connection, conversation, style):
                received += data
    except TimeoutError:
        return Exchange(bytes(received), SILENT)
    except (ConnectionResetError, BrokenPipeError):
        return Exchange(bytes(received), RESET)
    return Exchange(bytes(received), CLOSED)


def transcript(exchange: Exchange, style: str) -> tuple[str, ...]:
    """Write what came back as lines, without what may differ.

    Args:
        exchange: with the style.
        style: who answered.

    Returns:
        Lines of printable ASCII; the last says how the connection ended.
    """
    text = comparable(exchange.received, style).decode("latin-1").encode("unicode_escape").decode("ascii")
    lines = text.replace("\\r\\n", "\\r\\n\n").split("\n")
    pieces = (line[at : at + _LINE] for line in lines for at in range(0, len(line), _LINE))
    return (*pieces, f"({exchange.ended})")


def _parts(connection: socket.socket, conversation: Conversation, style: str) -> Iterator[bytes]:
    *before, (last, _) = conversation.batches(style)
    for data, cases in before:
        connection.sendall(data)
        yield from _answers(connection, len(cases))
    connection.sendall(last + (_farewell(style) if conversation.stays else b""))
    if conversation.leaves == "after the headers":
        yield from _headers(connection)
    if conversation.leaves is not None:
        connection.shutdown(socket.SHUT_WR)
    yield from _stream(connection)


def _farewell(style: str) -> bytes:
    """Write a request after which the service closes the connection, if it still answers."""
    return Case("", "/delayed", method="OPTIONS", headers=("Connection: close",)).request(style)


def _answers(connection: socket.socket, number: int) -> Iterator[bytes]:
    reader = ResponseParser()
    for data in _stream(connection):
        yield data
        try:
            number -= reader.feed(data) is not None
        except ProtocolError:
            return
        if number == 0:
            return


def _headers(connection: socket.socket) -> Iterator[bytes]:
    received = b""
    for data in _stream(connection):
        yield data
        received += data
        if b"\r\n\r\n" in received:
            return


def _stream(connection: socket.socket) -> Iterator[bytes]:
    while data := connection.recv(_RECEIVED):
        yield data


def _difference(conversation: Conversation, both: dict[str, Exchange]) -> Difference | None:
    klein, resource = (transcript(both[style], style) for style in ("klein", "resource"))
    if klein != resource:
        return Difference(conversation.name, tuple(unified_diff(klein, resource, "klein", "resource", lineterm="")))
    promised = (*conversation.statuses, *((204,) if conversation.stays else ()))
    given = tuple(int(status) for status in _STATUS.findall(both["klein"].received))
    return None if given == promised else Difference(conversation.name, _broken(promised, given, klein))


def _broken(promised: Iterable[int], given: Iterable[int], lines: Iterable[str]) -> tuple[str, ...]:
    before, after = (" ".join(map(str, statuses)) or "no answer" for statuses in (promised, given))
    return tuple(unified_diff([before], [after, *lines], "promised", "both styles", lineterm=""))

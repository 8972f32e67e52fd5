"""The one table of what a caller can ask for, from which everything else that knows a parameter is made.

The plan reader, the refusals, the README, the page at `/` and `/openapi.json` all read it here.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

import attrs

from latebin.core import faults
from latebin.core.http.body import TYPES
from latebin.core.http.reply import Problem, Refused
from latebin.core.language import chance, distributions, duration, grammar, size
from latebin.core.settings import Settings
from latebin.core.topics import TOPICS

Reader = Callable[[str, Settings], Any]
"""Reads a parameter's text within the limits; raises ValueError, saying what is wrong with it."""

MAX_CHUNKS: Final = 10_000
MAX_SEED: Final = 2**64 - 1
MAX_TURN: Final = 10**12
MAX_RETRY_AFTER: Final = 10**9

MAX_SECONDS: Final = 10.0
"""What a longer delay is cut to at `/delay/SECONDS`, as httpbin cuts it."""

MAX_NUMBYTES: Final = 10 * 1024**2
"""What a larger number of bytes is cut to at `/drip`, as httpbin cuts it."""


@attrs.frozen
class Parameter:
    """One parameter.

    Attributes:
        name: as it stands in the query.
        meaning: what it does, in a few words.
        accepted: what it accepts, for a refusal and for the documents.
        default: what happens without it.
        bound: what limits it.
        example: a value that is accepted by a service whose settings are the default.
        read: how it is read.
        schema: its JSON Schema, for OpenAPI. A pattern tells the syntax; a `format` of our own stands where more is
            asked than a schema can tell, such as a bound that is a setting.
        beside: what has to stand beside it in the query, with a value that fits the example.
    """

    name: str
    meaning: str
    accepted: str
    default: str
    bound: str
    example: str
    read: Reader = attrs.field(repr=False)
    schema: Mapping[str, Any] = attrs.field(repr=False)
    beside: Mapping[str, str] = attrs.field(factory=dict, repr=False)


def _delay(text: str, settings: Settings) -> distributions.Distribution:
    found = grammar.parse(text, settings.traces)
    if not found.cdf(settings.max_delay):
        raise ValueError(f"every draw would be above the longest delay, {duration.render(settings.max_delay)}")
    return found


def _period(text: str, settings: Settings) -> float:
    seconds = duration.parse(text)
    if seconds > settings.max_delay:
        raise ValueError(f"above the longest delay, {duration.render(settings.max_delay)}")
    return seconds


def _timeout(text: str, settings: Settings) -> float:
    return duration.parse(text)


def _size(text: str, settings: Settings) -> int:
    found = size.parse(text)
    if found > settings.max_body:
        raise ValueError(f"above the largest body, {size.render(settings.max_body)}")
    return found


def _whole(least: int, most: int) -> Reader:
    def read(text: str, settings: Settings) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
            raise ValueError(f"not a whole number from {least} to {most}")
        return int(text)

    return read


def _one_of(choices: Collection[str]) -> Reader:
    def read(text: str, settings: Settings) -> str:
        if text not in choices:
            raise ValueError("not one of them")
        return text

    return read


def _status(text: str, settings: Settings) -> chance.Chance:
    found = chance.parse(text)
    _whole(200, 599)(found.what, settings)
    return found


def _fault(text: str, settings: Settings) -> chance.Chance:
    found = chance.parse(text)
    if found.what not in faults.KINDS:
        raise ValueError("there is no such fault")
    return found


def _seconds(text: str, settings: Settings) -> float:
    """Read what httpbin reads, which is whatever Python takes for a number, and a duration besides."""
    if len(text) > duration.MAX_LENGTH:
        raise ValueError(f"longer than {duration.MAX_LENGTH} characters")
    try:
        seconds = float(text)
    except ValueError:
        return duration.parse(text)
    if not seconds >= 0:
        raise ValueError("not a number of seconds from 0 up")
    return abs(seconds)  # -0.0 is no less than 0, and would be told as it is written


def _drip_seconds(text: str, settings: Settings) -> float:
    seconds = _seconds(text, settings)
    if seconds > settings.max_delay:
        raise ValueError(f"above the longest delay, {duration.render(settings.max_delay)}")
    return seconds


def _numbytes(text: str, settings: Settings) -> int:
    try:
        found = int(text)
    except ValueError:
        raise ValueError("not a whole number") from None
    if found <= 0:
        raise ValueError("not positive")
    return min(found, MAX_NUMBYTES, settings.max_body)


_NUMBER: Final = r"[0-9]+(\.[0-9]+)?"

_FORMS: Final = "|".join(grammar.FORMS)

_DELAY: Final = {
    "type": "string",
    "format": "delay",
    # No schema can tell a language with nesting: whatever is a delay matches this, and not the other way round.
    "pattern": rf"^ *({_NUMBER}([a-z]+{_NUMBER})*([a-z]+)?( *\.\. *[0-9][0-9a-z.]*)?|({_FORMS}) *\(.+\)) *$",
    "maxLength": grammar.MAX_LENGTH,
}

_DURATION: Final = {
    "type": "string",
    "pattern": f"^({_NUMBER}|{''.join(f'({_NUMBER}{unit})?' for unit in duration.UNITS)})$",
    "minLength": 1,
    "maxLength": duration.MAX_LENGTH,
}

# What Python takes for a number besides, as `1_0` or `inf`, is read too, since httpbin reads it; it is told to nobody.
_SECONDS: Final = {**_DURATION, "format": "seconds"}

# The reader takes still more digits, up to share.MAX_LENGTH; bounded here, so that all that matches is short enough.
_SHARE: Final = r"0{0,8}(0(\.[0-9]{1,26})?|1(\.0{1,26})?|[0-9]{1,2}(\.[0-9]{1,26})?%|100(\.0{1,26})?%)"


def _number(least: int, most: int) -> Mapping[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most}


DELAY: Final = Parameter(
    "delay",
    "how long the answer waits",
    grammar.ACCEPTED,
    "`--default-delay`",
    "a draw above `--max-delay` is cut to it",
    "lognormal(median=80ms,p99=1.2s)",
    _delay,
    _DELAY,
)

DELAYED: Final = (
    DELAY,
    Parameter(
        "seed",
        "makes the draws repeatable",
        f"a whole number from 0 to {MAX_SEED}",
        "every draw is new",
        "64 bits",
        "7",
        _whole(0, MAX_SEED),
        _number(0, MAX_SEED),
    ),
    Parameter(
        "n",
        "asks for the n-th draw of the seed",
        f"a whole number from 1 to {MAX_TURN}, together with a seed",
        "the next one",
        f"{MAX_TURN:.0e}".replace("e+", "e"),
        "3",
        _whole(1, MAX_TURN),
        _number(1, MAX_TURN),
        {"seed": "7"},
    ),
    Parameter(
        "status",
        "the status of the answer, or of a share of the answers",
        "a status from 200 to 599, with a share behind a colon if it is not for all: 503 or 503:20%",
        "200",
        "200 to 599",
        "503:20%",
        _status,
        {"type": "string", "pattern": f"^[2-5][0-9][0-9](:{_SHARE})?$"},
    ),
    Parameter(
        "size",
        "the size of the body",
        size.ACCEPTED,
        "that of the type's own body",
        "`--max-body`",
        "64k",
        _size,
        {"type": "string", "format": "size", "pattern": "^[0-9]{1,15}[km]?$"},
    ),
    Parameter(
        "type",
        "the kind of body",
        ", ".join(TYPES),
        "html",
        "one of them",
        "json",
        _one_of(TYPES),
        {"type": "string", "enum": list(TYPES)},
    ),
    Parameter(
        "at",
        "what the delay comes before",
        "headers (wait, then answer) or body (send the headers at once, then wait)",
        "headers",
        "one of them",
        "body",
        _one_of(("headers", "body")),
        {"type": "string", "enum": ["headers", "body"]},
    ),
    Parameter(
        "chunks",
        "how many pieces the body comes in",
        f"a whole number from 1 to {MAX_CHUNKS}, and not more than the body has bytes",
        "1",
        f"{MAX_CHUNKS}",
        "4",
        _whole(1, MAX_CHUNKS),
        _number(1, MAX_CHUNKS),
    ),
    Parameter(
        "over",
        "the time from the first piece to the last, after the wait",
        f"{duration.ACCEPTED}; with at least two chunks",
        "0",
        "`--max-delay`",
        "100ms",
        _period,
        {**_DURATION, "format": "period"},
        {"chunks": "4"},
    ),
    Parameter(
        "framing",
        "how the end of the body is told",
        "length (Content-Length) or chunked",
        "length",
        "one of them",
        "chunked",
        _one_of(("length", "chunked")),
        {"type": "string", "enum": ["length", "chunked"]},
    ),
    Parameter(
        "retry-after",
        "adds a Retry-After header, in seconds",
        f"a whole number of seconds from 0 to {MAX_RETRY_AFTER}",
        "no header",
        f"{MAX_RETRY_AFTER:.0e}".replace("e+0", "e"),
        "30",
        _whole(0, MAX_RETRY_AFTER),
        _number(0, MAX_RETRY_AFTER),
    ),
    Parameter(
        "fault",
        "what goes wrong after the wait, or for a share of the answers",
        f"{', '.join(faults.KINDS)}; with a share behind a colon if it is not for all: reset or reset:10%",
        "none",
        "one of them",
        "reset:10%",
        _fault,
        {"type": "string", "pattern": f"^({'|'.join(faults.KINDS)})(:{_SHARE})?$"},
    ),
)
"""What `/delayed` can be asked for."""

PREDICT: Final = (
    DELAY,
    Parameter(
        "timeout",
        "how long the client would wait",
        duration.ACCEPTED,
        "nothing is said of a timeout",
        "none",
        "2s",
        _timeout,
        _DURATION,
    ),
)
"""What `/predict` can be asked for."""

SECONDS: Final = Parameter(
    "delay",
    "how long the answer waits",
    f"a number of seconds such as 3 or 0.5, or {duration.ACCEPTED}",
    "none: it is part of the path",
    f"above {MAX_SECONDS:.0f} s or `--max-delay` it is that",
    "3",
    _seconds,
    _SECONDS,
)
"""What `/delay/SECONDS` says in its path."""

DRIP: Final = (
    Parameter(
        "duration",
        "the time over which the bytes are sent",
        f"a number of seconds such as 2 or 0.5, or {duration.ACCEPTED}",
        "2",
        "`--max-delay`",
        "0.5",
        _drip_seconds,
        _SECONDS,
    ),
    Parameter(
        "numbytes",
        "how many bytes are sent",
        "a whole number from 1",
        "10",
        f"above {MAX_NUMBYTES} or `--max-body` it is that",
        "5",
        _numbytes,
        {"type": "integer", "minimum": 1},
    ),
    Parameter(
        "code",
        "the status of the answer",
        "a status from 200 to 999",
        "200",
        "200 to 999",
        "503",
        _whole(200, 999),
        _number(200, 999),
    ),
    Parameter(
        "delay",
        "how long the answer waits before its first byte",
        f"a number of seconds such as 1 or 0.5, or {duration.ACCEPTED}",
        "0",
        "`--max-delay`",
        "0.5",
        _drip_seconds,
        _SECONDS,
    ),
)
"""What `/drip` can be asked for."""

VIA: Final = tuple(parameter for parameter in DELAYED if parameter.name in {"delay", "seed", "n", "status", "fault"})
"""What `/via/NAME` can be asked for, in headers: when to pass a request on, and whether to. The shape of the answer is
the upstream's business."""

TOPIC: Final = Parameter(
    name="topic",
    meaning="the page of the reference",
    accepted=", ".join(TOPICS),
    default="none: it is part of the path",
    bound="one of them",
    example="faults",
    read=_one_of(TOPICS),
    schema={"type": "string", "enum": list(TOPICS)},
)
"""The page that `/docs/TOPIC` shows."""

PREFIX: Final = "latebin-"
"""How the headers begin that ask for something, in small letters; the name of a parameter follows."""


def read_query(query: bytes, parameters: Collection[Parameter], settings: Settings) -> dict[str, Any]:
    """Read every field of a query by the table, as `read_fields` does.

    Args:
        query: what follows the `?` of the request target, still percent-encoded.
        parameters: what the resource can be asked for.
        settings: the limits.

    Returns:
        What was given, by name; what was not given is not there.

    Raises:
        Refused: 400, with the parameter that was wrong, what was given for it, and what is accepted.
    """
    return read_fields(_fields(query), parameters, settings)


def read_fields(
    fields: Iterable[tuple[str, str]], parameters: Collection[Parameter], settings: Settings
) -> dict[str, Any]:
    """Read what a caller asks for by the table, wherever it stands.

    Nothing is ignored: a name that is not in the table, and a name that comes twice, are refused.

    Args:
        fields: names and texts, decoded, as they come.
        parameters: what the resource can be asked for.
        settings: the limits.

    Returns:
        What was given, by name; what was not given is not there.

    Raises:
        Refused: 400, with the parameter that was wrong, what was given for it, and what is accepted.
    """
    known = {parameter.name: parameter for parameter in parameters}
    found: dict[str, Any] = {}
    for name, text in fields:
        if name not in known:
            raise wrong("There is no such parameter.", name, text, f"the parameters {', '.join(known)}")
        if name in found:
            raise wrong("A parameter can be given once.", name, text, "one value")
        found[name] = read_text(known[name], text, settings)
    return found


def read_text(parameter: Parameter, text: str, settings: Settings) -> object:
    """Read the text of one parameter.

    Raises:
        Refused: 400, with what is wrong with the text.
    """
    try:
        return parameter.read(text, settings)
    except ValueError as error:
        raise wrong(f"This is no {parameter.name}: {error}.", parameter.name, text, parameter.accepted) from None


def wrong(detail: str, parameter: str, given: str, accepted: str) -> Refused:
    """Refuse a parameter."""
    return Refused(Problem(400, detail, parameter=parameter, given=given, accepted=accepted))


def _fields(query: bytes) -> Iterator[tuple[str, str]]:
    # Latin-1 and backslashes keep any byte readable in the refusal, instead of failing on it.
    for field in query.decode("latin-1").split("&"):
        if field:
            name, _, value = field.partition("=")
            yield unquote_plus(name, errors="backslashreplace"), unquote_plus(value, errors="backslashreplace")

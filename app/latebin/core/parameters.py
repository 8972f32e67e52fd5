"""The table of all parameters of a request.

The reader of a request, the refusals, the README, the page at `/` and `/openapi.json` are made from this table. A
parameter has its entry here, and its effect in `plan`.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

import attrs

from latebin.core import faults, stream
from latebin.core.http import answer_header
from latebin.core.http.body import TYPES
from latebin.core.http.reply import Problem, Refused
from latebin.core.journal import MOST_OF_KEY
from latebin.core.language import chance, distributions, duration, grammar, sequence, size, variants
from latebin.core.settings import Settings
from latebin.core.steering import KEY, KEY_ACCEPTED, MAX_BARRIER, MAX_QUEUE, MAX_SERVERS, ORDERS, parse_gate
from latebin.core.topics import TOPICS

# A client would take `.` and `..` out of a path (RFC 3986, section 5.2.4).
SCENARIO_NAME: Final = re.compile(r"(?!\.\.?$)[A-Za-z0-9._-]{1,64}")

_MEDIA_TYPE: Final = re.compile(
    r"[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+-]{1,64}(?: *; *[A-Za-z0-9-]{1,32}=[A-Za-z0-9_.-]{1,64})?"
)
"""A media type with at most one parameter (RFC 9110, section 8.3.1)."""

Reader = Callable[[str, Settings], Any]
"""A function that reads the text of a parameter within the limits, or raises ValueError with the reason."""

MAX_CHUNKS: Final = 10_000
MAX_TEXT: Final = 64 * 1024
"""Bytes of the largest body in the text of a scenario."""

MAX_RATE: Final = 1024**3
"""Bytes a second of the highest rate."""

MAX_LOAD: Final = 1_000_000
"""The most requests in a second of a simulation."""

_LOAD: Final = re.compile(r"[0-9]{1,7}(?:\.[0-9]{1,6})?")

MAX_SEED: Final = 2**64 - 1
MAX_TURN: Final = 10**12
MAX_RETRY_AFTER: Final = 10**9

MAX_SECONDS: Final = 10.0
"""Seconds to which `/delay/SECONDS` cuts a longer delay, as httpbin does."""

MAX_NUMBYTES: Final = 10 * 1024**2
"""Bytes to which `/drip` cuts a larger number, as httpbin does."""


@attrs.frozen
class Parameter:
    """One parameter.

    Attributes:
        name: its name in the query.
        meaning: its effect, in a few words.
        accepted: its values, for refusals and documents.
        default: the effect of its absence.
        bound: its limit.
        example: a value that is accepted under the default settings.
        read: reads its text.
        schema: its JSON Schema, for OpenAPI. A pattern describes the syntax. A `format` of our own marks a rule that no
            schema can express, such as a bound that is a setting.
        beside: other parameters that it requires in the query, with values that fit the example.
        via: whether `/via/NAME` has it too, as a header.
        most: the most times that it may be given. Above 1, its value is a tuple.
        required: whether a request without it is refused.
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
    via: bool = False
    most: int = 1
    required: bool = False


def _stepwise(read: Reader) -> Reader:
    """Make a reader of one value, or of a sequence of such values."""
    return lambda text, settings: sequence.parse(text, lambda step: read(step, settings))


def _delay(text: str, settings: Settings) -> distributions.Distribution:
    found = grammar.parse(text, settings.traces)
    if not found.cdf(settings.max_delay):
        raise ValueError(f"every draw would be above the longest delay, {duration.render(settings.max_delay)}")
    return found


def _period(text: str, settings: Settings) -> float:
    return _at_most_the_longest(duration.parse(text), settings)


def _at_most_the_longest(seconds: float, settings: Settings) -> float:
    if seconds > settings.max_delay:
        raise ValueError(f"expected at most the longest delay, {duration.render(settings.max_delay)}")
    return seconds


def _timeout(text: str, settings: Settings) -> float:
    return duration.parse(text)


def _size(text: str, settings: Settings) -> int:
    found = size.parse(text)
    if found > settings.max_body:
        raise ValueError(f"expected at most the largest body, {size.render(settings.max_body)}")
    return found


def _whole(least: int, most: int) -> Reader:
    def read(text: str, settings: Settings) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
            raise ValueError(f"expected a whole number from {least} to {most}")
        return int(text)

    return read


def _one_of(choices: Collection[str]) -> Reader:
    def read(text: str, settings: Settings) -> str:
        if text not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return text

    return read


def _status(text: str, settings: Settings) -> chance.Chance:
    if text == chance.NOTHING.what:
        return chance.NOTHING
    found = chance.parse(text)
    _whole(200, 599)(found.what, settings)
    return found


def _fault(text: str, settings: Settings) -> chance.Chance:
    if text == chance.NOTHING.what:
        return chance.NOTHING
    found = chance.parse(text)
    faults.parse(found.what)
    return found


def _rate(text: str, settings: Settings) -> int:
    found = size.parse(text)
    if not 0 < found <= MAX_RATE:
        raise ValueError(f"expected a rate from 1 to {size.render(MAX_RATE)} bytes a second")
    return found


def _read(text: str, settings: Settings) -> int:
    if settings.stack != "tuned":
        raise ValueError(f"a connection of --stack {settings.stack} takes a body at once; expected --stack tuned")
    return _rate(text, settings)


def _load(text: str, settings: Settings) -> float:
    if not _LOAD.fullmatch(text) or not 0 < float(text) <= MAX_LOAD:
        raise ValueError(f"expected a number above 0 and at most {MAX_LOAD}")
    return float(text)


def _key(text: str, settings: Settings) -> str:
    if not KEY.fullmatch(text):
        raise ValueError(f"expected {KEY_ACCEPTED}")
    return text


def _gate(text: str, settings: Settings) -> tuple[str, int | None]:
    return parse_gate(text)


def _name(text: str, settings: Settings) -> str:
    if not SCENARIO_NAME.fullmatch(text):
        raise ValueError("expected 1 to 64 letters, digits, `.`, `_` and `-`, but not `.` or `..`")
    return text


def _header(text: str, settings: Settings) -> tuple[bytes, bytes]:
    return answer_header.parse(text)


@attrs.frozen
class Answers:
    """Several whole answers, one of which is drawn.

    Attributes:
        text: the canonical text.
        variants: the share and the parameters of each answer.
    """

    text: str
    variants: tuple[tuple[float, Mapping[str, Any]], ...] = attrs.field(eq=False)

    def __str__(self) -> str:
        return self.text


def _answer(text: str, settings: Settings) -> Answers:
    parsed = variants.parse(text)
    drawn = []
    for number, each in enumerate(parsed, 1):
        if each.share:
            try:
                drawn.append((each.share, read_fields(each.fields, VARIANT, settings)))
            except Refused as error:
                problem = error.problem
                raise ValueError(f"in answer {number}, {problem.parameter}: {problem.detail}") from None
    return Answers(variants.render(parsed), tuple(drawn))


def _body(text: str, settings: Settings) -> bytes:
    try:
        body = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ValueError("expected characters of Unicode, not half of a pair") from None
    if len(body) > MAX_TEXT:
        raise ValueError(f"expected at most {size.render(MAX_TEXT)} bytes")
    return body


def _content_type(text: str, settings: Settings) -> bytes:
    if not _MEDIA_TYPE.fullmatch(text):
        raise ValueError("expected a media type such as application/json")
    return text.encode("ascii")


def _upstream(text: str, settings: Settings) -> str:
    if text not in settings.upstreams:
        known = ", ".join(sorted(settings.upstreams)) or "none was given with --upstream"
        raise ValueError(f"expected the name of a known upstream ({known})")
    return text


def _seconds(text: str, settings: Settings) -> float:
    """Read a number as Python spells it, which httpbin does, or a duration."""
    if len(text) > duration.MAX_LENGTH:
        raise ValueError(f"expected at most {duration.MAX_LENGTH} characters")
    try:
        seconds = float(text)
    except ValueError:
        return duration.parse(text)
    if not seconds >= 0:
        raise ValueError("expected a number of seconds from 0 up")
    return abs(seconds)  # -0.0 passes the check above, and would be rendered with its sign


def _drip_seconds(text: str, settings: Settings) -> float:
    return _at_most_the_longest(_seconds(text, settings), settings)


def _numbytes(text: str, settings: Settings) -> int:
    try:
        found = int(text)
    except ValueError:
        raise ValueError("expected a whole number") from None
    if found <= 0:
        raise ValueError("expected a number above 0")
    return min(found, MAX_NUMBYTES, settings.max_body)


def _jitter(text: str, settings: Settings) -> float:
    if not _FRACTION.fullmatch(text):
        raise ValueError("expected a number from 0 to 1")
    return float(text)


_FRACTION: Final = re.compile(r"0(\.[0-9]{1,9})?|1(\.0{1,9})?|\.[0-9]{1,9}")

_SHOWN: Final = 40
"""The most characters of a wrong value in the detail of a refusal; the member `given` has more."""

_NUMBER: Final = r"[0-9]+(\.[0-9]+)?"

_FORMS: Final = "|".join(grammar.FORMS)

_COUNT: Final = r"( *\* *[0-9]{1,7})?"

_DELAY_STEP: Final = rf" *({_NUMBER}([a-z]+{_NUMBER})*([a-z]+)?( *\.\. *[0-9][0-9a-z.]*)?|({_FORMS}) *\(.+\)){_COUNT} *"

_DELAY: Final = {
    "type": "string",
    "format": "delay",
    # A regular expression cannot describe nesting: every delay matches this pattern, other text may match, too.
    "pattern": f"^{_DELAY_STEP}(,{_DELAY_STEP})*$",
    "maxLength": sequence.MAX_LENGTH,
}

_WITH_UNITS: Final = "".join(f"({_NUMBER}{unit})?" for unit in duration.UNITS)

_DURATION: Final = {
    "type": "string",
    # A bare number is at most duration.MAX_BARE.
    "pattern": rf"^(0*([1-5]?[0-9](\.[0-9]+)?|60(\.0+)?)|{_WITH_UNITS})$",
    "minLength": 1,
    "maxLength": duration.MAX_LENGTH,
}

# Python's other numbers, such as `1_0` or `inf`, are accepted because httpbin accepts them, and are not documented.
_SECONDS: Final = {**_DURATION, "format": "seconds", "pattern": f"^({_NUMBER}|{_WITH_UNITS})$"}

# The reader accepts more digits, up to share.MAX_LENGTH. The bound here keeps all matching text short enough for it.
_SHARE: Final = r"0{0,8}(0(\.[0-9]{1,26})?|1(\.0{1,26})?|[0-9]{1,2}(\.[0-9]{1,26})?%|100(\.0{1,26})?%)"


_NAMED: Final = {"type": "string", "pattern": f"^{KEY.pattern}$"}


def _steps(kind: str, value: str) -> Mapping[str, Any]:
    """Make the schema of one value or of a sequence.

    A pattern cannot say that a sequence needs a key or a number.
    """
    step = rf"\s*({value}|none){_COUNT}\s*"
    return {
        "type": "string",
        "format": kind,
        "pattern": rf"^(({value}|none)|{step}(,{step})+)$",
        "maxLength": sequence.MAX_LENGTH,
    }


def _number(least: int, most: int) -> Mapping[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most}


DELAY: Final = Parameter(
    name="delay",
    meaning="the time that the answer waits",
    accepted=f"{grammar.ACCEPTED}, or a sequence such as 5s*2,50ms",
    default="`--default-delay`",
    bound="a draw above `--max-delay` is cut to it",
    example="lognormal(median=80ms,p99=1.2s)",
    read=_stepwise(_delay),
    schema=_DELAY,
    via=True,
)

HEADER: Final = Parameter(
    name="header",
    meaning="adds a header to the answer",
    accepted=f"{answer_header.ACCEPTED}; not one that frames, routes or describes the body",
    default="no header",
    bound=f"{answer_header.MOST} of them",
    example="X-RateLimit-Remaining:0",
    read=_header,
    schema={
        "type": "string",
        # Names and values that are not accepted match this pattern, too.
        "format": "answer-header",
        "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ -~]+$",
        "maxLength": answer_header.MAX_LENGTH,
    },
    most=answer_header.MOST,
)

ANSWER: Final = Parameter(
    name="answer",
    meaning="one of several whole answers, each with parameters of its own",
    accepted=variants.ACCEPTED,
    default="the other parameters alone",
    bound=f"{variants.MAX_VARIANTS} answers",
    example="95%:(delay=50ms),5%:(delay=0,status=503)",
    read=_answer,
    schema={
        "type": "string",
        "format": "answers",
        # As for a delay: every text of answers matches, other text may match, too.
        "pattern": rf"^\s*{_SHARE}\s*:\s*\([\s\S]*\)\s*$",
        "maxLength": variants.MAX_LENGTH,
    },
)

STEERING: Final = (
    Parameter(
        name="key",
        meaning="names the requests of one test, and takes the next step of each sequence",
        accepted=KEY_ACCEPTED,
        default="no key",
        bound="128 characters; 10000 keys",
        example="t42",
        read=_key,
        schema=_NAMED,
        via=True,
    ),
    Parameter(
        name="gate",
        meaning="the gate that the answer waits at, before its delay; with a number, a barrier",
        accepted=f"a name of {KEY_ACCEPTED}; behind a colon, a number of requests from 1 to {MAX_BARRIER}",
        default="no gate",
        bound="128 characters; 10000 gates",
        example="deploy:1",
        read=_gate,
        schema={
            "type": "string",
            "pattern": r"^(?!\.\.?(:|$))[A-Za-z0-9._-]{1,128}(:([1-9][0-9]{0,3}|10000))?$",
        },
        via=True,
    ),
    Parameter(
        name="within",
        meaning="the time at the gate after which the answer goes on by itself",
        accepted=duration.ACCEPTED,
        default="`--max-delay`",
        bound="`--max-delay`",
        example="500ms",
        read=_period,
        schema={**_DURATION, "format": "period"},
        beside={"gate": "deploy:1"},
        via=True,
    ),
    Parameter(
        name="order",
        meaning="the order in which the gate lets answers go",
        accepted=", ".join(ORDERS),
        default="fifo",
        bound="one of these",
        example="lifo",
        read=_one_of(ORDERS),
        schema={"type": "string", "enum": list(ORDERS)},
        beside={"gate": "deploy:1"},
        via=True,
    ),
    Parameter(
        name="pool",
        meaning="the pool of servers in which the delay is the time of service",
        accepted=f"a name of {KEY_ACCEPTED}, together with servers",
        default="no pool",
        bound="128 characters; 1000 pools",
        example="db",
        read=_key,
        schema=_NAMED,
        beside={"servers": "8"},
        via=True,
    ),
    Parameter(
        name="servers",
        meaning="the most requests of the pool in service at once",
        accepted=f"a whole number from 1 to {MAX_SERVERS}, together with a pool",
        default="no pool",
        bound=str(MAX_SERVERS),
        example="8",
        read=_whole(1, MAX_SERVERS),
        schema=_number(1, MAX_SERVERS),
        beside={"pool": "db"},
        via=True,
    ),
    Parameter(
        name="queue",
        meaning="the most requests that wait for a place in service; one more is a 503",
        accepted=f"a whole number from 0 to {MAX_QUEUE}, together with a pool",
        default="no limit",
        bound=f"{MAX_QUEUE:.0e}".replace("e+0", "e"),
        example="100",
        read=_whole(0, MAX_QUEUE),
        schema=_number(0, MAX_QUEUE),
        beside={"pool": "db", "servers": "8"},
        via=True,
    ),
)
"""The parameters that steer an answer beside its own plan."""

GATE_QUERY: Final = (
    Parameter(
        name="waiting",
        meaning="answers as soon as so many answers wait at the gate",
        accepted=f"a whole number from 1 to {MAX_BARRIER}",
        default="answers at once",
        bound=str(MAX_BARRIER),
        example="1",
        read=_whole(1, MAX_BARRIER),
        schema=_number(1, MAX_BARRIER),
    ),
    Parameter(
        name="timeout",
        meaning="the time after which a 408 says how many wait",
        accepted=duration.ACCEPTED,
        default="`--max-delay`",
        bound="`--max-delay`",
        example="2s",
        read=_period,
        schema={**_DURATION, "format": "period"},
        beside={"waiting": "1"},
    ),
)
"""The parameters of `GET /control/gates/NAME`."""

PENDING_QUERY: Final = tuple(each for each in STEERING if each.name == "key")
"""The parameters of `/control/pending`."""

JOURNAL_QUERY: Final = (
    attrs.evolve(
        PENDING_QUERY[0], meaning="the key whose requests are shown", default="none: it is required", required=True
    ),
    Parameter(
        name="ended",
        meaning="answers as soon as so many requests of the key have ended",
        accepted=f"a whole number from 1 to {MOST_OF_KEY}",
        default="answers at once",
        bound=str(MOST_OF_KEY),
        example="1",
        read=_whole(1, MOST_OF_KEY),
        schema=_number(1, MOST_OF_KEY),
        beside={"key": "t42"},
    ),
    attrs.evolve(
        next(each for each in GATE_QUERY if each.name == "timeout"),
        meaning="the time after which a 408 has the requests so far",
        beside={"key": "t42", "ended": "1"},
    ),
)
"""The parameters of `/control/journal`."""

CONTROL_KEY: Final = attrs.evolve(PENDING_QUERY[0], meaning="the key", default="none: it is part of the path")
"""The key in the path of `/control/keys/KEY`."""

CONTROL_GATE: Final = attrs.evolve(CONTROL_KEY, name="gate", meaning="the name of the gate", example="deploy")
"""The gate in the path of `/control/gates/NAME`."""

CONTROL_ID: Final = Parameter(
    name="id",
    meaning="the id of a pending answer",
    accepted="an id from the list of pending answers",
    default="none: it is part of the path",
    bound="20 digits",
    example="1",
    read=lambda text, _: text,
    schema={"type": "string", "pattern": "^[0-9]{1,20}$"},
)
"""The id in the path of `/control/pending/ID`."""

READ: Final = Parameter(
    name="read",
    meaning="the bytes of the request's body that are taken in a second",
    accepted="a size such as 64k, with `--stack tuned`",
    default="as fast as the body comes",
    bound="1024m; the body takes at most `--max-delay`",
    example="64k",
    read=_read,
    schema={"type": "string", "format": "rate", "pattern": "^[0-9]{1,15}[bkm]?$"},
    via=True,
)

DELAYED: Final = (
    DELAY,
    Parameter(
        name="seed",
        meaning="makes the draws repeatable",
        accepted=f"a whole number from 0 to {MAX_SEED}",
        default="every draw is new",
        bound="64 bits",
        example="7",
        read=_whole(0, MAX_SEED),
        schema=_number(0, MAX_SEED),
        via=True,
    ),
    Parameter(
        name="n",
        meaning="selects the n-th draw of the seed, and the n-th step of a sequence",
        accepted=f"a whole number from 1 to {MAX_TURN}, together with a seed or a sequence",
        default="the next one",
        bound=f"{MAX_TURN:.0e}".replace("e+", "e"),
        example="3",
        read=_whole(1, MAX_TURN),
        schema=_number(1, MAX_TURN),
        beside={"seed": "7"},
        via=True,
    ),
    Parameter(
        name="status",
        meaning="the status of all answers, or of a share of them",
        accepted="a status from 200 to 599 such as 503, or 503:20% for a share of the answers; in a sequence such as "
        "503*2,200 also none",
        default="200",
        bound="200 to 599",
        example="503:20%",
        read=_stepwise(_status),
        schema=_steps("statuses", f"[2-5][0-9][0-9](:{_SHARE})?"),
        via=True,
    ),
    Parameter(
        name="size",
        meaning="the size of the body",
        accepted=size.ACCEPTED,
        default="the type's own size",
        bound="`--max-body`",
        example="64k",
        read=_size,
        schema={"type": "string", "format": "size", "pattern": "^[0-9]{1,15}[bkm]?$"},
    ),
    Parameter(
        name="type",
        meaning="the type of the body",
        accepted=f"{', '.join(TYPES)}; {' or '.join(stream.TYPES)} for a stream of events",
        default="html",
        bound="one of these",
        example="json",
        read=_one_of((*TYPES, *stream.TYPES)),
        schema={"type": "string", "enum": [*TYPES, *stream.TYPES]},
    ),
    Parameter(
        name="at",
        meaning="the part of the answer that waits",
        accepted="headers (wait, then answer) or body (send the headers at once, then wait)",
        default="headers",
        bound="one of these",
        example="body",
        read=_one_of(("headers", "body")),
        schema={"type": "string", "enum": ["headers", "body"]},
    ),
    Parameter(
        name="chunks",
        meaning="the number of pieces in which the body is sent, or of events in a stream",
        accepted=f"a whole number from 1 to {MAX_CHUNKS}, at most the bytes of the body; 0 for a stream without end",
        default="1",
        bound=f"{MAX_CHUNKS}",
        example="4",
        read=_whole(0, MAX_CHUNKS),
        schema=_number(0, MAX_CHUNKS),
    ),
    Parameter(
        name="over",
        meaning="the time from the first piece to the last, after the wait",
        accepted=f"{duration.ACCEPTED}; together with at least two chunks",
        default="0",
        bound="`--max-delay`",
        example="100ms",
        read=_period,
        schema={**_DURATION, "format": "period"},
        beside={"chunks": "4"},
    ),
    Parameter(
        name="every",
        meaning="the time between two pieces or events, in place of `over`",
        accepted=f"{grammar.ACCEPTED}; together with chunks or the type of a stream",
        default="all at once",
        bound="a draw above `--max-delay` is cut to it",
        example="exponential(20ms)",
        read=_delay,
        schema=_DELAY,
        beside={"chunks": "4"},
    ),
    Parameter(
        name="rate",
        meaning="the bytes of the body that are sent in a second, evenly",
        accepted="a size such as 64k; alone, without chunks, over, every or the type of a stream",
        default="as fast as the client reads",
        bound="1024m; the body takes at most `--max-delay`",
        example="64k",
        read=_rate,
        schema={"type": "string", "format": "rate", "pattern": "^[0-9]{1,15}[bkm]?$"},
        via=True,
    ),
    READ,
    Parameter(
        name="framing",
        meaning="the framing of the body",
        accepted="length (Content-Length) or chunked",
        default="length",
        bound="one of these",
        example="chunked",
        read=_one_of(("length", "chunked")),
        schema={"type": "string", "enum": ["length", "chunked"]},
    ),
    Parameter(
        name="retry-after",
        meaning="adds a Retry-After header, in seconds",
        accepted=f"a whole number of seconds from 0 to {MAX_RETRY_AFTER}, with a status of 3xx, 429 or 503",
        default="no header",
        bound=f"{MAX_RETRY_AFTER:.0e}".replace("e+0", "e"),
        example="30",
        read=_whole(0, MAX_RETRY_AFTER),
        schema=_number(0, MAX_RETRY_AFTER),
        beside={"status": "503"},
    ),
    Parameter(
        name="fault",
        meaning="a failure in place of the answer, after the wait",
        accepted=f"{faults.ACCEPTED}; reset:10% for a share; steps reset*1,none",
        default="none",
        bound="one of these",
        example="reset:10%",
        read=_stepwise(_fault),
        schema=_steps("faults", f"({'|'.join(faults.KINDS)})(@[0-9]{{1,15}}[bkm]?)?(:{_SHARE})?"),
        via=True,
    ),
    HEADER,
    ANSWER,
    *STEERING,
)
"""The parameters of `/delayed`."""

_OF_ALL: Final = frozenset({"seed", "n", "answer", "read"})

VARIANT: Final = tuple(each for each in DELAYED if each not in STEERING and each.name not in _OF_ALL)
"""The parameters of one of several answers; a body comes before any of these answers is drawn."""

SCENARIO: Final = (
    *DELAYED,
    Parameter(
        name="upstream",
        meaning="passes the requests on to an upstream, late",
        accepted="the name of an upstream from the start",
        default="the service answers itself",
        bound="one of `--upstream`",
        example="api",
        read=_upstream,
        schema={"type": "string"},
    ),
    Parameter(
        name="body",
        meaning="the body of the answer",
        accepted="a text",
        default="the body of the type",
        bound=size.render(MAX_TEXT),
        example='{"id": 1}',
        read=_body,
        schema={"type": "string", "maxLength": MAX_TEXT},
    ),
    Parameter(
        name="content-type",
        meaning="the Content-Type of the body",
        accepted="a media type such as application/json",
        default="text/plain; charset=utf-8",
        bound="100 characters",
        example="application/json",
        read=_content_type,
        schema={"type": "string", "pattern": f"^{_MEDIA_TYPE.pattern}$", "maxLength": 100},
        beside={"body": '{"id": 1}'},
    ),
    Parameter(
        name="pieces",
        meaning="the piece of the body that each event of a stream has",
        accepted=", ".join(stream.PIECES),
        default="lines",
        bound="one of these",
        example="words",
        read=_one_of(stream.PIECES),
        schema={"type": "string", "enum": list(stream.PIECES)},
        beside={"type": "sse", "body": '{"id": 1}'},
    ),
)
"""The parameters of a scenario."""

PREDICT: Final = (
    DELAY,
    Parameter(
        name="timeout",
        meaning="the timeout of the client",
        accepted=duration.ACCEPTED,
        default="unknown",
        bound="none",
        example="2s",
        read=_timeout,
        schema=_DURATION,
    ),
    Parameter(
        name="rate",
        meaning="the requests in a second, for a simulation of the waiting time",
        accepted=f"a number above 0 and at most {MAX_LOAD}, such as 200 or 0.5",
        default="no simulation",
        bound=str(MAX_LOAD),
        example="200",
        read=_load,
        schema={"type": "string", "format": "load", "pattern": r"^[0-9]{1,7}(\.[0-9]{1,6})?$"},
    ),
    Parameter(
        name="servers",
        meaning="the most requests in service at once, in the simulation",
        accepted=f"a whole number from 1 to {MAX_SERVERS}, together with a rate",
        default="one server",
        bound=str(MAX_SERVERS),
        example="8",
        read=_whole(1, MAX_SERVERS),
        schema=_number(1, MAX_SERVERS),
        beside={"rate": "200"},
    ),
    Parameter(
        name="queue",
        meaning="the most requests in line, in the simulation",
        accepted=f"a whole number from 0 to {MAX_QUEUE}, together with a rate",
        default="no limit",
        bound=f"{MAX_QUEUE:.0e}".replace("e+0", "e"),
        example="100",
        read=_whole(0, MAX_QUEUE),
        schema=_number(0, MAX_QUEUE),
        beside={"rate": "200"},
    ),
    Parameter(
        name="seed",
        meaning="the seed of the simulation",
        accepted=f"a whole number from 0 to {MAX_SEED}, together with a rate",
        default="seed 0",
        bound="64 bits",
        example="7",
        read=_whole(0, MAX_SEED),
        schema=_number(0, MAX_SEED),
        beside={"rate": "200"},
    ),
)
"""The parameters of `/predict`."""

SECONDS: Final = Parameter(
    name="delay",
    meaning="the time that the answer waits",
    accepted="a number of seconds such as 3 or 0.5, or a duration such as 250ms or 1m30s",
    default="none: it is part of the path",
    bound=f"a longer one is cut to {MAX_SECONDS:.0f} s or `--max-delay`",
    example="3",
    read=_seconds,
    schema=_SECONDS,
)
"""The parameter in the path of `/delay/SECONDS`."""

DRIP: Final = (
    Parameter(
        name="duration",
        meaning="the time over which the bytes are sent",
        accepted="a number of seconds such as 2 or 0.5, or a duration such as 250ms or 1m30s",
        default="2",
        bound="`--max-delay`",
        example="0.5",
        read=_drip_seconds,
        schema=_SECONDS,
    ),
    Parameter(
        name="numbytes",
        meaning="the number of bytes",
        accepted="a whole number from 1",
        default="10",
        bound=f"a larger one is cut to {MAX_NUMBYTES} or `--max-body`",
        example="5",
        read=_numbytes,
        schema={"type": "integer", "minimum": 1},
    ),
    Parameter(
        name="code",
        meaning="the status of the answer",
        accepted="a status from 200 to 999",
        default="200",
        bound="200 to 999",
        example="503",
        read=_whole(200, 999),
        schema=_number(200, 999),
    ),
    Parameter(
        name="delay",
        meaning="the time that the answer waits before its first byte",
        accepted="a number of seconds such as 1 or 0.5, or a duration such as 250ms or 1m30s",
        default="0",
        bound="`--max-delay`",
        example="0.5",
        read=_drip_seconds,
        schema=_SECONDS,
    ),
    *STEERING,
)
"""The parameters of `/drip`."""

ECHO: Final = (READ, *STEERING)
"""The parameters of `/delay/SECONDS` in headers."""

EVENTS: Final = (
    Parameter(
        name="count",
        meaning="the number of events",
        accepted=f"a whole number from 1 to {MAX_CHUNKS}",
        default="10",
        bound=f"{MAX_CHUNKS}",
        example="5",
        read=_whole(1, MAX_CHUNKS),
        schema=_number(1, MAX_CHUNKS),
    ),
    attrs.evolve(DRIP[0], meaning="the time over which the events are sent", default="5 for `/sse`, 0 for `/jsonl`"),
    attrs.evolve(DRIP[3], meaning="the time that the answer waits before its first event"),
    Parameter(
        name="jitter",
        meaning="the share by which the time between two events varies, up and down",
        accepted="a number from 0 to 1",
        default="0",
        bound="1",
        example="0.5",
        read=_jitter,
        schema={"type": "string", "pattern": r"^(0(\.[0-9]{1,9})?|1(\.0{1,9})?)$"},
    ),
    *STEERING,
)
"""The parameters of `/sse` and `/jsonl`."""

VIA: Final = tuple(parameter for parameter in DELAYED if parameter.via)
"""The parameters of `/via/NAME`, which come in headers: all but those of the body, which is the upstream's."""

TOPIC: Final = Parameter(
    name="topic",
    meaning="the page of the reference",
    accepted=", ".join(TOPICS),
    default="none: it is part of the path",
    bound="one of these",
    example="faults",
    read=_one_of(TOPICS),
    schema={"type": "string", "enum": list(TOPICS)},
)
"""The page that `/docs/TOPIC` shows."""

NAME: Final = Parameter(
    name="name",
    meaning="the scenario",
    accepted="the name of a scenario: 1 to 64 letters, digits, `.`, `_` and `-`",
    default="none: it is part of the path",
    bound="one of the scenarios",
    example="rate-limited",
    read=_name,
    schema={"type": "string", "pattern": f"^{SCENARIO_NAME.pattern}$"},
)
"""The scenario that `/as/NAME` answers as."""

PREFIX: Final = "latebin-"
"""The prefix of request headers that are parameters, in lower case; the name of the parameter follows."""


def split_query(query: bytes) -> Iterator[tuple[str, str]]:
    """Split a query into the names and texts of its fields, decoded."""
    # Latin-1 and backslashes keep every byte readable in the refusal, where UTF-8 alone would raise.
    for field in query.decode("latin-1").split("&"):
        if field:
            name, _, value = field.partition("=")
            yield unquote_plus(name, errors="backslashreplace"), unquote_plus(value, errors="backslashreplace")


def read_query(query: bytes, parameters: Collection[Parameter], settings: Settings) -> dict[str, Any]:
    """Read every parameter in a query, as `read_fields` does.

    Args:
        query: the query of the request target, still percent-encoded.
        parameters: the parameters of the endpoint.
        settings: the limits.

    Returns:
        The values of the given parameters, by name.

    Raises:
        Refused: 400, as in `read_fields`.
    """
    return read_fields(split_query(query), parameters, settings)


def read_fields(
    fields: Iterable[tuple[str, str]], parameters: Collection[Parameter], settings: Settings
) -> dict[str, Any]:
    """Read parameters from decoded fields.

    No field is ignored: an unknown name and a repeated name are refused.

    Args:
        fields: names and texts, decoded, in the order of the request.
        parameters: the parameters of the endpoint.
        settings: the limits.

    Returns:
        The values of the given parameters, by name.

    Raises:
        Refused: 400, with the name of the wrong parameter, the given text and the accepted values.
    """
    known = {parameter.name: parameter for parameter in parameters}
    found: dict[str, Any] = {}
    for name, text in fields:
        if name not in known:
            raise wrong(f'Unknown parameter "{_clipped(name)}".', name, text, f"the parameters {', '.join(known)}")
        value = read_text(known[name], text, settings)
        if known[name].most > 1:
            value = (*found.get(name, ()), value)
            if len(value) > known[name].most:
                accepted = f"at most {known[name].most} of them"
                raise wrong(f'The parameter "{name}" is given too often.', name, text, accepted)
        elif name in found:
            raise wrong(f'The parameter "{name}" is given twice.', name, text, "one value")
        found[name] = value
    return found


def read_text(parameter: Parameter, text: str, settings: Settings) -> Any:  # noqa: ANN401  # each reader has its type
    """Read the text of one parameter.

    Raises:
        Refused: 400, with the reason in its detail.
    """
    try:
        return parameter.read(text, settings)
    except ValueError as error:
        detail = f'Invalid {parameter.name} "{_clipped(text)}": {error}.'
        raise wrong(detail, parameter.name, text, parameter.accepted) from None


def can_retry_after(status: int) -> bool:
    """Return whether answers with a status can have `Retry-After`.

    RFC 9110, section 10.2.3, names 3xx and 503, and RFC 6585, section 4, adds 429.
    """
    return 300 <= status < 400 or status in {429, 503}  # noqa: PLR2004  # the class of redirections


def has_retry_after(arguments: Mapping[str, Any]) -> bool:
    """Return whether some answer with these arguments can have `Retry-After`.

    Beside a share of a status, only the answers with this status have the header. The same holds for several answers.
    """
    answers: Answers | None = arguments.get("answer")
    every = [{**arguments, **own} for _, own in answers.variants] if answers else [arguments]
    statuses = [status for each in every for status in _each_step(each.get("status", chance.NOTHING))]
    return any(status != chance.NOTHING and can_retry_after(int(status.what)) for status in statuses)


def _each_step(value: "chance.Chance | sequence.Sequence[chance.Chance]") -> list[chance.Chance]:
    return [step for step, _ in value.steps] if isinstance(value, sequence.Sequence) else [value]


def check_retry_after(arguments: Mapping[str, Any]) -> None:
    """Refuse `retry-after` if no answer can have it.

    One of several answers must be able to have its own.

    Raises:
        Refused: 400, with the statuses that are accepted.
    """
    answers: Answers | None = arguments.get("answer")
    owns = [own for _, own in answers.variants if "retry-after" in own] if answers else []
    for each in (arguments, *({**arguments, "answer": None, **own} for own in owns)):
        if "retry-after" in each and not has_retry_after(each):
            given = str(each["retry-after"])
            detail = f'Invalid retry-after "{given}": no answer has a status of 3xx, 429 or 503, which can have it.'
            raise wrong(detail, "retry-after", given, "beside it, a status of 3xx, 429 or 503")


def wrong(detail: str, parameter: str, given: str, accepted: str) -> Refused:
    """Make the refusal of a parameter.

    Args:
        detail: the reason, as a sentence.
        parameter: its name.
        given: the given text.
        accepted: its accepted values.
    """
    return Refused(Problem(400, detail, parameter=parameter, given=given, accepted=accepted))


def _clipped(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."

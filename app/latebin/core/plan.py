"""Plans: the effect of a request on its answer, made from the request's parameters."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from functools import partial
from http import HTTPStatus
from itertools import accumulate, islice, product
from typing import Any, Final, cast

import attrs

from latebin.core import faults, stream
from latebin.core.faults import Place
from latebin.core.http.body import SENTENCES, Body, sized, whole
from latebin.core.http.reply import SAFE, Headers
from latebin.core.http.status import required
from latebin.core.language import draw, grammar, prediction
from latebin.core.language.chance import NOTHING, Chance
from latebin.core.language.distributions import Distribution, Fixed, Limited, Mix
from latebin.core.language.duration import render
from latebin.core.language.queueing import Load
from latebin.core.language.sequence import Sequence
from latebin.core.language.size import render as render_size
from latebin.core.parameters import (
    DELAY,
    DELAYED,
    MAX_CHUNKS,
    MAX_SECONDS,
    PREDICT,
    SECONDS,
    STEERING,
    Answers,
    can_retry_after,
    check_retry_after,
    read_fields,
    read_query,
    read_text,
    split_query,
    wrong,
)
from latebin.core.settings import Settings
from latebin.core.steering import GateWait, PoolWait, Steering
from latebin.core.stream import Stream

TURN: Final = b"Latebin-Turn"

EMPTY: Final = frozenset({204, 205, 304})
"""The statuses whose answers have no body (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5)."""

PIECES_PER_SECOND: Final = 10
"""The pieces in which a body with a rate is sent, where a piece has at least a byte."""

MAX_LEAVES: Final = 8
"""The most delays in a mix whose prediction takes no longer than a turn of the reactor may; it has up to 64."""

Arguments = Mapping[str, Any]
"""The values of the given parameters, by name."""


@attrs.frozen
class Plan:
    """The planned answer of one request, or of all equal requests without a draw.

    Attributes:
        wait: seconds from the acceptance of the request to its answer.
        cut: whether the drawn wait exceeded the longest delay or the limit of its distribution, and was cut to it.
        status: the HTTP status code.
        body: the body; None for a status without one.
        at: `headers` if the headers wait, too; `body` if they are sent at once.
        chunks: the number of pieces in which the body is sent.
        over: seconds from the first piece to the last.
        chunked: whether the chunked coding frames the body, instead of its length.
        retry_after: seconds for the header of that name; None for no header.
        fault: the failure, one of `latebin.core.faults.KINDS`; None for an intact answer.
        place: the part of the body that is sent before the failure; None for the kind's own place.
        gap: returns the seconds from a piece to the next by the piece's number, from 1; None for even gaps.
        rate: bytes of the body that are sent in a second; None for no limit.
        stream: the events of the body; None for a body of bytes.
        forwarded: whether the answer is that of an upstream.
        turn: the number of the request among those with its seed; None without a seed, and with a key.
        extra: requested headers, each name once with its values; they replace the service's own.
        asked_ms: the wait in milliseconds, as headers and log report it.
        headers: the headers of the answer that do not depend on the time of sending.
    """

    wait: float
    cut: bool = False
    status: int = 200
    body: Body | None = SENTENCES["html"]
    at: str = "headers"
    chunks: int = 1
    over: float = 0.0
    chunked: bool = False
    retry_after: int | None = None
    fault: str | None = None
    place: Place | None = None
    gap: Callable[[int], float] | None = attrs.field(default=None, eq=False)
    rate: int | None = None
    stream: Stream | None = None
    forwarded: bool = False
    turn: int | None = None
    extra: tuple[tuple[bytes, tuple[bytes, ...]], ...] = ()
    asked_ms: float = attrs.field(init=False, repr=False, eq=False)
    headers: Headers = attrs.field(init=False, repr=False, eq=False)

    @asked_ms.default
    def _wait_in_milliseconds(self) -> float:
        return round(self.wait * 1000, 3)

    @headers.default
    def _framing_and_retry(self) -> Headers:
        framing: Headers = ()
        if self.stream is not None and self.body is not None:
            # nginx holds an answer back unless it has this header.
            framing = (b"Content-Type", self.body.content_type), (b"X-Accel-Buffering", b"no")
        elif self.body is not None:
            length = () if self.chunked else ((b"Content-Length", b"%d" % self.body.size),)
            framing = (b"Content-Type", self.body.content_type), *length
        elif self.status == HTTPStatus.RESET_CONTENT:
            # A 205 has to say that it is empty; a 204 and a 304 are so by definition (RFC 9110, sections 8.6, 15.3.6).
            framing = ((b"Content-Length", b"0"),)
        retry = () if self.retry_after is None else ((b"Retry-After", b"%d" % self.retry_after),)
        size = 0 if self.body is None else self.body.size
        return *framing, *SAFE, *required(self.status, size), *retry, *self.turns

    @property
    def turns(self) -> Headers:
        """The header with the turn of a seed, which repeats this draw as `n`."""
        return () if self.turn is None else ((TURN, b"%d" % self.turn),)

    def between(self, piece: int) -> float:
        """Return the seconds from the moment when a piece is due to the next.

        Args:
            piece: the number of the first of both, from 1.
        """
        return self.over / max(self.chunks - 1, 1) if self.gap is None else self.gap(piece)

    def pieces(self, first: int = 0) -> Iterator[tuple[int, float]]:
        """Yield the end of each piece of the body, and when it is due.

        Args:
            first: the number of the piece to begin with, from 0.

        Returns:
            The offset in the body, and seconds from the end of the wait.
        """
        size = 0 if self.body is None else self.body.size
        if self.rate is not None:
            step = self._step(self.rate)
            ends = range(step * (first + 1), size + step, step)
            return ((min(end, size), min(end, size) / self.rate) for end in ends)
        parts = ((piece + 1) * size // self.chunks for piece in range(self.chunks))
        if self.gap is not None:
            due = accumulate(map(self.gap, range(1, self.chunks)), initial=0.0)
            return islice(zip(parts, due, strict=True), first, None)
        last = max(self.chunks - 1, 1)
        return (((piece + 1) * size // self.chunks, self.over * piece / last) for piece in range(first, self.chunks))

    def due(self, seconds: float) -> int:
        """Return how many pieces are due, give or take one, without a look at each.

        Args:
            seconds: from the end of the wait.

        Returns:
            The number; 0 for pieces with gaps of their own, which have to be added up.
        """
        if self.gap is not None:
            return 0
        if self.rate is not None:
            size = 0 if self.body is None else self.body.size
            return int(min(seconds * self.rate, size)) // self._step(self.rate)
        return int(min(seconds / self.over, 1.0) * (self.chunks - 1)) + 1 if self.over else self.chunks

    @staticmethod
    def _step(rate: int) -> int:
        """Return the bytes of a piece at a rate in bytes a second."""
        return max(rate // PIECES_PER_SECOND, 1)


Draw = Callable[[int, int], Plan]
"""A function that draws the plan of a request, given its turn among those of its key and its number of the draw."""


@attrs.frozen(eq=False)
class Prepared:
    """The part of a plan that all equal requests have in common.

    Attributes:
        plan: the plan, if nothing is drawn and no step is taken; None otherwise.
        draw: draws the plan otherwise.
        counted: the seed and the expression to count the request for. None if the draws need no number, or take the one
            of the key or of `n`.
        steering: the key, the gate and the pool; None without any.
    """

    plan: Plan | None
    draw: Draw
    counted: tuple[int | None, str] | None = None
    steering: Steering | None = None


def read_arguments(
    query: bytes, path_delay: str | None, settings: Settings, fields: Iterable[tuple[str, str]] = ()
) -> Arguments:
    """Read the parameters of `/delayed`.

    Args:
        query: the query of the request target, still percent-encoded.
        path_delay: the delay in the path, decoded; None without one.
        settings: the default and the limits.
        fields: names and texts of the parameters in request headers.

    Raises:
        Refused: 400, with the name of the wrong parameter, the given text and the accepted values.
    """
    arguments = read_fields([*split_query(query), *fields], DELAYED, settings)
    if path_delay is not None:
        if "delay" in arguments:
            both = f"{path_delay} in the path and {arguments['delay']} in the query"
            detail = "The delay is given twice: in the path and in the query."
            raise wrong(detail, "delay", both, "a delay in the path or in the query")
        arguments["delay"] = read_text(DELAY, path_delay, settings)
    check_retry_after(arguments)
    return arguments


def prepare(
    arguments: Arguments, settings: Settings, random: Callable[[], float], *, upstream: bool = False
) -> Prepared:
    """Prepare the plans of requests with these arguments.

    If nothing is drawn, all requests have one plan, which is made here. Otherwise each has its own.

    Args:
        arguments: the values of the parameters.
        settings: the default and the limits.
        random: returns a float in [0, 1), for draws without a seed.
        upstream: whether to pass the requests on, unless a status or a fault is drawn as the answer.

    Raises:
        Refused: 400, if the arguments contradict each other. Some contradictions show when a plan is drawn.
    """
    steering = steer(arguments, settings)
    _check_number(arguments)
    _check_steps(arguments)
    plan_one = partial(_draw_plan, arguments, settings, random, upstream=upstream or "upstream" in arguments)
    # Each request with a seed counts as a turn of that seed, even if nothing is drawn.
    if _steps(arguments) or arguments.keys() & {"answer", "seed"} or not _is_certain(arguments):
        return Prepared(None, plan_one, _counted(arguments, settings), steering)
    plan = plan_one(1, 1)
    return Prepared(plan, plan_one, None, steering)


def fixed(plan: Plan, steering: Steering | None) -> Prepared:
    """Make the preparation of a request that has this plan in every turn."""
    return Prepared(plan, lambda _turn, _n: plan, None, steering)


def _is_certain(arguments: Arguments) -> bool:
    chances = arguments.get("status"), arguments.get("fault")
    certain = all(chance is None or chance.share in (0, 1) for chance in chances)
    return certain and isinstance(arguments.get("delay"), Fixed | None)


def _counted(arguments: Arguments, settings: Settings) -> tuple[int | None, str] | None:
    seed, answers = arguments.get("seed"), arguments.get("answer")
    delay = arguments.get("delay") or Fixed(settings.default_delay)
    # A key numbers its requests by itself, and a fixed delay without a seed uses no number.
    needless = ("key" in arguments or (answers is None and isinstance(delay, Fixed))) and seed is None
    if "n" in arguments or needless:
        return None
    return seed, str(delay if answers is None else answers)


def _check_number(arguments: Arguments) -> None:
    """Refuse an `n` that nothing needs."""
    if "n" in arguments and "seed" not in arguments and not _steps(arguments):
        n = str(arguments["n"])
        raise wrong(f'Invalid n "{n}": there is neither a seed nor a sequence.', "n", n, "a seed beside it")


def _check_steps(arguments: Arguments) -> None:
    """Refuse a sequence whose steps nothing counts."""
    steps = _steps(arguments)
    if steps and not arguments.keys() & {"key", "n"}:
        detail = "A sequence needs a key: without it, tests that run in parallel would take each other's steps."
        accepted = "a key beside it, or n for one of its steps"
        raise wrong(detail, steps[0], str(arguments[steps[0]]), accepted)


def _steps(arguments: Arguments) -> list[str]:
    """Return the names of the parameters that are sequences."""
    return [name for name, value in arguments.items() if isinstance(value, Sequence)]


def steer(arguments: Arguments, settings: Settings) -> Steering | None:
    """Return what steers the answer beside its plan; None for nothing.

    Raises:
        Refused: 400, if one of these parameters needs another.
    """
    if not arguments.keys() & _STEERED:
        return None
    for name, other in _NEEDS:
        if name in arguments and other not in arguments:
            given = render(arguments[name]) if name == "within" else str(arguments[name])
            raise wrong(f"The parameter {name} needs {other}.", name, given, f"{other} beside it")
    gate = pool = None
    if "gate" in arguments:
        name, size = arguments["gate"]
        within = arguments.get("within", settings.max_delay)
        gate = GateWait(name, size, within, arguments.get("order", "fifo"), arguments.get("seed"))
    if "pool" in arguments:
        pool = PoolWait(arguments["pool"], arguments["servers"], arguments.get("queue"))
    return Steering(arguments.get("key"), gate, pool)


_NEEDS: Final = (("within", "gate"), ("order", "gate"), ("pool", "servers"), ("servers", "pool"), ("queue", "pool"))

_STEERED: Final = frozenset(parameter.name for parameter in STEERING)


def _draw_plan(
    arguments: Arguments, settings: Settings, random: Callable[[], float], turn: int, n: int, *, upstream: bool = False
) -> Plan:
    """Draw the plan of one request.

    Args:
        arguments: the values of its parameters.
        settings: the default and the limits.
        random: returns a float in [0, 1), for draws without a seed.
        turn: the number of the request among those of its key, for the steps of sequences.
        n: the number of the request for its draws.
        upstream: whether to pass the request on, unless a status or a fault is drawn as its answer.

    Raises:
        Refused: 400, if the arguments contradict each other.
    """
    draws = _Draws(arguments, settings, random, turn, n)
    arguments = draws.arguments
    wait, limited = draws.delay.sample(draws.uniforms("delay", draws.delay), draws.n)
    drawn = draws.event("status", arguments.get("status"))
    status = int(drawn or 200)
    kind, place = faults.parse(found) if (found := draws.event("fault", arguments.get("fault"))) else (None, None)
    events = _stream(arguments)
    plan = Plan(
        wait=min(wait, settings.max_delay),
        cut=limited or wait > settings.max_delay,
        status=status,
        body=None if status in EMPTY else _body(arguments, events),
        at=arguments.get("at", "headers"),
        chunks=arguments.get("chunks", 1) if events is None else events.count,
        over=arguments.get("over", 0.0),
        chunked=arguments.get("framing") == "chunked" or kind == "badchunk",
        retry_after=arguments.get("retry-after") if can_retry_after(status) else None,
        fault=kind,
        place=place,
        gap=draws.gap(arguments.get("every")),
        rate=arguments.get("rate"),
        stream=None if status in EMPTY else events,
        # A fault with a place happens in the upstream's own body.
        forwarded=upstream and drawn is None and (kind is None or place is not None),
        turn=None if "seed" not in arguments or "key" in arguments else draws.n,
        extra=_grouped(arguments.get("header", ())),
    )
    _check_pieces(arguments, plan, settings, upstream=upstream)
    return plan


def check(arguments: Arguments, settings: Settings) -> None:
    """Check that no answer with these arguments contradicts itself.

    Without this, a scenario would be accepted, and each of its requests refused.

    Raises:
        Refused: 400, as in `read_arguments`.
    """
    # Every chance hits, and none does except a certain one: then the body is there, with its pieces and its place.
    steer(arguments, settings)
    _check_number(arguments)
    without_draws = {name: value for name, value in arguments.items() if name not in {"answer", "n", "seed"}}
    answers = arguments["answer"].variants if "answer" in arguments else [(1.0, {})]
    for (_, own), number in product(answers, (2.0**-draw.BITS, 1 - 2.0**-draw.BITS)):
        _draw_plan({**without_draws, **own}, settings, partial(float, number), 1, 1, upstream="upstream" in arguments)


def _body(arguments: Arguments, events: Stream | None) -> Body:
    if events is not None:
        return whole(arguments.get("content-type", stream.TYPES[events.kind]), b"")
    if "body" in arguments:
        return whole(arguments.get("content-type", b"text/plain; charset=utf-8"), arguments["body"])
    return sized(arguments.get("type", "html"), arguments.get("size"))


def _stream(arguments: Arguments) -> Stream | None:
    """Make the stream that the parameters ask for; None without one."""
    kind = arguments.get("type")
    if kind not in stream.TYPES:
        return None
    if arguments.get("size", 0) > stream.MAX_DATA:
        given = render_size(arguments["size"])
        raise wrong(f'Invalid size "{given}": an event is too large.', "size", given, f"at most {stream.MAX_DATA}")
    if "body" not in arguments:
        return stream.stream(kind, arguments.get("chunks"), arguments.get("size"))
    unit = arguments.get("pieces", "lines")
    try:
        return stream.stream_of(kind, arguments.get("chunks"), arguments["body"], unit)
    except ValueError as error:
        raise wrong(
            f"Invalid body: {error}.", "body", f"{len(arguments['body'])} bytes", f"UTF-8 with {unit}"
        ) from None


def _grouped(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, tuple[bytes, ...]], ...]:
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    return tuple((name, tuple(values)) for name, values in found.items())


def _check_pieces(arguments: Arguments, plan: Plan, settings: Settings, *, upstream: bool) -> None:
    """Refuse parameters of the body's pieces that contradict each other or the body.

    Raises:
        Refused: 400, with one of these parameters.
    """
    for name, others in EXCLUSIVE.items():
        for other in others & arguments.keys() if name in arguments else ():
            detail = f"{name} and {other} contradict each other."
            raise wrong(detail, name, str(arguments[name]), f"{name} or {other}, not both")
    if not upstream:
        (_check_bytes if plan.stream is None else _check_events)(arguments, plan)
    if plan.rate is not None and plan.body is not None and plan.body.size > plan.rate * settings.max_delay:
        detail = f"The body would take longer than the longest delay, {render(settings.max_delay)}."
        raise wrong(detail, "rate", render_size(plan.rate), "a higher rate")


EXCLUSIVE: Final = {"every": {"over"}, "rate": {"chunks", "over", "every"}}
"""Parameters that determine the times of the pieces, each with those that it excludes."""


def _check_bytes(arguments: Arguments, plan: Plan) -> None:
    most = MAX_CHUNKS if plan.body is None else max(plan.body.size, 1)
    if plan.chunks > most:
        detail = f'Invalid chunks "{plan.chunks}": the body has fewer bytes than pieces.'
        raise wrong(detail, "chunks", str(plan.chunks), f"at most {most}")
    if not plan.chunks:
        raise wrong('Invalid chunks "0": the body has an end.', "chunks", "0", "from 1 up, or the type of a stream")
    for name in ("over", "every"):
        if arguments.get(name) and plan.chunks == 1:
            given = render(plan.over) if name == "over" else str(arguments[name])
            detail = f'Invalid {name} "{given}": the body has one piece.'
            raise wrong(detail, name, given, "chunks of at least 2 beside it")
    if "pieces" in arguments:
        raise wrong("The body is not a stream.", "pieces", arguments["pieces"], "the type of a stream beside it")
    if plan.place is not None and plan.body is not None and plan.place.amount > plan.body.size:
        place = str(plan.place.amount)
        raise wrong(
            f"The body ends before byte {place}.", "fault", f"{plan.fault}@{place}", f"at most @{plan.body.size}"
        )


def _check_events(arguments: Arguments, plan: Plan) -> None:
    events = cast("Stream", plan.stream)
    if plan.rate is not None:
        raise wrong("A stream has no rate.", "rate", render_size(plan.rate), "every, the time between two events")
    if arguments.get("framing") == "length":
        raise wrong("The length of a stream is unknown.", "framing", "length", "chunked")
    if "pieces" in arguments and "body" not in arguments:
        raise wrong("The stream carries no body.", "pieces", arguments["pieces"], "a body beside it, in a scenario")
    if plan.over and events.count in (0, 1):
        over, number = render(plan.over), "no end" if not events.count else "one event"
        raise wrong(f'Invalid over "{over}": the stream has {number}.', "over", over, "chunks of at least 2, or every")
    fault = arguments.get("fault", NOTHING)
    kind, place = ("", None) if fault == NOTHING else faults.parse(fault.what)
    if place is not None and place.unitless and 0 < events.count < place.amount:
        detail = f"The stream ends before event {place.amount}."
        raise wrong(detail, "fault", f"{kind}@{place.amount}", f"at most @{events.count}")
    if kind in HALVES and place is None and not events.count:
        raise wrong("A stream without end has no half.", "fault", kind, f"a place, such as {kind}@3")


HALVES: Final = ("truncate", "badchunk")
"""The faults that happen in the middle of a body."""


class _Draws:
    """The draws of one request, each from its own stream of random numbers."""

    def __init__(
        self, arguments: Arguments, settings: Settings, random: Callable[[], float], turn: int, n: int
    ) -> None:
        self._seed = arguments.get("seed")
        self._random = random
        self._longest = settings.max_delay
        # `n` says both: which draw, and which step.
        self.n, step = arguments.get("n", n), arguments.get("n", turn)
        arguments = {
            name: value.at(step) if isinstance(value, Sequence) else value for name, value in arguments.items()
        }
        delay: Distribution = arguments.get("delay") or Fixed(settings.default_delay)
        answers = arguments.get("answer")
        self.arguments = arguments if answers is None else {**arguments, **self._one_of(answers)}
        self.delay: Distribution = self.arguments.get("delay") or delay

    def _one_of(self, answers: Answers) -> Arguments:
        drawn, total = next(self.uniforms("answer", answers)), 0.0
        for part, arguments in answers.variants:
            total += part
            if drawn < total:
                return arguments
        return answers.variants[-1][1]

    def uniforms(self, purpose: str, expression: object) -> Iterator[float]:
        if self._seed is None:
            return draw.unseeded(self._random)
        return draw.seeded(purpose, self._seed, str(expression), self.n)

    def gap(self, every: Distribution | None) -> Callable[[int], float] | None:
        """Make the function that draws the time behind a piece.

        With a seed, each gap is a draw of its own, so that a stream can go on in its middle.
        """
        if every is None:
            return None
        longest = self._longest
        if isinstance(every, Fixed):
            same = min(every.seconds, longest)
            return lambda _: same

        def drawn(piece: int) -> float:
            return min(every.draw(self.uniforms(f"every {piece}", every), piece), longest)

        return drawn

    def event(self, purpose: str, chance: Chance | None) -> str | None:
        """Draw whether an event happens.

        With one seed, a request that a small share hits is hit by every larger share, too.
        """
        if chance is None or not chance.share:
            return None
        hit = chance.share == 1 or next(self.uniforms(purpose, chance.what)) < chance.share
        return chance.what if hit else None


def plan_echo(path_delay: str, content: bytes, settings: Settings) -> Plan:
    """Plan the answer of `/delay/SECONDS`, as httpbin gives it.

    Args:
        path_delay: the delay in the path, decoded.
        content: the JSON description of the request.
        settings: the limits.

    Raises:
        Refused: 400, as in `read_arguments`.
    """
    requested = cast("float", read_text(SECONDS, path_delay, settings))
    wait = min(requested, MAX_SECONDS, settings.max_delay)
    return with_content(Plan(wait, cut=requested > wait), content)


def with_content(planned: Plan, content: bytes) -> Plan:
    """Return a plan of `plan_echo` with its content, the JSON description of the request."""
    return attrs.evolve(planned, body=whole(b"application/json", content))


def plan_drip(arguments: Arguments) -> Plan:
    """Plan the answer of `/drip`, whose body comes byte by byte as from httpbin.

    Args:
        arguments: the values of its parameters.
    """
    size, status = arguments.get("numbytes", 10), arguments.get("code", 200)
    # One byte a piece, up to a number beyond which no client sees a difference.
    chunks = min(size, MAX_CHUNKS) if arguments.get("duration", 2.0) else 1
    return Plan(
        wait=arguments.get("delay", 0.0),
        status=status,
        body=None if status in EMPTY else Body(b"application/octet-stream", b"", b"*", b"", size),
        chunks=chunks,
        # httpbin pauses after the last byte, too, so the pieces span one pause less than the duration.
        over=arguments.get("duration", 2.0) * (chunks - 1) / chunks,
    )


def plan_events(arguments: Arguments, kind: stream.Kind, random: Callable[[], float]) -> Plan:
    """Plan the answer of `/sse` or `/jsonl`, whose events come as from go-httpbin.

    Args:
        arguments: the values of its parameters.
        kind: the format of the events.
        random: returns a float in [0, 1), for the jitter.
    """
    count, jitter = arguments.get("count", 10), arguments.get("jitter", 0.0)
    over = arguments.get("duration", 5.0 if kind == "sse" else 0.0) if count > 1 else 0.0
    pause: float = over / max(count - 1, 1)

    def gap(piece: int) -> float:
        return pause * (1 + float(jitter) * (2 * random() - 1))

    return Plan(
        wait=arguments.get("delay", 0.0),
        body=whole(stream.TYPES[kind], b""),
        chunks=count,
        over=over,
        gap=gap if jitter else None,
        stream=Stream(kind, count, ping=True),
    )


@attrs.frozen
class Forecast:
    """The question that a request to `/predict` asks.

    Attributes:
        delay: the delay.
        timeout: the timeout of the client in seconds; None if unknown.
        cap: seconds to which a longer draw is cut.
        load: the load to simulate; None for no simulation. Forecasts with different loads are equal.
    """

    delay: Distribution
    timeout: float | None
    cap: float
    load: Load | None = attrs.field(default=None, eq=False)

    @property
    def long(self) -> bool:
        """Whether the prediction takes longer than a turn of the reactor may."""
        delay = self.delay.delay if isinstance(self.delay, Limited) else self.delay
        return isinstance(delay, Mix) and len(delay.leaves) > MAX_LEAVES

    def predict(self) -> prediction.Prediction:
        """Make the prediction in one go."""
        return prediction.predict(self.delay, self.timeout, self.cap)

    def predicting(self) -> Generator[None, None, prediction.Prediction]:
        """Make the prediction piece by piece."""
        return prediction.predicting(self.delay, self.timeout, self.cap)


def forecast(query: bytes, settings: Settings) -> Forecast:
    """Read the question that a request to `/predict` asks.

    Raises:
        Refused: 400, as in `read_arguments`.
    """
    arguments = read_query(query, PREDICT, settings)
    delay = arguments.get("delay") or Fixed(settings.default_delay)
    if isinstance(delay, Sequence):
        raise wrong("A sequence has no prediction: predict each of its steps.", "delay", str(delay), grammar.ACCEPTED)
    for name in ("servers", "queue", "seed"):
        if name in arguments and "rate" not in arguments:
            raise wrong(f"The parameter {name} needs rate.", name, str(arguments[name]), "rate beside it")
    others = {name: value for name, value in arguments.items() if name != "delay"}
    load = Load(delay, settings.max_delay, **others) if "rate" in others else None
    return Forecast(delay, arguments.get("timeout"), settings.max_delay, load)

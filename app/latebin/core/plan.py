"""From what a caller wrote in a URL to what will be done about it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast

import attrs

from latebin.core.http.body import SENTENCES, Body, sized, whole
from latebin.core.http.reply import SAFE, Headers
from latebin.core.language import draw, prediction
from latebin.core.language.chance import Chance
from latebin.core.language.distributions import Distribution, Fixed
from latebin.core.language.duration import render
from latebin.core.parameters import (
    DELAY,
    DELAYED,
    DRIP,
    MAX_CHUNKS,
    MAX_SECONDS,
    PREDICT,
    SECONDS,
    VIA,
    Answers,
    read_fields,
    read_query,
    read_text,
    split_query,
    wrong,
)
from latebin.core.settings import Settings

EMPTY: Final = frozenset({204, 205, 304})
"""The statuses whose answers have no body (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5)."""

Arguments = Mapping[str, Any]
"""What was asked for, by the names of the parameters; what was not given is not there."""


@attrs.frozen
class Plan:
    """What a request was promised, or several that ask for the same where nothing is drawn.

    Attributes:
        wait: seconds from its acceptance until it is answered.
        cut: whether the wait was drawn longer than the longest delay, and cut to it.
        status: the HTTP status code.
        body: what is sent; None for a status that has no body.
        at: `headers` if these wait as well, or `body` if they are sent at once.
        chunks: how many pieces the body is sent in.
        over: seconds from the first piece to the last.
        chunked: whether the body is framed in chunks, and not by its length.
        retry_after: seconds, for the header of that name; None for no header.
        fault: what goes wrong, one of `latebin.core.faults.KINDS`; None if nothing does.
        forwarded: whether the answer is an upstream's, and nothing is answered in its place.
        extra: headers that were asked for, each name once with its values; they replace the service's own.
        asked_ms: the wait in milliseconds, as it is told.
        headers: those of the answer that do not depend on when it is given.
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
    forwarded: bool = False
    extra: tuple[tuple[bytes, tuple[bytes, ...]], ...] = ()
    asked_ms: float = attrs.field(init=False, repr=False, eq=False)
    headers: Headers = attrs.field(init=False, repr=False, eq=False)

    @asked_ms.default
    def _told(self) -> float:
        return round(self.wait * 1000, 3)

    @headers.default
    def _described(self) -> Headers:
        retry = () if self.retry_after is None else ((b"Retry-After", b"%d" % self.retry_after),)
        return (*self._framed(), *retry)

    def _framed(self) -> Headers:
        if self.body is not None:
            length = () if self.chunked else ((b"Content-Length", b"%d" % self.body.size),)
            return (b"Content-Type", self.body.content_type), *length, *SAFE
        # A 205 says that it is empty; a 204 and a 304 are so by definition (RFC 9110, sections 8.6 and 15.3.6).
        return ((b"Content-Length", b"0"), *SAFE) if self.status == HTTPStatus.RESET_CONTENT else SAFE


@attrs.frozen
class Source:
    """Where a plan's draws come from.

    Attributes:
        turn: which request of a seed and an expression this is; asked at most once a request.
        random: a float in [0, 1), for the draws that have no seed.
    """

    turn: Callable[[int | None, str], int]
    random: Callable[[], float]


def read_arguments(
    query: bytes, path_delay: str | None, settings: Settings, fields: Iterable[tuple[str, str]] = ()
) -> Arguments:
    """Read what a request asks for, which is the same each time that it is asked.

    Args:
        query: what follows the `?` of the request target, still percent-encoded.
        path_delay: the path's last segment, decoded, where the path has one.
        settings: the default and the limits.
        fields: names and texts of the parameters in request headers.

    Raises:
        Refused: 400, with the parameter that was wrong, what was given for it, and what is accepted.
    """
    asked = read_fields([*split_query(query), *fields], DELAYED, settings)
    if path_delay is not None:
        if "delay" in asked:
            both = f"{path_delay} in the path and {asked['delay']} in the query"
            raise wrong("The delay can be given once.", "delay", both, "a delay in the path or in the query")
        asked["delay"] = read_text(DELAY, path_delay, settings)
    return asked


def prepare(asked: Arguments, settings: Settings, source: Source) -> Callable[[], Plan]:
    """Give what plans for one request after another that ask for the same: by drawing, if there is anything to draw.

    Raises:
        Refused: 400, if nothing is drawn, and what is asked for does not go together; else the planner raises it.
    """
    planned = partial(_draw_plan, asked, settings, source, upstream="upstream" in asked)
    return planned if _varies(asked) else partial(_same, planned())


def _varies(asked: Arguments) -> bool:
    """Tell whether one request may be promised something else than the next, or is counted as a turn of a seed."""
    chances = asked.get("status"), asked.get("fault")
    even = all(chance is None or chance.share in (0, 1) for chance in chances)
    return "seed" in asked or "answer" in asked or not (even and isinstance(asked.get("delay"), Fixed | None))


def _same(plan: Plan) -> Plan:
    return plan


def _draw_plan(asked: Arguments, settings: Settings, source: Source, *, upstream: bool = False) -> Plan:
    """Draw what one request is promised, of those that ask for the same.

    Args:
        asked: what it asks for, as `ask` gives it.
        settings: the default and the limits.
        source: where the draws come from.
        upstream: whether it is to be passed on, if neither a status nor a fault is drawn to be answered instead.

    Raises:
        Refused: 400, if what is asked for does not go together.
    """
    draws = _Draws(asked, settings, source)
    asked = draws.arguments
    wait = draws.delay.draw(draws.uniforms("delay", draws.delay), draws.n)
    drawn = draws.what("status", asked.get("status"))
    status = int(drawn or 200)
    fault = draws.what("fault", asked.get("fault"))
    plan = Plan(
        wait=min(wait, settings.max_delay),
        cut=wait > settings.max_delay,
        status=status,
        body=None if status in EMPTY else _body(asked),
        at=asked.get("at", "headers"),
        chunks=asked.get("chunks", 1),
        over=asked.get("over", 0.0),
        chunked=asked.get("framing") == "chunked" or fault == "badchunk",
        retry_after=asked.get("retry-after"),
        fault=fault,
        forwarded=upstream and drawn is None and fault is None,
        extra=_grouped(asked.get("header", ())),
    )
    _check_pieces(plan)
    return plan


def plan_via(fields: Iterable[tuple[str, str]], settings: Settings, source: Source) -> Plan:
    """Read what a request that is to be passed on asks for.

    Args:
        fields: names and texts of the parameters, as `read_fields` takes them.
        settings: the default and the limits.
        source: where the draws come from.

    Returns:
        A plan, forwarded if neither a status nor a fault was drawn to be answered instead.

    Raises:
        Refused: 400, as in `read`.
    """
    return _draw_plan(read_fields(fields, VIA, settings), settings, source, upstream=True)


def _body(asked: Arguments) -> Body:
    if "body" in asked:
        return whole(asked.get("content-type", b"text/plain; charset=utf-8"), asked["body"])
    return sized(asked.get("type", "html"), asked.get("size"))


def _grouped(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, tuple[bytes, ...]], ...]:
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    return tuple((name, tuple(values)) for name, values in found.items())


def _check_pieces(plan: Plan) -> None:
    most = MAX_CHUNKS if plan.body is None else max(plan.body.size, 1)
    if plan.chunks > most:
        raise wrong("These are more pieces than bytes.", "chunks", str(plan.chunks), f"at most {most}")
    if plan.over and plan.chunks == 1:
        raise wrong("One piece takes no time.", "over", render(plan.over), "chunks of at least 2 beside it")


class _Draws:
    """The draws of one request, each from uniforms of its own."""

    def __init__(self, asked: Arguments, settings: Settings, source: Source) -> None:
        self._seed = asked.get("seed")
        self._random = source.random
        if "n" in asked and self._seed is None:
            raise wrong("There is no n-th draw without a seed.", "n", str(asked["n"]), "a seed beside it")
        delay: Distribution = asked.get("delay") or Fixed(settings.default_delay)
        answers = asked.get("answer")
        expression = str(delay if answers is None else answers)
        # Without a seed nothing counts what is fixed.
        counted = self._seed is not None or answers is not None or not isinstance(delay, Fixed)
        self.n = asked.get("n") or (source.turn(self._seed, expression) if counted else 1)
        self.arguments = asked if answers is None else {**asked, **self._one_of(answers)}
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

    def what(self, purpose: str, chance: Chance | None) -> str | None:
        """Draw whether something happens; with one seed, whatever a share hits a greater share hits too."""
        if chance is None or not chance.share:
            return None
        hit = chance.share == 1 or next(self.uniforms(purpose, chance.what)) < chance.share
        return chance.what if hit else None


def plan_echo(path_delay: str, told: bytes, settings: Settings) -> Plan:
    """Promise to tell a request what it was, as httpbin's `/delay/SECONDS` does.

    Args:
        path_delay: the path's last segment, decoded.
        told: the JSON that is answered with.
        settings: the limits.

    Raises:
        Refused: 400, as in `read`.
    """
    asked = cast("float", read_text(SECONDS, path_delay, settings))
    wait = min(asked, MAX_SECONDS, settings.max_delay)
    return Plan(wait, cut=asked > wait, body=whole(b"application/json", told))


def plan_drip(query: bytes, settings: Settings) -> Plan:
    """Promise a body that comes byte by byte, as httpbin's `/drip` does.

    Raises:
        Refused: 400, as in `read`.
    """
    asked = read_query(query, DRIP, settings)
    size, status = asked.get("numbytes", 10), asked.get("code", 200)
    # A byte each, as long as that can be told from fewer and larger pieces.
    chunks = min(size, MAX_CHUNKS) if asked.get("duration", 2.0) else 1
    return Plan(
        wait=asked.get("delay", 0.0),
        status=status,
        body=None if status in EMPTY else Body(b"application/octet-stream", b"", b"*", b"", size),
        chunks=chunks,
        # httpbin pauses after the last byte too: the last has its time's share behind it, not before it.
        over=asked.get("duration", 2.0) * (chunks - 1) / chunks,
    )


def predict(query: bytes, settings: Settings) -> prediction.Prediction:
    """Read what a request to `/predict` asks for, and work it out.

    Raises:
        Refused: 400, as in `read`.
    """
    asked = read_query(query, PREDICT, settings)
    delay = asked.get("delay") or Fixed(settings.default_delay)
    return prediction.predict(delay, asked.get("timeout"), settings.max_delay)

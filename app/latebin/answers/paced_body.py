"""The body of a request, taken at a rate."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime

from latebin.answers.interfaces import BodySink, BodySource, ServedRequest
from latebin.answers.request_body import WINDOW
from latebin.answers.throttle import Throttle
from latebin.core.http.reply import Problem, Refused, too_large
from latebin.core.http.upstream_url import behind_name, is_delayed, mounted, rest
from latebin.core.language.duration import render
from latebin.core.language.size import render as render_size
from latebin.core.parameters import PREFIX, READ, read_text, split_query, wrong
from latebin.core.settings import Settings

if TYPE_CHECKING:
    from latebin.core.scenarios import Scenario

_READ = PREFIX + READ.name


class PacedBody:
    """A body between its connection and its sink, passed on evenly.

    As long as a window of bytes waits here, the connection is not read. So a client can send no faster than the rate,
    beside what the buffers of both systems take. Below a window, the connection is read, to notice a disconnect.

    Args:
        request: the request of the body.
        source: the connection that the body comes from.
        clock: the clock of the rate.
        rate: bytes in a second.
        settings: the size of the largest body, and the longest delay, which is the longest time of a body.

    Raises:
        Refused: 400, the body would take longer than that, as its client announces it.
    """

    def __init__(
        self, request: ServedRequest, source: BodySource, clock: IReactorTime, rate: int, settings: Settings
    ) -> None:
        self._request: ServedRequest | None = request
        self._source = source
        self._rate = rate
        self._settings = settings
        self._came = request.content.announced or 0
        if (problem := self._problem()) is not None:
            raise Refused(problem)
        self._came = 0
        self._held = False
        self._then: Callable[[], object] | None = None
        self._throttle: Throttle | None = Throttle(rate, clock, self._pass_on, self._drained)

    def take(self, data: bytes) -> Problem | None:
        """Take bytes of the connection, to be passed on in their time.

        Returns:
            The reason to take no more; None while the body is within its limits.
        """
        self._came += len(data)
        problem = self._problem()
        if problem is None and self._throttle is not None:
            self._throttle.take(data)
            self._balance()
        return problem

    def end(self, then: Callable[[], object]) -> None:
        """Take note that the body is whole.

        Args:
            then: a function that is called when all of it was passed on.
        """
        self._then = then
        if not self._throttle:
            self._drained()

    def stop(self) -> None:
        """Drop what waits: the request is over, or is answered without its body."""
        throttle = self._throttle
        if throttle is not None:
            throttle.stop()
            self._forget()
            self._balance()

    def hold(self) -> None:
        """Pass nothing on for a while, as the sink asks for."""
        if self._throttle is not None:
            self._throttle.pause()

    def release(self) -> None:
        """Pass on again."""
        if self._throttle is not None:
            self._throttle.resume()

    def _problem(self) -> Problem | None:
        if self._came > self._settings.max_body:
            return too_large("The body is larger than this service takes.", self._settings.max_body)
        if self._came > self._rate * self._settings.max_delay:
            longest = render(self._settings.max_delay)
            detail = f"The body would take longer than the longest delay, {longest}."
            return wrong(detail, READ.name, render_size(self._rate), "a higher rate").problem
        return None

    def _pass_on(self, piece: bytes) -> None:
        if self._request is None:
            return
        content: BodySink | None = self._request.content
        if content is None:
            # The request is answered already, and its sink is gone.
            self.stop()
        else:
            content.write(piece)
            self._balance()

    def _balance(self) -> None:
        full = self._throttle is not None and len(self._throttle) >= WINDOW
        if full != self._held:
            self._held = full
            (self._source.hold if full else self._source.release)()

    def _drained(self) -> None:
        then = self._then
        if then is not None:
            self._forget()
            then()

    def _forget(self) -> None:
        # Each of these refers to this object, the request as long as its body is taken: they would be cycles.
        self._then = self._throttle = self._request = None


def read_rate(
    request: ServedRequest,
    method: bytes,
    target: bytes,
    scenario: "Scenario | None",
    settings: Settings,
    *,
    whole: bool,
) -> int | None:
    """Return the rate that a request asks for; None without a valid one.

    The request is refused for an invalid one when its body has come, as for any other parameter.

    Args:
        request: the request, of which the headers are there.
        method: its method.
        target: its target.
        scenario: the scenario that answers it; None without one.
        settings: the limits.
        whole: whether all of the path is the client's own.
    """
    texts = [text for name, text in _own(request, target, scenario, whole=whole) if name == READ.name]
    if texts:
        try:
            rate: int = read_text(READ, texts[0], settings)
        except Refused:
            return None
        return rate if len(texts) == 1 else None
    if scenario is None:
        return None

    def values(name: str) -> list[str]:
        given = request.requestHeaders.getRawHeaders(name.encode("latin-1"), [])
        return [value.decode("latin-1") for value in given]

    before = 0 if whole else mounted(target, b"as")
    rule = scenario.rule(lambda: (method.decode("latin-1"), rest(target, before), values))
    return rule.arguments.get(READ.name)


def _own(
    request: ServedRequest, target: bytes, scenario: "Scenario | None", *, whole: bool
) -> Iterable[tuple[str, str]]:
    """Yield the parameters of the request itself.

    They are in headers, behind a name, and in the query of `/delayed`.
    """
    for value in request.requestHeaders.getRawHeaders(_READ.encode("ascii"), []):
        yield READ.name, value.decode("latin-1")
    if whole:
        return
    yield from behind_name(target)
    if scenario is None and is_delayed(target):
        yield from split_query(target.partition(b"?")[2])

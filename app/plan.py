"""From what a caller wrote in a URL to what will be done about it."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote_plus

import attrs

from app import duration
from app.reply import Problem, Refused
from app.settings import Settings

PARAMETERS: Final = ("delay",)
"""The names that a query may have."""


@attrs.frozen
class Plan:
    """What one request was promised.

    Attributes:
        started: when the request was read, in seconds of the service's clock.
        wait: seconds from then until it is answered.
    """

    started: float
    wait: float

    @property
    def due(self) -> float:
        """When the answer is to leave, in seconds of the service's clock."""
        return self.started + self.wait


def read(query: bytes, path_delay: str | None, settings: Settings, now: float) -> Plan:
    """Read a request's query and what its path says of the delay.

    Nothing is ignored: a name that is not known, a name that comes twice, and a delay in both places are refused.

    Args:
        query: what follows the `?` of the request target, still percent-encoded.
        path_delay: the path's last segment, decoded, where the path has one.
        settings: the default and the limit of a delay.
        now: seconds of the service's clock.

    Raises:
        Refused: 400, with the parameter that was wrong, what was given for it, and what is accepted.
    """
    given = _given(query)
    if path_delay is not None:
        _only_once(given, path_delay)
    delay = given.get("delay", path_delay)
    return Plan(now, settings.default_delay if delay is None else _delay(delay, settings))


def _given(query: bytes) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in _fields(query):
        if name not in PARAMETERS:
            raise _wrong("There is no such parameter.", name, value, f"the parameters {', '.join(PARAMETERS)}")
        if name in given:
            raise _wrong("A parameter can be given once.", name, value, "one value")
        given[name] = value
    return given


def _fields(query: bytes) -> Iterator[tuple[str, str]]:
    # Latin-1 and backslashes keep any byte readable in the refusal, instead of failing on it.
    for field in query.decode("latin-1").split("&"):
        if field:
            name, _, value = field.partition("=")
            yield unquote_plus(name, errors="backslashreplace"), unquote_plus(value, errors="backslashreplace")


def _only_once(given: dict[str, str], path_delay: str) -> None:
    if "delay" in given:
        both = f"{path_delay} in the path and {given['delay']} in the query"
        raise _wrong("The delay can be given once.", "delay", both, "a delay in the path or in the query")


def _delay(text: str, settings: Settings) -> float:
    try:
        wait = duration.parse(text)
    except ValueError:
        raise _wrong("This is not a delay.", "delay", text, duration.ACCEPTED) from None
    if wait > settings.max_delay:
        raise _wrong("The delay is too long.", "delay", text, f"at most {duration.render(settings.max_delay)}")
    return wait


def _wrong(detail: str, parameter: str, given: str, accepted: str) -> Refused:
    return Refused(Problem(400, detail, parameter=parameter, given=given, accepted=accepted))

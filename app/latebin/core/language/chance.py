"""A value with the share of requests that it applies to, such as `503:20%`."""

import attrs

from latebin.core.language import share


@attrs.frozen
class Chance:
    """An event and its probability.

    Attributes:
        what: the name of the event, such as a status or a fault.
        share: the share of requests that have it, from 0 to 1.
    """

    what: str
    share: float = 1.0

    def __str__(self) -> str:
        return self.what if self.share == 1 or self == NOTHING else f"{self.what}:{share.render(self.share)}"


NOTHING = Chance("none", 0.0)
"""No event, as a step of a sequence says it."""


def parse(text: str) -> Chance:
    """Read the name of an event and, behind a colon, its share.

    Without a colon the event applies to every request.

    Raises:
        ValueError: the text behind the colon is not a share.
    """
    what, colon, part = text.partition(":")
    return Chance(what, share.parse(part) if colon else 1.0)

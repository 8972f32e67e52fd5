"""A choice with a share: `503:20%`, or what happens always."""

import attrs

from latebin.core.language import share


@attrs.frozen
class Chance:
    """Something that happens to a share of the requests.

    Attributes:
        what: what happens.
        share: from 0 to 1.
    """

    what: str
    share: float = 1.0


def parse(text: str) -> Chance:
    """Read what happens and, behind a colon, to which share of the requests.

    Raises:
        ValueError: what follows the colon is not a share.
    """
    what, colon, part = text.partition(":")
    return Chance(what, share.parse(part) if colon else 1.0)

"""Whole answers with shares: `95%:(delay=50ms),5%:(delay=0,status=503,retry-after=1)`.

    answers = variant, { ",", variant } ;
    variant = share, ":", "(", [ field, { ",", field } ], ")" ;
    field   = name, "=", value ;

This is EBNF (ISO/IEC 14977). `share.parse` defines a share. A value reaches to the next comma or parenthesis outside
its own parentheses, so `delay=lognormal(median=80ms,p99=1.2s)` is one field.
"""

from typing import Final

import attrs

from latebin.core.language import share
from latebin.core.language.sequence import parts

ACCEPTED: Final = "answers with shares such as 95%:(delay=50ms),5%:(delay=0,status=503), which add up to 100%"

MAX_LENGTH: Final = 4000
"""The longest text, in characters."""

MAX_VARIANTS: Final = 64
"""The most answers in one text."""

_ROUNDING: Final = 1e-5
"""The greatest distance of the sum of shares from 1: three times 33.3333% is accepted."""


@attrs.frozen
class Variant:
    """One of several answers.

    Attributes:
        share: the share of requests that get this answer, from 0 to 1.
        fields: names and texts of its parameters, in order.
    """

    share: float
    fields: tuple[tuple[str, str], ...]


def parse(text: str) -> tuple[Variant, ...]:
    """Read answers with shares.

    Raises:
        ValueError: the text does not follow the grammar above, exceeds a bound, or its shares do not add up to 1.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"longer than {MAX_LENGTH} characters")
    variants = tuple(map(_variant, parts(text)))
    if len(variants) > MAX_VARIANTS:
        raise ValueError(f"more than {MAX_VARIANTS} answers")
    total = sum(variant.share for variant in variants)
    if abs(total - 1) > _ROUNDING:
        raise ValueError(f"the shares add up to {share.render(round(total, 9))} instead of 100%")
    return variants


def render(variants: tuple[Variant, ...]) -> str:
    """Write answers with shares so that `parse` reads back equal ones."""
    return ",".join(
        f"{share.render(each.share)}:({','.join('='.join(field) for field in each.fields)})" for each in variants
    )


def _variant(text: str) -> Variant:
    part, colon, rest = text.partition(":")
    if not colon:
        raise ValueError(f"{text!r} has no share: expected {ACCEPTED}")
    body = rest.strip()
    if not (body.startswith("(") and body.endswith(")")):
        raise ValueError(f"{rest!r} is not in parentheses: expected {ACCEPTED}")
    return Variant(share.parse(part.strip()), tuple(map(_field, parts(body[1:-1]))) if body[1:-1].strip() else ())


def _field(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not NAME=VALUE")
    return name.strip(), value.strip()

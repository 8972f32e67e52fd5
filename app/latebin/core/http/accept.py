"""The choice between two formats of a page by `Accept` (RFC 9110, section 12.5.1)."""

import re
from collections.abc import Collection
from typing import Final

OPENMETRICS: Final = "application/openmetrics-text"

NDJSON: Final = "application/x-ndjson"

_VERSIONS: Final = {"", "0.0.1", "1.0.0"}
"""The versions of OpenMetrics that a page of version 1.0.0 satisfies."""

_WEIGHT: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


def wants_openmetrics(accept: str) -> bool:
    """Return whether a client names OpenMetrics, and does not prefer plain text.

    A wildcard does not name it, so that browsers and curl get plain text.

    Args:
        accept: the value of `Accept`, or several of them with commas between.
    """
    return _wants(accept, OPENMETRICS, "text/plain", _VERSIONS)


def wants_ndjson(accept: str) -> bool:
    """Return whether a client names NDJSON, and does not prefer JSON.

    A wildcard does not name it.

    Args:
        accept: the value of `Accept`, or several of them with commas between.
    """
    return _wants(accept, NDJSON, "application/json", {""})


def _wants(accept: str, wanted: str, other: str, versions: Collection[str]) -> bool:
    best = second = 0.0
    for part in accept.lower().split(","):
        media_type, *rest = (each.strip() for each in part.split(";"))
        pairs = (each.partition("=") for each in rest)
        parameters = {name.strip(): value.strip().strip('"') for name, _, value in pairs}
        weight = parameters.get("q", "1")
        quality = float(weight) if _WEIGHT.fullmatch(weight) else 0.0
        if media_type == wanted and parameters.get("version", "") in versions:
            best = max(best, quality)
        elif media_type == other:
            second = max(second, quality)
    return best > 0 and best >= second

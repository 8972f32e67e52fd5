"""A header that a request adds to its answer, and the names it cannot add."""

import re
from typing import Final

ACCEPTED: Final = 'Name:Value in visible ASCII, such as ETag:"1" or Location:/delayed/1s'

MOST: Final = 16
"""The most headers that an answer can be given."""

MAX_LENGTH: Final = 4096
"""The longest header, in characters, its name included."""

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A token (RFC 9110, section 5.6.2)."""

_VALUE: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")

_KEPT: Final = {
    **dict.fromkeys(
        ("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
        "it is for one hop alone (RFC 9110, section 7.6.1)",
    ),
    **dict.fromkeys(("content-length", "content-range"), "it frames the body"),
    "content-type": "the parameter type says it, and content-type in a scenario",
    "retry-after": "the parameter retry-after says it",
    **dict.fromkeys(
        ("date", "server", "server-timing", "x-request-id", "x-content-type-options", "latebin-turn"),
        "the service says it by itself",
    ),
    **dict.fromkeys(
        ("alt-svc", "clear-site-data", "nel", "report-to", "service-worker-allowed", "strict-transport-security"),
        "a browser would keep it beyond this answer",
    ),
}
"""The headers that no caller can set, in lower case, each with the reason."""


def parse(text: str) -> tuple[bytes, bytes]:
    """Read a header.

    Returns:
        The name as written, and the value without the spaces around it.

    Raises:
        ValueError: text is not a header, or has a name that no caller can set.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"longer than {MAX_LENGTH} characters")
    name, colon, value = text.partition(":")
    value = value.strip(" \t")
    if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise ValueError("not a name, a colon and a value in visible ASCII")
    lower = name.lower()
    if lower.startswith("proxy-"):
        raise ValueError("no caller can set it: it is for one hop alone (RFC 9110, section 7.6.1)")
    if lower.startswith("latebin-"):
        raise ValueError("no caller can set it: the service says it by itself")
    if lower.startswith("access-control-") or lower == "timing-allow-origin":
        raise ValueError("no caller can set it: the operator decides which origins may read answers")
    if lower in _KEPT:
        raise ValueError(f"no caller can set it: {_KEPT[lower]}")
    return name.encode("ascii"), value.encode("ascii")

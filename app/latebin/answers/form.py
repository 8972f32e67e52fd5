"""Bodies that are forms, read as httpbin reads them, a slice at a time."""

from collections.abc import Generator
from typing import Final

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header

from latebin.answers.form_fields import MAX_FIELD, MAX_PARTS, grouped, urlencoded
from latebin.core.http.echo import Content
from latebin.core.http.reply import Problem, Refused

_URLENCODED: Final = "application/x-www-form-urlencoded"
_MULTIPART: Final = "multipart/form-data"

_TOO_LARGE: Final = Problem(
    413,
    "This form is too large.",
    parameter="body",
    accepted=f"at most {MAX_PARTS} fields and files, and {MAX_FIELD} bytes in a field",
)


def reading(content_type: str, body: bytes) -> Generator[None, None, Content]:
    """Read a body as its Content-Type says: as a form, or as mere bytes.

    Args:
        content_type: the header; empty for a request without it.
        body: the whole body.

    Yields:
        After each piece of the work.

    Returns:
        The content, when all is read.

    Raises:
        Refused: 400 for a form that is malformed, 413 for one with too many parts.
    """
    kind, options = parse_options_header(content_type)
    mimetype = kind.lower()
    # Without a boundary there is nothing to look for: httpbin gives such a body back as it is.
    if not body or mimetype not in (_URLENCODED, _MULTIPART) or (mimetype == _MULTIPART and "boundary" not in options):
        return Content(body)
    try:
        if mimetype == _URLENCODED:
            return Content(b"", grouped((yield from urlencoded(body))))
        from latebin.answers.multipart import parts  # noqa: PLC0415  # for the first of these forms

        return (yield from parts(body, options["boundary"].encode("ascii")))
    except RequestEntityTooLarge:
        raise Refused(_TOO_LARGE) from None
    except ValueError:
        malformed = Problem(
            400, "The body is not the form that it is said to be.", "body", content_type, "a well-formed form"
        )
        raise Refused(malformed) from None

"""Bodies that are forms, read by Werkzeug's parser: httpbin's own, so that a form means here what it means there."""

from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Final

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header

from latebin.core.http.echo import Content, Upload
from latebin.core.http.reply import Problem, Refused

if TYPE_CHECKING:
    from werkzeug.formparser import FormDataParser

MAX_PARTS: Final = 1000
"""Fields and files in a form: more of them keep the parser busy for longer than others can wait."""

MAX_FIELD: Final = 500_000
"""Bytes of a field in multipart/form-data that is no file."""

_URLENCODED: Final = "application/x-www-form-urlencoded"
_MULTIPART: Final = "multipart/form-data"

_TOO_LARGE: Final = Problem(
    413,
    "This form is too large.",
    parameter="body",
    accepted=f"at most {MAX_PARTS} fields and files, and {MAX_FIELD} bytes in a field",
)


def understand(content_type: str, body: bytes) -> Content:
    """Take a body for what its Content-Type says: a form, or mere bytes.

    Args:
        content_type: the header; empty where there is none.
        body: the whole body.

    Raises:
        Refused: 400 for a form that is malformed, 413 for one with too many parts.
    """
    kind, options = parse_options_header(content_type)
    mimetype = kind.lower()
    # Without a boundary there is nothing to look for: httpbin gives such a body back as it is.
    if not body or mimetype not in (_URLENCODED, _MULTIPART) or (mimetype == _MULTIPART and "boundary" not in options):
        return Content(body)
    try:
        return _form(body, mimetype, options)
    except RequestEntityTooLarge:
        raise Refused(_TOO_LARGE) from None
    except ValueError:
        malformed = Problem(
            400, "The body is not the form that it is said to be.", "body", content_type, "a well-formed form"
        )
        raise Refused(malformed) from None


def _in_memory(
    total_content_length: int | None, content_type: str | None, filename: str | None, content_length: int | None = None
) -> BytesIO:
    """Give a file its place: where the whole body was before, whose size is bounded already."""
    return BytesIO()


@cache
def _parser() -> "FormDataParser":
    from werkzeug.formparser import FormDataParser  # noqa: PLC0415  # for the first form

    return FormDataParser(_in_memory, MAX_FIELD, max_form_parts=MAX_PARTS, silent=False)


def _form(body: bytes, mimetype: str, options: dict[str, str]) -> Content:
    # Werkzeug bounds the parts of multipart/form-data only.
    if mimetype == _URLENCODED and body.count(b"&") >= MAX_PARTS:
        raise RequestEntityTooLarge
    _, fields, files = _parser().parse(BytesIO(body), mimetype, len(body), options)
    if None in fields or None in files:
        raise ValueError("a part has no name")
    uploads = {name: Upload(file.content_type or "", file.read()) for name, file in files.items()}
    return Content(b"", tuple(fields.items(multi=True)), uploads)

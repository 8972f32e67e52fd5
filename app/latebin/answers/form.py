"""Bodies that are forms, read by Werkzeug's parser as httpbin reads them."""

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
"""Fields and files in a form: a larger number keeps the parser busy for longer than other requests can wait."""

MAX_FIELD: Final = 500_000
"""Bytes of a field in multipart/form-data, files excepted."""

_URLENCODED: Final = "application/x-www-form-urlencoded"
_MULTIPART: Final = "multipart/form-data"

_TOO_LARGE: Final = Problem(
    413,
    "This form is too large.",
    parameter="body",
    accepted=f"at most {MAX_PARTS} fields and files, and {MAX_FIELD} bytes in a field",
)


def understand(content_type: str, body: bytes) -> Content:
    """Read a body as its Content-Type says: as a form, or as mere bytes.

    Args:
        content_type: the header; empty for a request without it.
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
    """Return a new file in memory for an uploaded file.

    The whole body was in memory before, and its size is bounded already.
    """
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

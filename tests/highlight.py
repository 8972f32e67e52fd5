"""The two styles as highlighted HTML, for the page at `/compare`.

    python -m tests.highlight

It writes files into `site/static`, for the page has no time to make them: Pygments takes a tenth of a second.
"""

from html import escape
from pathlib import Path

from pygments.formatters.html import HtmlFormatter
from pygments.lexers.python import PythonLexer
from pygments.token import STANDARD_TYPES

from latebin.site.compare_page import SIDES

PACKAGE = Path(__file__).parent.parent / "app" / "latebin"

STATIC = PACKAGE / "site" / "static"

COLOURS = {"light": "xcode", "dark": "lightbulb"}
"""The Pygments style of the source, for each colour scheme.

On the background of the page, every colour has a contrast of at least 4.5 (WCAG 2.2, success criterion 1.4.3).
"""


def highlighted() -> dict[str, str]:
    """Make each file of `static` that depends on the styles, by its name."""
    sources = {side.highlighted: _code((PACKAGE / side.source).read_text("utf-8")) for side in SIDES}
    return sources | {"source.css": "".join(map(_rules, COLOURS))}


def _code(source: str) -> str:
    return "".join(
        f'<span class="{name}">{escape(text, quote=False)}</span>' if name else escape(text, quote=False)
        for name, text in ((STANDARD_TYPES.get(kind), text) for kind, text in PythonLexer().get_tokens(source))
    )


def _rules(scheme: str) -> str:
    rules = "\n".join(HtmlFormatter(style=COLOURS[scheme]).get_token_style_defs(".source"))
    return f"@media (prefers-color-scheme: {scheme}) {{\n{rules}\n}}\n"


if __name__ == "__main__":
    for name, text in highlighted().items():
        (STATIC / name).write_text(text, "utf-8")

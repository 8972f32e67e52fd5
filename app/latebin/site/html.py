"""HTML pages, rendered from templates."""

from twisted.web.template import Element, flattenString

from latebin.core.http.reply import Reply, page


def html_page(element: Element, policy: bytes) -> Reply:
    """Render a template that waits for nothing.

    Args:
        element: the template, with a renderer for each of its directives.
        policy: the Content-Security-Policy of the page.
    """
    bodies: list[bytes] = []
    flattenString(None, element).addCallback(bodies.append)
    [body] = bodies
    return page(b"text/html; charset=utf-8", b"<!DOCTYPE html>\n" + body, (b"Content-Security-Policy", policy))

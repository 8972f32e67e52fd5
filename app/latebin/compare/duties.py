"""The duties of an HTTP answer, and the part of each style in them."""

from typing import Final, Literal

import attrs


@attrs.frozen
class Example:
    """A definition in a style file, and a name in it that shows the duty."""

    definition: str
    word: str


@attrs.frozen
class Side:
    """One style's part in a duty.

    Attributes:
        by: `library` if the library fulfils the duty, at most on a declaration; `hand` if the author's code does.
        how: the means, in a few words.
        example: one place in the style file.
    """

    by: Literal["library", "hand"]
    how: str
    example: Example


@attrs.frozen
class Duty:
    """A part of the work for an HTTP answer, in both styles."""

    name: str
    klein: Side
    resource: Side


DUTIES: Final = (
    Duty(
        "routing",
        Side(
            "library",
            "@router.route has the path, and Klein calls the function",
            Example("DelayedKlein.delayed", "route"),
        ),
        Side(
            "hand",
            "getChild returns the resource of one segment of the path; putChild builds the rest of the tree",
            Example("DelayedResource.getChild", "DelayedResource"),
        ),
    ),
    Duty(
        "method dispatch",
        Side(
            "library",
            "the route has methods=, and Klein raises MethodNotAllowed for any other method",
            Example("DelayedKlein.delayed", "methods"),
        ),
        Side(
            "library",
            "Twisted calls render_GET, or the like for another method, or raises UnsupportedMethod",
            Example("DelayedResource.render_GET", "render_GET"),
        ),
    ),
    Duty(
        "waiting",
        Side(
            "hand",
            "deferLater returns a Deferred, and the route returns that",
            Example("DelayedKlein._wait", "deferLater"),
        ),
        Side(
            "hand",
            "deferLater returns a Deferred, and render_GET returns NOT_DONE_YET",
            Example("RawResource._wait", "NOT_DONE_YET"),
        ),
    ),
    Duty(
        "error mapping",
        Side(
            "library",
            "@router.handle_errors has the exception, and Klein calls the function",
            Example("DelayedKlein.refused", "handle_errors"),
        ),
        Side(
            "hand",
            "one errback handles each kind of failure; render passes it exceptions from before the Deferred",
            Example("RawResource._failed", "isinstance"),
        ),
    ),
    Duty(
        "cancellation on disconnect",
        Side(
            "library", "Klein cancels the Deferred that the route returned", Example("DelayedKlein._wait", "Deferred")
        ),
        Side(
            "hand",
            "an errback of notifyFinish cancels the Deferred, and another one traps the CancelledError",
            Example("RawResource._wait", "notifyFinish"),
        ),
    ),
    Duty(
        "finishing",
        Side(
            "library",
            "Klein writes the return value of a route, or the result of its Deferred, and finishes",
            Example("DelayedKlein._delayed_render", "Deferred"),
        ),
        Side("hand", "the code of every answer calls write and finish", Example("RawResource._finish", "finish")),
    ),
    Duty(
        "framing",
        Side(
            "hand",
            "the reply sets Content-Length; without it Klein sends an immediate return value in chunks",
            Example("DelayedKlein.refused", "start"),
        ),
        Side(
            "hand",
            "the reply sets Content-Length; without it Twisted sends data written before finish in chunks",
            Example("RawResource._send", "start"),
        ),
    ),
)
"""All duties; a test finds each example in its style file."""

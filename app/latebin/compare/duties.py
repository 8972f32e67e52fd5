"""The duties that an HTTP answer brings, and which of them each style leaves to its author."""

from typing import Final, Literal

import attrs


@attrs.frozen
class Tie:
    """The place where a duty is done: a definition of the style file, and a word in it that shows the duty."""

    definition: str
    word: str


@attrs.frozen
class Side:
    """How one style does a duty.

    Attributes:
        by: `library` if the library does it once it is asked to, `hand` if the author does it.
        how: the way, in a few words.
        example: one place where it is done.
    """

    by: Literal["library", "hand"]
    how: str
    example: Tie


@attrs.frozen
class Duty:
    """A part of the work that every HTTP answer takes, in both styles."""

    name: str
    klein: Side
    resource: Side


DUTIES: Final = (
    Duty(
        "routing",
        Side(
            "library",
            "@router.route names the path, and Klein finds the function",
            Tie("DelayedKlein.delayed", "route"),
        ),
        Side(
            "hand",
            "getChild finds the resource below, one segment at a time; putChild builds a tree of the rest",
            Tie("DelayedResource.getChild", "DelayedResource"),
        ),
    ),
    Duty(
        "method dispatch",
        Side(
            "library",
            "methods= stands in the route; Klein raises MethodNotAllowed for any other",
            Tie("DelayedKlein.delayed", "methods"),
        ),
        Side(
            "library",
            "Twisted calls the method's own render_GET; it raises UnsupportedMethod where there is none",
            Tie("DelayedResource.render_GET", "render_GET"),
        ),
    ),
    Duty(
        "waiting",
        Side("hand", "deferLater makes a Deferred, and the route returns it", Tie("DelayedKlein._wait", "deferLater")),
        Side(
            "hand",
            "deferLater makes a Deferred, and NOT_DONE_YET says that there is one",
            Tie("LateResource._wait", "NOT_DONE_YET"),
        ),
    ),
    Duty(
        "error mapping",
        Side(
            "library",
            "@router.handle_errors names the exception, and Klein finds the function",
            Tie("DelayedKlein.refused", "handle_errors"),
        ),
        Side(
            "hand",
            "one errback tells failures apart; render sends it the exceptions raised before there is a Deferred",
            Tie("RawResource._failed", "isinstance"),
        ),
    ),
    Duty(
        "cancellation on disconnect",
        Side("library", "Klein cancels the Deferred that the route returned", Tie("DelayedKlein._wait", "Deferred")),
        Side(
            "hand",
            "notifyFinish fails when the client leaves, an errback cancels, and the CancelledError is trapped",
            Tie("LateResource._wait", "notifyFinish"),
        ),
    ),
    Duty(
        "finishing",
        Side(
            "library",
            "Klein writes what a route returns, or the result of its Deferred, and finishes",
            Tie("DelayedKlein._delayed_render", "Deferred"),
        ),
        Side("hand", "every way to an answer ends in write and finish", Tie("RawResource._finish", "finish")),
    ),
    Duty(
        "framing",
        Side(
            "hand",
            "the reply sets Content-Length: Klein would send what a route returns at once in chunks",
            Tie("DelayedKlein.refused", "start"),
        ),
        Side(
            "hand",
            "the reply sets Content-Length: Twisted would send what is written before finish in chunks",
            Tie("RawResource._send", "start"),
        ),
    ),
)
"""The work on each side, with one example in each style file; a test finds every example in the source."""

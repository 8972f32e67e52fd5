"""What each style asks of its author, read from the source itself."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from itertools import chain
from typing import Final, Literal

import attrs

_NO_CODE: Final = frozenset(
    {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
)

_BRANCHES: Final = (ast.If, ast.IfExp, ast.For, ast.While, ast.ExceptHandler, ast.match_case)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@attrs.frozen
class Definition:
    """A function or method of a style file.

    Attributes:
        name: as it is written, behind its class and a dot if it has one.
        common: a name that does not depend on the style, by which it finds its twin.
        text: its source, decorators included, without the indentation of its class.
        lines: how many of its lines have code: docstrings, comments and empty lines aside.
        branches: how many ways there are through it beyond the first.
        words: every name in it.
    """

    name: str
    common: str
    text: str
    lines: int
    branches: int
    words: frozenset[str] = attrs.field(repr=False)


@attrs.frozen
class Tie:
    """Where a duty is done: a definition, and a word in it by which one sees it."""

    definition: str
    word: str


@attrs.frozen
class Side:
    """How one style does a duty.

    Attributes:
        by: whether the library does it, once it is told to, or the author does it by hand.
        how: in a few words.
        ties: where.
    """

    by: Literal["library", "hand"]
    how: str
    ties: tuple[Tie, ...]


@attrs.frozen
class Duty:
    """Something that has to be done for an HTTP answer, whoever does it."""

    name: str
    klein: Side
    resource: Side


def _ties(word: str, *definitions: str) -> tuple[Tie, ...]:
    return tuple(Tie(definition, word) for definition in definitions)


DUTIES: Final = (
    Duty(
        "routing",
        Side(
            "library",
            "@router.route says the path, and Klein finds the function",
            (
                *_ties(
                    "route",
                    "DelayedKlein.delayed",
                    "DelayedKlein.delayed_options",
                    "DelayedKlein.delay",
                    "DelayedKlein.delay_options",
                    "DelayedKlein.drip",
                    "DelayedKlein.drip_options",
                    "DelayedKlein.via",
                    "DelayedKlein.predict",
                    "DelayedKlein.predict_options",
                ),
                *_ties("NotFound", "DelayedKlein.not_found"),
            ),
        ),
        Side(
            "hand",
            "getChild finds what is below, one segment at a time; a tree is built of the rest",
            (
                *_ties("NotFoundResource", "RawResource.getChild"),
                *_ties("DelayedResource", "DelayedResource.getChild"),
                *_ties("DelayResource", "SecondsResource.getChild"),
                *_ties("ViaResource", "UpstreamsResource.getChild"),
                *_ties("delay", "DelayedResource.__init__"),
                *_ties("seconds", "DelayResource.__init__"),
                *_ties("name", "ViaResource.__init__"),
                *_ties(
                    "service",
                    "LateResource.__init__",
                    "SecondsResource.__init__",
                    "UpstreamsResource.__init__",
                    "PredictResource.__init__",
                ),
                *_ties("_notFound", "NotFoundResource.render"),
                *_ties("putChild", "tree"),
            ),
        ),
    ),
    Duty(
        "method dispatch",
        Side(
            "library",
            "methods= stands in the route; what is not there is a MethodNotAllowed",
            (
                *_ties(
                    "methods",
                    "DelayedKlein.delayed",
                    "DelayedKlein.delayed_options",
                    "DelayedKlein.delay",
                    "DelayedKlein.delay_options",
                    "DelayedKlein.drip",
                    "DelayedKlein.drip_options",
                    "DelayedKlein.via",
                    "DelayedKlein.predict",
                    "DelayedKlein.predict_options",
                ),
                *_ties("MethodNotAllowed", "DelayedKlein.not_allowed"),
            ),
        ),
        Side(
            "library",
            "a method calls the definition that is named after it; what has none is an UnsupportedMethod",
            (
                *_ties(
                    "render_GET",
                    "DelayedResource.render_GET",
                    "DelayResource.render_GET",
                    "DripResource.render_GET",
                    "ViaResource.render_GET",
                    "PredictResource.render_GET",
                ),
                *_ties(
                    "render_OPTIONS",
                    "DelayedResource.render_OPTIONS",
                    "DelayResource.render_OPTIONS",
                    "DripResource.render_OPTIONS",
                    "PredictResource.render_OPTIONS",
                ),
                *_ties("UnsupportedMethod", "RawResource._notAllowed"),
            ),
        ),
    ),
    Duty(
        "waiting",
        Side(
            "hand",
            "deferLater makes a Deferred, and the route returns it",
            (
                *_ties("deferLater", "DelayedKlein._wait"),
                *_ties("_wait", "DelayedKlein.delayed", "DelayedKlein.delay", "DelayedKlein.drip", "DelayedKlein.via"),
                *_ties("answer", "DelayedKlein._delayed_render"),
                *_ties("forward", "DelayedKlein._via_render"),
            ),
        ),
        Side(
            "hand",
            "deferLater makes a Deferred, and NOT_DONE_YET says that there is one",
            (
                *_ties("deferLater", "LateResource._wait"),
                *_ties("NOT_DONE_YET", "LateResource._wait"),
                *_ties(
                    "_wait",
                    "DelayedResource.render_GET",
                    "DelayResource.render_GET",
                    "DripResource.render_GET",
                    "ViaResource.render_GET",
                ),
                *_ties("answer", "LateResource._delayedRender"),
                *_ties("forward", "ViaResource._viaRender"),
            ),
        ),
    ),
    Duty(
        "error mapping",
        Side(
            "library",
            "@router.handle_errors says the exception, and Klein finds the function",
            _ties(
                "handle_errors",
                "DelayedKlein.refused",
                "DelayedKlein.not_found",
                "DelayedKlein.not_allowed",
                "DelayedKlein.broken",
            ),
        ),
        Side(
            "hand",
            "one errback tells failures apart, and what is raised before there is a Deferred is led there too",
            (
                *_ties("fail", "RawResource.render"),
                *_ties("isinstance", "RawResource._failed"),
                *_ties("problem", "RawResource._refused"),
                *_ties("NOT_FOUND", "RawResource._notFound"),
                *_ties("not_allowed", "RawResource._notAllowed"),
                *_ties("apologize", "RawResource._broken"),
            ),
        ),
    ),
    Duty(
        "cancellation on disconnect",
        Side(
            "library",
            "Klein cancels the Deferred that the route returned",
            _ties("Deferred", "DelayedKlein._wait"),
        ),
        Side(
            "hand",
            "notifyFinish tells that the client has left, an errback cancels, and the CancelledError is trapped",
            (
                *_ties("notifyFinish", "LateResource._wait"),
                *_ties("cancel", "LateResource._wait"),
                *_ties("CancelledError", "RawResource._failed"),
            ),
        ),
    ),
    Duty(
        "finishing",
        Side(
            "library",
            "Klein writes what a route returns, or what its Deferred fires with, and finishes",
            (
                *_ties("Deferred", "DelayedKlein._wait", "DelayedKlein._delayed_render", "DelayedKlein._via_render"),
                *_ties(
                    "bytes",
                    "DelayedKlein.delayed_options",
                    "DelayedKlein.delay_options",
                    "DelayedKlein.drip_options",
                    "DelayedKlein.predict",
                    "DelayedKlein.predict_options",
                ),
            ),
        ),
        Side(
            "hand",
            "every way to an answer ends in write and finish",
            (
                *_ties("finish", "RawResource._finish"),
                *_ties(
                    "_finish",
                    "RawResource._send",
                    "RawResource._broken",
                    "LateResource._delayedRender",
                    "ViaResource._viaRender",
                ),
                *_ties(
                    "_send",
                    "DelayedResource.render_OPTIONS",
                    "DelayResource.render_OPTIONS",
                    "DripResource.render_OPTIONS",
                    "PredictResource.render_GET",
                    "PredictResource.render_OPTIONS",
                ),
            ),
        ),
    ),
    Duty(
        "framing",
        Side(
            "hand",
            "the reply sets Content-Length: Klein would send what a route returns at once in chunks",
            _ties(
                "start",
                "DelayedKlein.refused",
                "DelayedKlein.not_found",
                "DelayedKlein.not_allowed",
                "DelayedKlein.delayed_options",
                "DelayedKlein.delay_options",
                "DelayedKlein.drip_options",
                "DelayedKlein.predict",
                "DelayedKlein.predict_options",
            ),
        ),
        Side(
            "hand",
            "the reply sets Content-Length: Twisted would send what is written before finish in chunks",
            _ties("start", "RawResource._send"),
        ),
    ),
)
"""Who does what in the two style files; a test holds every tie to the source, and every definition to a tie."""


def definitions(source: str) -> tuple[Definition, ...]:
    """Read what a style file defines.

    Args:
        source: of the whole file.

    Returns:
        Its functions and methods, in their order.
    """
    module = ast.parse(source)
    coded = _coded(source, module)
    return tuple(_definition(source.splitlines(), coded, owner, node) for owner, node in _functions(module))


def code_lines(source: str) -> int:
    """Count the lines of a file that have code: docstrings, comments and empty lines aside."""
    return len(_coded(source, ast.parse(source)))


def common_name(owner: str, name: str) -> str:
    """Name a definition so that its name does not depend on the style.

    Args:
        owner: its class, if it has one.
        name: its own name.
    """
    resource = owner.removesuffix("Resource")
    name = {"render_GET": resource, "render_OPTIONS": f"{resource}_options"}.get(name, name)
    return re.sub("([A-Z])", r"_\1", name).lower().strip("_")


def pairs(
    klein: tuple[Definition, ...], resource: tuple[Definition, ...]
) -> tuple[tuple[Definition | None, Definition | None], ...]:
    """Put the definitions of both styles side by side.

    Returns:
        Twins, in the order of the file that has more; None where one style has no twin.
    """
    twins = {each.common: each for each in klein}
    beside = tuple((twins.pop(each.common, None), each) for each in resource)
    return (*beside, *((alone, None) for alone in twins.values()))


def _functions(module: ast.Module) -> Iterator[tuple[str, Function]]:
    for node in module.body:
        if isinstance(node, Function):
            yield "", node
        elif isinstance(node, ast.ClassDef):
            yield from ((node.name, method) for method in node.body if isinstance(method, Function))


def _definition(source: list[str], coded: frozenset[int], owner: str, node: Function) -> Definition:
    first = min(each.lineno for each in (node, *node.decorator_list))
    span = range(first, (node.end_lineno or first) + 1)
    return Definition(
        name=f"{owner}.{node.name}" if owner else node.name,
        common=common_name(owner, node.name),
        text="\n".join(source[number - 1][node.col_offset :] for number in span),
        lines=len(coded.intersection(span)),
        branches=sum(map(_ways, ast.walk(node))),
        words=frozenset(chain.from_iterable(map(_words, ast.walk(node)))),
    )


def _ways(node: ast.AST) -> int:
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return len(node.ifs)
    return isinstance(node, _BRANCHES)


def _words(node: ast.AST) -> Iterator[str]:
    """Give the names that a node itself has: of what it reads, calls, passes by keyword, takes or defines."""
    for field in ("id", "attr", "arg", "name"):
        word = getattr(node, field, None)
        if isinstance(word, str):
            yield word


def _coded(source: str, module: ast.Module) -> frozenset[int]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for token in tokens if token.type not in _NO_CODE for line in range(token.start[0], token.end[0] + 1)}
    return frozenset(lines - set(chain.from_iterable(map(_docstring, ast.walk(module)))))


def _docstring(node: ast.AST) -> range:
    if isinstance(node, ast.Module | ast.ClassDef | Function) and ast.get_docstring(node) is not None:
        return range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    return range(0)

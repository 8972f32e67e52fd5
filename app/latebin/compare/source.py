"""The definitions of a style file: their lines and branches, and the pairs that they make with the other style."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from itertools import chain
from typing import Final

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
    return re.sub("([A-Z])", r"_\1", resource if name == "render_GET" else name).lower().strip("_")


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

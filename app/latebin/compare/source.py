"""The definitions of a style file, their size, and their twins in the other style."""

import ast
import io
import re
import tokenize
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
        name: the qualified name: class and method, or function.
        common: a name that does not depend on the style; twins have the same one.
        text: the source with decorators, without the indentation of a class.
        lines: the lines of code: without docstrings, comments and empty lines.
        branches: the number of branches: conditions, loops, handlers and Boolean operators.
        words: every name in the source.
    """

    name: str
    common: str
    text: str
    lines: int
    branches: int
    words: frozenset[str] = attrs.field(repr=False)


def definitions(source: str) -> tuple[Definition, ...]:
    """Parse the definitions of a style file.

    Args:
        source: the text of the file.

    Returns:
        The functions and methods of the file, in its order.
    """
    module = ast.parse(source)
    lines, code = source.splitlines(), _code_lines(source, module)
    found = []
    for node in module.body:
        if isinstance(node, Function):
            found.append(_definition(lines, code, "", node))
        elif isinstance(node, ast.ClassDef):
            methods = (each for each in node.body if isinstance(each, Function))
            found.extend(_definition(lines, code, node.name, each) for each in methods)
    return tuple(found)


def code_lines(source: str) -> int:
    """Count the lines of code of a file: without docstrings, comments and empty lines."""
    return len(_code_lines(source, ast.parse(source)))


def common_name(owner: str, name: str) -> str:
    """Return a name for a definition that does not depend on the style.

    Args:
        owner: the name of the class; empty for a function.
        name: the name of the function or method.
    """
    resource = owner.removesuffix("Resource")
    return re.sub("([A-Z])", r"_\1", resource if name == "render_GET" else name).lower().strip("_")


def pairs(
    klein: tuple[Definition, ...], resource: tuple[Definition, ...]
) -> tuple[tuple[Definition | None, Definition | None], ...]:
    """Pair the definitions of both styles by their common names.

    Returns:
        Twins in the order of the raw style, then those of Klein without a twin; None stands for a missing twin.
    """
    twins = {each.common: each for each in klein}
    paired = tuple((twins.pop(each.common, None), each) for each in resource)
    return (*paired, *((alone, None) for alone in twins.values()))


def _definition(source: list[str], code: frozenset[int], owner: str, node: Function) -> Definition:
    first = min(each.lineno for each in (node, *node.decorator_list))
    span = range(first, (node.end_lineno or first) + 1)
    # The names of variables, attributes, arguments and definitions.
    names = (getattr(each, field, None) for each in ast.walk(node) for field in ("id", "attr", "arg", "name"))
    return Definition(
        name=f"{owner}.{node.name}" if owner else node.name,
        common=common_name(owner, node.name),
        text="\n".join(source[number - 1][node.col_offset :] for number in span),
        lines=len(code.intersection(span)),
        branches=sum(map(_branch_count, ast.walk(node))),
        words=frozenset(name for name in names if isinstance(name, str)),
    )


def _branch_count(node: ast.AST) -> int:
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return len(node.ifs)
    return isinstance(node, _BRANCHES)


def _code_lines(source: str, module: ast.Module) -> frozenset[int]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for token in tokens if token.type not in _NO_CODE for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(module):
        if isinstance(node, ast.Module | ast.ClassDef | Function) and ast.get_docstring(node) is not None:
            lines.difference_update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return frozenset(lines)

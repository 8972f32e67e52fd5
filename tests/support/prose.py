"""Passages of text in the files of the project, and the sentences in a passage."""

import ast
import inspect
import io
import re
import tokenize
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby

import attrs

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

_DIRECTIVE = re.compile(r"(?:noqa|type: ignore|fmt|ruff|pragma|mypy)\b")

_SECTION = re.compile(r"(?:Args|Attributes|Raises|Returns|Yields):")

_ITEM = re.compile(r"\s*(?:[-*] |\d+\. |\*{0,2}[\w.]+(?: \([^)]*\))?: )")

_FENCED = re.compile(r"^( *)(```|~~~).*?^\1\2 *$", re.MULTILINE | re.DOTALL)

_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')]*\s+(?=[\"'(`]*[A-Z0-9`])")


def _without_code(text: str) -> str:
    # The capital lets a sentence begin with code.
    return re.sub(r"(`+)[^`]*\1", "Code", text)


@attrs.frozen
class Passage:
    """A piece of text and its place.

    Attributes:
        line: the number of its first line in the file, counted from 1.
        text: the text without comment signs and indentation, each piece of code in backticks replaced by one word.
        prose: whether it consists of sentences; messages and markup need not.
        of: the node that it is the docstring of; None for any other text.
    """

    line: int
    text: str = attrs.field(converter=_without_code)
    prose: bool = True
    of: Documented | None = None

    @property
    def first_line(self) -> str:
        return self.text.partition("\n")[0]

    def sentences(self) -> Iterator[str]:
        """Split the text into sentences; a paragraph, list item or section entry ends one."""
        units: list[str] = [""]
        in_section = False
        for line in self.text.splitlines():
            indented = line.startswith("    ")
            if _SECTION.fullmatch(line.strip()):
                in_section = True
                units.append("")
            elif not line.strip() or (indented and not in_section):
                # Outside a section, indentation marks code, such as a grammar.
                units.append("")
            else:
                in_section &= indented
                item = _ITEM.match(line)
                units += [line[item.end() :]] if item else [f"{units.pop()} {line.strip()}"]
        cells = (cell for unit in units for cell in re.split(r"\s\|\s", unit))
        return (sentence.strip() for cell in cells for sentence in _SENTENCE_END.split(cell))


def passages(suffix: str, text: str) -> list[Passage]:
    """Find the passages of a file.

    Args:
        suffix: the end of the file's name, with its dot; empty for a script.
        text: the content of the file.
    """
    if suffix in {".py", ".rpy"}:
        strings = _Strings()
        strings.visit(_parsed(text))
        return [*_python_comments(text), *strings.found]
    if suffix in {".toml", ".yaml", ""}:
        return list(_marked_comments(text))
    if suffix == ".md":
        return list(_paragraphs(_FENCED.sub(lambda code: "\n" * code[0].count("\n"), text)))
    return [Passage(number, line, prose=False) for number, line in enumerate(text.splitlines(), 1)]


@lru_cache(maxsize=1)
def _parsed(module: str) -> ast.Module:
    return ast.parse(module)


def _python_comments(text: str) -> Iterator[Passage]:
    """Find the comments of a module; whole-line comments in succession are one passage."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    found = [token for token in tokens if token.type == tokenize.COMMENT]
    alone = {token.start[0] for token in found if not token.line[: token.start[1]].strip()}
    block: list[str] = []
    for token in found:
        line = token.start[0]
        block.append(_without_directives(token.string))
        if not {line, line + 1} <= alone:
            yield Passage(line - len(block) + 1, "\n".join(block))
            block = []


def _without_directives(comment: str) -> str:
    parts = (part.strip() for part in comment.lstrip("#!").split("  # "))
    return " ".join(part for part in parts if not _DIRECTIVE.match(part))


def definitions(module: str) -> Iterator[tuple[int, str]]:
    """Find the names that a module defines: classes, functions, arguments, variables and attributes.

    Args:
        module: the source of the module.

    Yields:
        The line and the name. `tell`, which is a method of file objects, is left out.
    """
    for node in ast.walk(_parsed(module)):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, "" if name == "tell" else name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name


class _Strings(ast.NodeVisitor):
    """The strings of a module: docstrings, those behind an attribute included, and messages."""

    def __init__(self) -> None:
        self.found: list[Passage] = []
        self._docstrings: set[ast.stmt] = set()

    def visit(self, node: ast.AST) -> None:
        body = node.body if isinstance(node, Documented) else []
        docstring = ast.get_docstring(node) if isinstance(node, Documented) else None
        if isinstance(node, Documented) and docstring is not None:
            self.found.append(Passage(body[0].lineno, docstring, of=node))
            self._docstrings.add(body[0])
        super().visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        value = node.value
        if node in self._docstrings:
            return  # it is not that of an attribute
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            self.found.append(Passage(node.lineno, inspect.cleandoc(value.value)))
        else:
            self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        parts = (str(part.value) if isinstance(part, ast.Constant) else "value" for part in node.values)
        self.found.append(Passage(node.lineno, "".join(parts), prose=False))
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.visit(part.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        # A string without a space is a key or a name, and no message.
        if isinstance(node.value, str) and " " in node.value:
            self.found.append(Passage(node.lineno, node.value, prose=False))


def _paragraphs(text: str) -> Iterator[Passage]:
    for blank, block in groupby(enumerate(text.splitlines(), 1), key=lambda line: not line[1].strip()):
        if not blank:
            lines = list(block)
            yield Passage(lines[0][0], "\n".join(line for _, line in lines))


def _marked_comments(text: str) -> Iterator[Passage]:
    """Find the comments behind number signs; comments in succession are one passage."""
    lines = [(number, re.search(r"(?:^|\s)#\s*(.*)", line)) for number, line in enumerate(text.splitlines(), 1)]
    for marked, block in groupby(lines, key=lambda line: line[1] is not None):
        if marked:
            comment = list(block)
            yield Passage(comment[0][0], "\n".join(found[1] for _, found in comment if found))

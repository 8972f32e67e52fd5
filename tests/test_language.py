"""The rules of language that a program can check: words, lengths, moods and names.

- A machine or an object is "it", and a program returns, reports or shows: PERSONS and REPORTS are not used for them.
- A sentence begins with its subject or its verb, and not with its object, as in "What it returns is the size".
- A sentence has at most 25 words. The first line of a docstring has at most 15.
- The docstring of a function begins with an imperative. That of a class, a property or a fixture is a noun phrase.

These rules cover docstrings, comments, messages, pages and manifests. Code in backticks is left out.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.prose import Passage, definitions, passages

ROOT = Path(__file__).parent.parent

ROOMS = (
    ".ci/run",
    "Dockerfile",
    "README.md",
    "pyproject.toml",
    "app/latebin",
    "app/rpy",
    "tests",
)
"""Directories and files below the root."""

SUFFIXES = {".css", ".jinja", ".js", ".md", ".py", ".rpy", ".toml", ".xml", ".yaml"}

EXCEPTIONS = {
    ("tests/test_language.py", "words: .*"): "It holds the words that it forbids.",
}
"""Flaws that may stay: the path of a file and a pattern of its flaws, each pair with the reason.

A word that is only mentioned needs no exception when it stands in backticks.
"""

PERSONS = ("who", "whom", "whoever", "whatever", "nobody", "somebody")

REPORTS = ("tell", "tells", "telling", "told")

NAMED = {*PERSONS, *REPORTS}
"""Words that no name has, either."""

FORBIDDEN = re.compile(
    rf"\b(?:{'|'.join(PERSONS + REPORTS)}|(?:is|are|was|were)\s+(?-i:none)|(?:do|does|did)\s+as\s+well|but\s+for)\b"
    # "There is no X" and "it is no longer X" are plain English, "this is no X" is not.
    r"|(?<!there\s)\b(?:is|are|was|were)\s+no\b(?!\s+(?:longer|more|less|\w+er\s+than)\b)",
    re.IGNORECASE,
)

# A name that has one of the words as a part has it before no small letter.
PERHAPS_NAMED = re.compile(rf"(?:{'|'.join(sorted(NAMED))})(?-i:(?![a-z]))", re.IGNORECASE)

OPENING = re.compile(r"(?:^|[.!?:|]\s+|^\s*(?:[-*]|\d+\.)\s+)(What|Whatever|Whoever)\b", re.MULTILINE)

MOST_WORDS = {"sentence": 25, "first line": 15}

NO_IMPERATIVE = re.compile(r"(?:a|an|each|every|how|it|one|some|that|the|this|whether|which|\w*[^\Ws]s)", re.IGNORECASE)
"""The first word of a noun phrase, of a clause, or of a statement in the third person."""

NOT_FUNCTIONS = re.compile(r"property|fixture|default|invariant|rule")
"""Decorators that make a noun of a function."""


def length(text: str) -> int:
    return len(re.findall(r"\S*\w\S*", text))


def words(passage: Passage) -> Iterator[str]:
    """Find words for persons and for speech, and sentences that begin with their object."""
    yield from (" ".join(found[0].split()) for found in FORBIDDEN.finditer(passage.text))
    yield from (f"{found[1]} begins a sentence" for found in OPENING.finditer(passage.text))


def lengths(passage: Passage) -> Iterator[str]:
    """Find long sentences, and docstrings with a long first line."""
    if passage.prose:
        measured = [("sentence", sentence) for sentence in passage.sentences()]
        measured += [("first line", passage.first_line)] if passage.of else []
        for kind, text in measured:
            if length(text) > MOST_WORDS[kind]:
                yield f"{length(text)} words in the {kind} {text!r}"


def moods(passage: Passage) -> Iterator[str]:
    """Find functions whose docstring does not begin with an imperative."""
    function = passage.of
    if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        decorators = " ".join(map(ast.unparse, function.decorator_list))
        is_noun = function.name.startswith("test") or NOT_FUNCTIONS.search(decorators)
        word = passage.text.split()[0]
        if not is_noun and NO_IMPERATIVE.fullmatch(word):
            yield f"{function.name}() is described by {word!r}"


RULES = (words, lengths, moods)


def flaws(suffix: str, text: str) -> list[tuple[int, str]]:
    """List the flaws of a file, each with the first line of its passage."""
    found = [
        (passage.line, f"{rule.__name__}: {flaw}")
        for passage in passages(suffix, text)
        for rule in RULES
        for flaw in rule(passage)
    ]
    names = definitions(text) if suffix == ".py" and PERHAPS_NAMED.search(text) else ()
    return found + [(line, f"names: {name}") for line, name in names if NAMED & parts(name)]


def parts(name: str) -> set[str]:
    """Split a name, also one in camelCase, into its words."""
    return {part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def files(room: str) -> list[str]:
    place = ROOT / room
    found = [place] if place.is_file() else sorted(place.rglob("*"))
    return [str(path.relative_to(ROOT)) for path in found if path.suffix in SUFFIXES or path == place]


def flaws_of(path: str) -> list[tuple[int, str]]:
    return flaws(Path(path).suffix, (ROOT / path).read_text())


def excepted(path: str, flaw: str) -> bool:
    return any(path == file and re.fullmatch(pattern, flaw, re.DOTALL) for file, pattern in EXCEPTIONS)


@pytest.mark.parametrize("room", ROOMS)
def test_room(room: str) -> None:
    """A room follows the rules when each of its flaws is a listed exception."""
    paths = files(room)
    assert paths, "the room is empty"
    found = [(path, line, flaw) for path in paths for line, flaw in flaws_of(path)]
    left = [f"{path}:{line}: {flaw}" for path, line, flaw in found if not excepted(path, flaw)]
    assert not left, "\n".join(left)


@pytest.mark.parametrize(("path", "pattern"), EXCEPTIONS)
def test_exception_is_needed(path: str, pattern: str) -> None:
    """An exception stays only as long as its file has such a flaw."""
    assert any(re.fullmatch(pattern, flaw, re.DOTALL) for _, flaw in flaws_of(path))


def some(words: int) -> str:
    return " ".join(["word"] * words)


FLAWED = [
    (".py", '"""The client, nobody else."""', "words: nobody"),
    (".py", '"""The client.\n\nWhat it sends is read."""', "words: What begins a sentence"),
    (".py", '"""The client.\n\nArgs:\n    x: What it sends.\n"""', "words: What begins a sentence"),
    (".py", "x = 1\n'''The client that is told.'''", "words: told"),
    (".py", "x = 1  # noqa: X  # the client does as well", "words: does as well"),
    (".py", "# All of them,\n# but\n# for one.", "words: but for"),
    (".py", "raise ValueError(f'{x} is no delay')", "words: is no"),
    (".py", "raise ValueError('there are some, this is none')", "words: is none"),
    (".py", f"# {some(20)}\n# {some(6)}", "lengths: 26 words in the sentence .*"),
    (".py", f'def f():\n    """Do it.\n\n    Returns:\n        {some(26)}\n    """', "lengths: 26 words .*"),
    (".py", f'"""{some(16)}\n\nNo more."""', "lengths: 16 words in the first line .*"),
    (".py", 'def f():\n    """The effect."""', r"moods: f\(\) is described by 'The'"),
    (".py", 'class C:\n    def f(self):\n        """Returns it."""', r"moods: f\(\) is described by 'Returns'"),
    (".md", "# Title\n\n- Whatever it is.", "words: Whatever begins a sentence"),
    (".md", "| a | What it does |", "words: What begins a sentence"),
    (".yaml", "a: b  # tell it", "words: tell"),
    (".xml", "<p>Who it is</p>", "words: Who"),
    (".py", "def f(told): pass", "names: told"),
    (".py", "class C:\n    def _tell_it(self):\n        self.x = 1", "names: _tell_it"),
    (".py", "x.who = 1", "names: who"),
    (".py", "class NobodyListens: pass", "names: NobodyListens"),
    (".py", "def test_whoever_comes(): pass", "names: test_whoever_comes"),
    (".py", "def childWhoLeft(): pass", "names: childWhoLeft"),
]


@pytest.mark.parametrize(("suffix", "text", "expected"), FLAWED)
def test_flaw(suffix: str, text: str, expected: str) -> None:
    """A flaw is found when a passage of any kind has it."""
    assert [flaw for _, flaw in flaws(suffix, text) if re.fullmatch(expected, flaw, re.DOTALL)]


PLAIN = [
    (".py", '"""A file object, whose place `tell()` returns.\n\nThere is no limit; it is no longer open."""'),
    (".py", f'"""{some(15)}.\n\n{some(25)}. One more.\n\n- {some(25)}\n- {some(25)}\n\n{some(25)}"""'),
    (".py", f"# {some(25)}.\n# One more.\n\n# {some(24)}\nx = 1  # {some(25)}"),
    (".py", f'"""The grammar.\n\n    a = {some(30)} ;\n\nIt is short."""'),
    (".py", 'def test_f():\n    """The effect is seen when it happens."""\n    file.tell()'),
    (".py", '@property\ndef f(self):\n    """The length."""'),
    (".md", "```\nwho\n```\n\nThe command `who`."),
    (".yaml", "a: who"),
    (".py", "class File:\n    def tell(self):\n        return self.told()"),
]


@pytest.mark.parametrize(("suffix", "text"), PLAIN)
def test_no_flaw(suffix: str, text: str) -> None:
    """Text has no flaw when its sentences are short and its code is marked."""
    assert flaws(suffix, text) == []

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.language.sequence import MAX_COUNT, MAX_STEPS, Sequence, parse


def read(text: str) -> str:
    if not text.isalnum() and not text.startswith("f("):
        raise ValueError(f"{text!r} is wrong")
    return text


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a*2,b", "aabbb"),
        ("a,b,c", "abccc"),
        (" a * 2 , b*9 ", "aabbb"),
        ("a*1,b", "abbbb"),
    ],
)
def test_steps(text: str, values: str) -> None:
    """Each step is as long as its count, and the last one is repeated."""
    found = parse(text, read)
    assert isinstance(found, Sequence)
    assert [found.at(n) for n in range(1, 6)] == list(values)


@pytest.mark.parametrize("text", ["a", "f(x,y)", "f(x,f(y,z))"])
def test_one_value(text: str) -> None:
    """A text without a comma outside of parentheses is one value."""
    assert parse(text, read) == text


def test_commas_in_parentheses() -> None:
    """A comma in parentheses does not end a step."""
    found = parse("f(x,f(y,z))*2,a", read)
    assert isinstance(found, Sequence)
    assert found.steps == (("f(x,f(y,z))", 2), ("a", 1))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a*2", "expected another step behind a count"),
        ("a,", "in step 2, '' is wrong"),
        ("a*0,b", f"in step 1, expected a count from 1 to {MAX_COUNT}"),
        (f"a*{MAX_COUNT + 1},b", "in step 1, expected a count"),
        ("a,b*x", "in step 2, 'b\\*x' is wrong"),
        (",".join("a" * (MAX_STEPS + 1)), f"more than {MAX_STEPS} steps"),
        ("a," * 2500 + "a", "longer than 4000 characters"),
    ],
)
def test_wrong(text: str, reason: str) -> None:
    """A wrong sequence is refused with the step and the reason."""
    with pytest.raises(ValueError, match=reason):
        parse(text, read)


@given(
    st.lists(
        st.tuples(st.text("ab", min_size=1, max_size=9), st.integers(1, MAX_COUNT)), min_size=2, max_size=MAX_STEPS
    )
)
def test_round_trip(steps: list[tuple[str, int]]) -> None:
    """A sequence is read back from its text."""
    sequence = Sequence(tuple(steps))
    assert parse(str(sequence), read) == sequence

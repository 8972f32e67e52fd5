import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.language.variants import MAX_LENGTH, MAX_VARIANTS, Variant, parse, render


@pytest.mark.parametrize(
    ("text", "variants"),
    [
        ("100%:()", [Variant(1, ())]),
        ("1:(status=503)", [Variant(1, (("status", "503"),))]),
        (
            "95%:(delay=50ms),5%:(delay=0,status=503,retry-after=1)",
            [
                Variant(0.95, (("delay", "50ms"),)),
                Variant(0.05, (("delay", "0"), ("status", "503"), ("retry-after", "1"))),
            ],
        ),
        (
            "100%: ( delay = lognormal(median=80ms,p99=1.2s) , status=200:50% )",
            [Variant(1, (("delay", "lognormal(median=80ms,p99=1.2s)"), ("status", "200:50%")))],
        ),
        ("100%:(header=Set-Cookie:a=b)", [Variant(1, (("header", "Set-Cookie:a=b"),))]),
    ],
)
def test_forms(text: str, variants: list[Variant]) -> None:
    """Answers with shares are read into their fields when they follow the grammar."""
    assert parse(text) == tuple(variants)
    assert parse(render(parse(text))) == tuple(variants)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "'' has no share"),
        ("(delay=1s)", "has no share"),
        ("100%:delay=1s", "'delay=1s' is not in parentheses"),
        ("x:(delay=1s)", "expected a share"),
        ("100%:(delay)", "'delay' is not NAME=VALUE"),
        ("100%:(delay=1s", "a parenthesis is not closed"),
        ("100%:(delay=1s))", "the parenthesis at character 15 closes nothing"),
        ("50%:(),40%:()", "the shares add up to 90% instead of 100%"),
        ("100%:(delay=1s),", "'' has no share"),
        (f"100%:(type={'x' * MAX_LENGTH})", f"longer than {MAX_LENGTH} characters"),
        (",".join(["0:()"] * MAX_VARIANTS + ["1:()"]), f"more than {MAX_VARIANTS} answers"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    """A text is refused with the reason when it does not follow the grammar."""
    with pytest.raises(ValueError, match=f".*{reason}".replace("(", r"\(").replace(")", r"\)")):
        parse(text)


@given(st.text("0123456789%:(),=ab. ", max_size=60))
def test_any_text(text: str) -> None:
    """A text reads the same again, or is refused, when it is any text."""
    try:
        variants = parse(text)
    except ValueError:
        return
    assert parse(render(variants)) == variants

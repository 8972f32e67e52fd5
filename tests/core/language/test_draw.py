"""Random numbers with and without a seed."""

from hashlib import blake2b
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.language import draw

SMALLEST = 2.0**-53


@pytest.mark.parametrize(
    ("purpose", "seed", "expression", "n", "uniforms"),
    [
        ("delay", 7, "1s..3s", 1, ["0x1.60adcbb85ed26p-2", "0x1.11c958ad857e0p-5", "0x1.73ac173053ae0p-1"]),
        ("delay", 7, "1s..3s", 2, ["0x1.ed31011fcbb40p-5", "0x1.a29156afcc858p-2", "0x1.1842cd1e2c360p-2"]),
        ("fault", 7, "reset:5%", 1, ["0x1.db848fbf3d888p-1", "0x1.cdfc419fd0ed0p-4", "0x1.5abba02feb3f0p-3"]),
        ("delay", 0, "250ms", 1000000, ["0x1.c9c659f7e6f00p-1", "0x1.4b849fe4acf37p-1", "0x1.a85e360973b88p-1"]),
    ],
)
def test_golden(purpose: str, seed: int, expression: str, n: int, uniforms: list[str]) -> None:
    """The numbers of a request are these, bit for bit, in every version."""
    drawn = draw.seeded(purpose, seed, expression, n)
    assert [u.hex() for u in islice(drawn, len(uniforms))] == uniforms


def test_function_as_documented() -> None:
    """Number k is made of the hash that the docstring describes."""
    digest = blake2b(b"fault\x00-3\x0012\x00mix(\xc3\xa4)\x002", digest_size=8).digest()
    documented = (int.from_bytes(digest, "big") >> 11) / 2**53
    assert next(islice(draw.seeded("fault", -3, "mix(ä)", 12), 2, None)) == documented


@given(st.text("abc", min_size=1), st.integers(-(2**64), 2**64), st.text("1s.\0"), st.integers(0, 2**64))
def test_same_again(purpose: str, seed: int, expression: str, n: int) -> None:
    """The same arguments give the same numbers, all multiples of 2**-53 in (0, 1)."""
    first, second = (list(islice(draw.seeded(purpose, seed, expression, n), 5)) for _ in range(2))
    assert first == second
    assert all(0 < u < 1 and (u * 2**53).is_integer() for u in first)


@pytest.mark.parametrize(
    "other",
    [("fault", 7, "1s", 1), ("delay", 8, "1s", 1), ("delay", 7, "2s", 1), ("delay", 7, "1s", 2)],
)
def test_every_argument_counts(other: tuple[str, int, str, int]) -> None:
    """Another purpose, seed, expression or n gives another stream."""
    assert next(draw.seeded(*other)) != next(draw.seeded("delay", 7, "1s", 1))


def test_streams_do_not_share_state() -> None:
    """Two streams give the same numbers in turn as each gives alone."""
    one, other = draw.seeded("delay", 1, "1s..3s", 1), draw.seeded("delay", 1, "1s..3s", 2)
    turns = [(next(one), next(other)) for _ in range(3)]
    alone = [list(islice(draw.seeded("delay", 1, "1s..3s", n), 3)) for n in (1, 2)]
    assert [list(stream) for stream in zip(*turns, strict=True)] == alone


def test_spread_over_requests() -> None:
    """The first numbers of 2,000 successive requests pass a Kolmogorov-Smirnov test."""
    drawn = sorted(next(draw.seeded("delay", 42, "1s..3s", n)) for n in range(1, 2001))
    distance = max(max(abs(u - k / 2000), abs(u - (k + 1) / 2000)) for k, u in enumerate(drawn))
    assert distance < 1.9495 / 2000**0.5


def test_unseeded_follows_its_source() -> None:
    """Without a seed the numbers are those of the source, in order."""
    source = iter([0.25, 0.75, 0.5])
    assert list(islice(draw.unseeded(source.__next__), 3)) == [0.25, 0.75, 0.5]


def test_zero_never_comes() -> None:
    """The smallest number replaces 0 when the source gives it, so that quantiles stay finite."""
    assert next(draw.unseeded(lambda: 0.0)) == SMALLEST

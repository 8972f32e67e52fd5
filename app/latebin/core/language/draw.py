"""The random numbers of an answer: new ones, or repeatable ones from a documented function.

A stream is an iterator of floats in the open interval (0, 1). The ends are excluded so that each number fits a quantile
function whose ends are infinite. A draw takes as many numbers from its stream as it needs, in order.
"""

from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import count
from typing import Final

BITS: Final = 53
"""The random bits in one number: each number is a multiple of 2**-53, which a double holds exactly."""


def seeded(purpose: str, seed: int, expression: str, n: int) -> Iterator[float]:
    """Yield the numbers u(0), u(1), u(2)... of one request, the same on every machine.

    This is f(seed, expression, n). To compute u(k) in any language:

    1. Join purpose, seed, n, expression and k with one NUL byte between each two. Write seed, n and k in decimal ASCII,
       with a leading `-` if negative and nothing else. Write purpose and expression in UTF-8.
    2. Hash the bytes with unkeyed BLAKE2b (RFC 7693) and a digest of 8 bytes.
    3. Read the digest as a big-endian integer and drop its lowest 11 bits. The rest is m, with 53 bits.
    4. u(k) = max(m, 1) / 2**53.

    Steps 1 to 4 are exact, so u(k) is the same everywhere, bit for bit. A delay made from u(k) passes through exp and
    log, whose last digit may differ between C libraries.

    Args:
        purpose: the kind of draw, such as "delay" or "fault", without NUL. One seed gives independent draws for each.
        seed: any integer.
        expression: the text to draw for. For a delay it is the canonical text, so that all spellings of a delay draw
            the same.
        n: the number of the request among those with this seed and expression.
    """
    stem = blake2b(f"{purpose}\0{seed}\0{n}\0{expression}\0".encode(), digest_size=8)

    def uniform(k: int) -> float:
        whole = stem.copy()
        whole.update(b"%d" % k)
        return max(int.from_bytes(whole.digest(), "big") >> (64 - BITS), 1) / 2.0**BITS

    return map(uniform, count())


def unseeded(random: Callable[[], float]) -> Iterator[float]:
    """Yield numbers from a source of randomness, with the smallest number in place of 0.

    Args:
        random: a function that returns a float in [0, 1), such as `random.Random().random`.
    """
    while True:
        yield max(random(), 2.0**-BITS)

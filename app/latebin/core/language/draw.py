"""Where the randomness of an answer comes from: uniform numbers, repeatable ones by a documented function.

A stream of uniforms is an iterator of floats in the open interval (0, 1): neither end ever comes, so that each can be
put into a quantile function whose ends are infinite. Whoever draws takes as many as are needed, in order.
"""

from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import count
from typing import Final

BITS: Final = 53
"""The bits of one uniform: every one is a whole multiple of 2**-53, which a double holds exactly."""


def seeded(purpose: str, seed: int, expression: str, n: int) -> Iterator[float]:
    """Give the uniforms u(0), u(1), u(2)... that belong to one request, the same on every machine.

    This is f(seed, expression, n). To have u(k) in any language:

    1. Join with one NUL byte between each two: purpose, seed, n, expression, k. The three numbers are written in
       decimal ASCII (with a leading `-` if negative, nothing else), the two texts in UTF-8.
    2. Hash the bytes with unkeyed BLAKE2b (RFC 7693) with a digest of 8 bytes.
    3. Read the digest as a big-endian integer and drop its lowest 11 bits, which leaves m with 53 bits.
    4. u(k) = max(m, 1) / 2**53.

    Steps 1 to 4 are exact, so u(k) is the same bit for bit everywhere. What a distribution makes of it passes through
    exp and log, whose last digit may differ from one C library to another.

    Args:
        purpose: what is drawn, such as "delay" or "fault", so that one seed gives independent draws for each; no NUL.
        seed: any integer.
        expression: the text that the draw is for; the canonical text of a delay, so that two spellings of one delay
            draw the same.
        n: which request of this seed and expression.
    """
    stem = blake2b(f"{purpose}\0{seed}\0{n}\0{expression}\0".encode(), digest_size=8)

    def uniform(k: int) -> float:
        whole = stem.copy()
        whole.update(b"%d" % k)
        return max(int.from_bytes(whole.digest(), "big") >> (64 - BITS), 1) / 2.0**BITS

    return map(uniform, count())


def unseeded(random: Callable[[], float]) -> Iterator[float]:
    """Give uniforms from any source of them.

    Args:
        random: gives a float in [0, 1) at each call, as `random.Random().random` does.
    """
    while True:
        yield max(random(), 2.0**-BITS)

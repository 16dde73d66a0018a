"""Which queries are held out: NumPy's RandomState.choice, so that the published seed gives the published choice."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

SEED = 21
_WORDS = 624  # of the Mersenne Twister's state


def generator(seed: int = SEED) -> random.Random:
    """Draws as `numpy.random.RandomState(seed)`: the same generator, begun from a whole number as Knuth has it."""
    state = [seed]
    for number in range(1, _WORDS):
        state.append((1_812_433_253 * (state[-1] ^ (state[-1] >> 30)) + number) & 0xFFFFFFFF)
    draws = random.Random()  # noqa: S311 (a sample, not secrets)
    draws.setstate((3, (*state, _WORDS), None))
    return draws


def choose(draws: random.Random, weights: Sequence[int], size: int) -> list[int]:
    """Places in `weights`, each chosen once, in the order of the draws: `choice(…, size, replace=False, p=…)`."""
    total = sum(weights)
    shares = [weight / total for weight in weights]
    chosen: dict[int, None] = {}
    while len(chosen) < size:
        points = [draws.random() for _ in range(size - len(chosen))]
        for place in chosen:
            shares[place] = 0.0
        sums = list(accumulate(shares))
        scaled = [share / sums[-1] for share in sums]
        chosen.update(dict.fromkeys(bisect_right(scaled, point) for point in points))
    return list(chosen)

"""Noise of measurement as a function of an episode's seed and the control step.

A generator per episode would have to be stored or advanced with it. A hash of seed, step and index gives the same noise
wherever a state row is restored, for any batch at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float64Array, IntArray

# Constants of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def uniform_noise(seeds: IntArray, steps: IntArray, size: int) -> Float64Array:
    """Draw (n, size) numbers, uniform between -1 and 1, of the given steps of episodes.

    Args:
        seeds: (n,) seeds of the episodes.
        steps: (n,) control steps since the start of each episode.
        size: numbers per step.
    """
    # Scrambled twice: neighbouring seeds and neighbouring steps would otherwise share sequences.
    episodes = _scrambled(seeds.astype(np.uint64) * _GOLDEN + _GOLDEN)
    moments = _scrambled(episodes + steps.astype(np.uint64) * _GOLDEN)
    counters = np.arange(1, size + 1, dtype=np.uint64) * _GOLDEN
    drawn = _scrambled(moments[:, None] + counters) >> np.uint64(11)
    return drawn.astype(np.float64) * 2.0**-52 - 1.0


def _scrambled(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64; integer arithmetic of arrays wraps around."""
    values = (values ^ (values >> np.uint64(30))) * _FIRST
    values = (values ^ (values >> np.uint64(27))) * _SECOND
    return values ^ (values >> np.uint64(31))

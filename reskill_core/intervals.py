"""Confidence intervals for what a number of episodes showed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reskill_core.errors import ReskillError

_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval.

    Attributes:
        mean: the estimate.
        low: lower end of the interval.
        high: upper end of the interval.
        count: number of episodes.
    """

    mean: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def rate(outcomes: Sequence[bool] | np.ndarray) -> Estimate:
    """Share of successes with the Wilson score interval (Wilson 1927), sound for rates near 0 and 1 too.

    Raises:
        ReskillError: there are no outcomes.
    """
    count = len(outcomes)
    if count == 0:
        raise ReskillError("a success rate needs at least one episode, got none")
    share = float(np.mean(np.asarray(outcomes, dtype=float)))
    spread = _Z95**2 / count
    centre = (share + spread / 2) / (1 + spread)
    half = _Z95 * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return Estimate(share, min(share, centre - half), max(share, centre + half), count)


def mean(values: Sequence[float] | np.ndarray) -> Estimate:
    """Mean with the normal interval of its standard error.

    Raises:
        ReskillError: there are no values.
    """
    array = np.asarray(values, dtype=float)
    if array.size == 0:
        raise ReskillError("a mean needs at least one value, got none")
    centre = float(array.mean())
    half = _Z95 * float(array.std(ddof=1)) / math.sqrt(array.size) if array.size > 1 else 0.0
    return Estimate(centre, centre - half, centre + half, array.size)

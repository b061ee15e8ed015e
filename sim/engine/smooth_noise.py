"""Smooth action noise of demonstrators."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

CORRELATION = 0.9


@cache
def _filter(steps: int) -> NDArray[np.float64]:
    """(T, T) lower-triangular matrix that turns white noise into a stationary AR(1) process of unit variance."""
    lag = np.subtract.outer(np.arange(steps), np.arange(steps))
    gain = np.where(lag >= 0, CORRELATION ** np.abs(lag), 0.0)
    gain[:, 1:] *= np.sqrt(1 - CORRELATION**2)
    return gain


def smooth_noise(rng: np.random.Generator, steps: int, dim: int) -> NDArray[np.float64]:
    """(T, dim) unit-variance AR(1) noise with correlation 0.9 between steps, stationary from the first step on."""
    return _filter(steps) @ rng.standard_normal((steps, dim))

"""Mean, standard deviation and range of observations and actions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BLOCK_ROWS = 65_536  # Rows converted to float64 at a time, to avoid copying large arrays as a whole.


@dataclass(frozen=True, eq=False)
class Moments:
    """Statistics of each column of an array.

    Attributes:
        mean: (D,) float64.
        std: (D,) float64, square root of the mean squared deviation.
        min: (D,) float64.
        max: (D,) float64.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Statistics:
    """Statistics of the observations and of the labels."""

    observation: Moments
    action: Moments


def moments(array: NDArray[np.float32], rows: NDArray[np.bool_]) -> Moments:
    """Compute statistics of the columns of ``array`` (N, D) over the rows selected by ``rows`` (N,), at least one."""
    blocks = [slice(start, start + _BLOCK_ROWS) for start in range(0, len(array), _BLOCK_ROWS)]
    blocks = [block for block in blocks if rows[block].any()]

    def selected(block: slice) -> NDArray[np.float64]:
        return array[block][rows[block]].astype(np.float64)

    count = np.count_nonzero(rows)
    mean = np.sum([selected(block).sum(axis=0) for block in blocks], axis=0) / count
    variance = np.sum([np.square(selected(block) - mean).sum(axis=0) for block in blocks], axis=0) / count
    low = np.min([array[block][rows[block]].min(axis=0) for block in blocks], axis=0)
    high = np.max([array[block][rows[block]].max(axis=0) for block in blocks], axis=0)
    return Moments(mean, np.sqrt(variance), low.astype(np.float64), high.astype(np.float64))

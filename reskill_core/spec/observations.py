"""Observations of N environments: an array (N, O), or a mapping of a vector and images, and what is done to rows.

Where a layout has no images, observations are the array alone and these functions do nothing but index it. Else they
are a mapping ``{"vector": (N, O), "<image>": (N, stack, H, W, C) uint8}``. Whatever axes stand before the layout's own,
such as time steps, an index or a slice of the first of them is a row here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Key of the vector.
VECTOR = "vector"

Observations = NDArray[Any] | Mapping[str, NDArray[Any]]
Rows = Sequence[int] | NDArray[np.int64] | NDArray[np.bool_] | slice


def vector_of(observations: Observations) -> NDArray[Any]:
    """The vectors (N, O)."""
    return observations[VECTOR] if isinstance(observations, Mapping) else observations


def images_of(observations: Observations) -> dict[str, NDArray[np.uint8]]:
    """The images (N, stack, H, W, C), by name; none where there are none."""
    if not isinstance(observations, Mapping):
        return {}
    return {name: part for name, part in observations.items() if name != VECTOR}


def num_rows(observations: Observations) -> int:
    """Number N of environments."""
    return len(vector_of(observations))


def take_rows(observations: Observations, rows: Rows) -> Observations:
    """Observations of some environments."""
    if isinstance(observations, Mapping):
        return {name: part[rows] for name, part in observations.items()}
    return observations[rows]


def put_rows(target: Observations, rows: Rows, observations: Observations) -> None:
    """Overwrite the observations of some environments in place.

    Args:
        target: observations of all environments.
        rows: which of them.
        observations: one for each of these, in the same layout.
    """
    if isinstance(target, Mapping):
        assert isinstance(observations, Mapping)
        for name, part in target.items():
            part[rows] = observations[name]
    else:
        target[rows] = observations


def stacked(observations: Sequence[Observations], axis: int = 0) -> Observations:
    """Observations along a new axis, such as those of single environments or of consecutive steps."""
    first = observations[0]
    if isinstance(first, Mapping):
        return {name: np.stack([item[name] for item in observations], axis) for name in first}
    return np.stack(observations, axis)  # type: ignore[arg-type]  # All are in the layout of the first.


def copied(observations: Observations) -> Observations:
    """The same in memory of its own."""
    if isinstance(observations, Mapping):
        return {name: part.copy() for name, part in observations.items()}
    return observations.copy()

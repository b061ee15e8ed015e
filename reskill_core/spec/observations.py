"""Observations of N environments: an array (N, O), or a mapping of a vector and images, with operations on rows.

Without images, observations are just the array, and these functions only index it. With images they are a mapping
``{"vector": (N, O), "<image>": (N, stack, H, W, C) uint8}``. There may be further leading axes, such as time steps;
rows are those of the first axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Key of the vector.
VECTOR = "vector"

Observations = NDArray[Any] | Mapping[str, NDArray[Any]]
Rows = int | Sequence[int] | NDArray[np.int64] | NDArray[np.bool_] | slice


def vector_of(observations: Observations) -> NDArray[Any]:
    """Return the vectors (N, O)."""
    return observations[VECTOR] if isinstance(observations, Mapping) else observations


def images_of(observations: Observations) -> dict[str, NDArray[np.uint8]]:
    """Return the images (N, stack, H, W, C) by name; empty without images."""
    if not isinstance(observations, Mapping):
        return {}
    return {name: part for name, part in observations.items() if name != VECTOR}


def num_rows(observations: Observations) -> int:
    """Return the number N of environments."""
    return len(vector_of(observations))


def take_rows(observations: Observations, rows: Rows) -> Observations:
    """Select the observations of some environments."""
    if isinstance(observations, Mapping):
        return {name: part[rows] for name, part in observations.items()}
    return observations[rows]


def put_rows(target: Observations, rows: Rows, observations: Observations) -> None:
    """Overwrite the observations of some environments in place.

    Args:
        target: observations of all environments.
        rows: rows to overwrite.
        observations: one per row, in the same layout.
    """
    if isinstance(target, Mapping):
        assert isinstance(observations, Mapping)
        for name, part in target.items():
            part[rows] = observations[name]
    else:
        target[rows] = observations


def stacked(observations: Sequence[Observations], axis: int = 0) -> Observations:
    """Stack observations along a new axis, such as those of single environments or of consecutive steps."""
    first = observations[0]
    if isinstance(first, Mapping):
        return {name: np.stack([item[name] for item in observations], axis) for name in first}
    return np.stack(observations, axis)  # type: ignore[arg-type]  # All are in the layout of the first.


def joined(observations: Sequence[Observations]) -> Observations:
    """Concatenate the observations of several groups of environments."""
    first = observations[0]
    if isinstance(first, Mapping):
        return {name: np.concatenate([item[name] for item in observations]) for name in first}
    return np.concatenate(observations)  # type: ignore[arg-type]  # All are in the layout of the first.


def copied(observations: Observations) -> Observations:
    """Copy observations."""
    if isinstance(observations, Mapping):
        return {name: part.copy() for name, part in observations.items()}
    return observations.copy()

"""Batches of observations as tensors: one tensor, or a mapping for tasks with images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reskill_core.spec.observations import VECTOR

Inputs = Tensor | Mapping[str, Tensor]


def as_tensors(observations: Any) -> Inputs:
    """Convert arrays to tensors: vectors to float32, images unchanged."""
    if isinstance(observations, Mapping):
        return {name: _as_tensor(array) for name, array in observations.items()}
    return _as_tensor(observations)


def vector_of(observations: Inputs) -> Tensor:
    """Return the vectors (..., O) of observations."""
    return observations[VECTOR] if isinstance(observations, Mapping) else observations


def with_vector(observations: Inputs, vector: Tensor) -> Inputs:
    """Return observations with other vectors, and the same images."""
    return {**observations, VECTOR: vector} if isinstance(observations, Mapping) else vector


def on_device(observations: Inputs, device: torch.device) -> Inputs:
    """Move a batch to a device."""
    if isinstance(observations, Mapping):
        return {name: tensor.to(device) for name, tensor in observations.items()}
    return observations.to(device)


def taken(observations: Inputs, rows: Any) -> Inputs:
    """Select rows of a batch."""
    if isinstance(observations, Mapping):
        return {name: tensor[rows] for name, tensor in observations.items()}
    return observations[rows]


def batches(count: int, size: int) -> Iterator[slice]:
    """Yield slices that divide ``count`` rows into batches."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _as_tensor(array: Any) -> Tensor:
    array = np.asarray(array)
    return torch.from_numpy(array if array.dtype == np.uint8 else array.astype(np.float32, copy=False))

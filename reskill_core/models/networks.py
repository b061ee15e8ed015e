"""Building blocks of the torch models; :mod:`reskill_core.runtime.networks` evaluates the same in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from reskill_core.errors import SpecError
from reskill_core.models.config import LEAKY_SLOPE, Norm
from reskill_core.models.features import FeatureMap, normalised_features, raw_features


class Mlp(nn.Module):
    """Linear layers with LeakyReLU between them, optionally batch-normalised before each LeakyReLU.

    Args:
        sizes: widths from input to output.
        norm: ``batch`` or ``none``.
        zero_last: initialise the output to zero.
    """

    def __init__(self, sizes: Sequence[int], norm: Norm = "none", zero_last: bool = False) -> None:
        super().__init__()
        self.linear = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in pairwise(sizes))
        self.norm = nn.ModuleList(nn.BatchNorm1d(size) for size in sizes[1:-1] if norm == "batch")
        if zero_last:
            zero_linear(self.linear[-1])

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        hidden = inputs
        for index, linear in enumerate(self.linear[:-1]):
            hidden = linear(hidden)
            if self.norm:
                hidden = self.norm[index](hidden.flatten(0, -2)).view_as(hidden)
            hidden = functional.leaky_relu(hidden, LEAKY_SLOPE)
        return self.linear[-1](hidden)


def zero_linear(linear: nn.Module) -> None:
    """Set all parameters of a linear layer to zero."""
    for parameter in linear.parameters():
        nn.init.zeros_(parameter)


def soft_limit(values: Tensor, limit: float) -> Tensor:
    """Bound values smoothly to (-limit, limit); approximately the identity near 0."""
    return limit * torch.tanh(values / limit)


def standard_normal_log_prob(values: Tensor) -> Tensor:
    """Compute the log density (B,) of N(0, I) at (B, Z)."""
    return -0.5 * (values.square() + np.log(2 * np.pi)).sum(dim=-1)


def require_shape(name: str, tensor: Tensor, *expected: int | None) -> None:
    """Check a tensor's shape; None stands for any length.

    Raises:
        SpecError: it is another one.
    """
    fits = tensor.ndim == len(expected) and all(
        length in (None, actual) for length, actual in zip(expected, tensor.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if length is None else str(length) for length in expected)
        raise SpecError(f"{name} has shape {tuple(tensor.shape)}, expected ({wanted})")


class Features(nn.Module):
    """:class:`FeatureMap` on tensors.

    Its constants are not part of the state dict, because the checkpoint stores them separately.
    """

    def __init__(self, features: FeatureMap) -> None:
        super().__init__()
        self.map = features
        for name in ("expand", "same_pair", "mean", "inverse_std"):
            self.register_buffer(name, torch.from_numpy(getattr(features, name)), persistent=False)

    def forward(self, observation: Tensor) -> Tensor:
        """Map (..., O) to (..., F)."""
        raw = raw_features(torch, observation, self.expand, self.same_pair, self.map.softening_m)
        return normalised_features(torch, raw, self.mean, self.inverse_std, self.map.limit)

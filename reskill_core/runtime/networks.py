"""Networks of a checkpoint in numpy, for inference; :mod:`reskill_core.models.networks` trains them.

Inputs are (N, K), or (N, 1, K) for batch-invariant results: numpy then multiplies row by row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float32Array
from reskill_core.models.config import LEAKY_SLOPE

Weights = Mapping[str, NDArray[np.float32]]

_BATCH_NORM_EPSILON = 1e-5  # torch's default
_SLOPE = np.float32(LEAKY_SLOPE)


@dataclass(frozen=True)
class Linear:
    """Linear layer ``inputs @ weight + bias`` with weight (in, out) and bias (out,)."""

    weight: Float32Array
    bias: Float32Array

    @classmethod
    def from_weights(cls, weights: Weights, name: str) -> Linear:
        """Load a layer from a checkpoint, which stores its weight as (out, in)."""
        return cls(np.ascontiguousarray(weights[f"{name}.weight"].T), weights[f"{name}.bias"].copy())

    def with_batch_norm(self, weights: Weights, name: str) -> Linear:
        """Fold the following batch normalisation into this layer."""
        scale = weights[f"{name}.weight"] / np.sqrt(weights[f"{name}.running_var"] + _BATCH_NORM_EPSILON)
        bias = (self.bias - weights[f"{name}.running_mean"]) * scale + weights[f"{name}.bias"]
        return Linear((self.weight * scale).astype(np.float32), bias.astype(np.float32))

    def __call__(self, inputs: Float32Array) -> Float32Array:
        """Map (..., in) to (..., out)."""
        outputs = np.matmul(inputs, self.weight)
        outputs += self.bias
        return outputs


def leaky_relu(values: Float32Array) -> Float32Array:
    """Compute LeakyReLU."""
    return np.maximum(values, values * _SLOPE)


def soft_limit(values: Float32Array, limit: float) -> Float32Array:
    """Bound values smoothly to (-limit, limit)."""
    return np.tanh(values / np.float32(limit)) * np.float32(limit)


@dataclass(frozen=True)
class Mlp:
    """Linear layers with LeakyReLU between them."""

    layers: tuple[Linear, ...]

    @classmethod
    def from_weights(cls, weights: Weights, name: str) -> Mlp:
        """Load a network from a checkpoint, with batch normalisation folded in."""
        layers = [Linear.from_weights(weights, f"{name}.linear.0")]
        while f"{name}.linear.{len(layers)}.weight" in weights:
            layers.append(Linear.from_weights(weights, f"{name}.linear.{len(layers)}"))
        for index, layer in enumerate(layers):
            if f"{name}.norm.{index}.weight" in weights:
                layers[index] = layer.with_batch_norm(weights, f"{name}.norm.{index}")
        return cls(tuple(layers))

    def __call__(self, inputs: Float32Array) -> Float32Array:
        """Map (..., in) to (..., out)."""
        hidden = inputs
        for layer in self.layers[:-1]:
            hidden = leaky_relu(layer(hidden))
        return self.layers[-1](hidden)

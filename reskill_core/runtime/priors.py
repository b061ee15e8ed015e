"""Skill priors in numpy: map from noise to latents, conditioned on a skill's first observation."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from reskill_core.arrays import Float32Array
from reskill_core.models.config import PriorConfig
from reskill_core.runtime.networks import Linear, Mlp, Weights, leaky_relu, soft_limit


class NumpyPrior(Protocol):
    """Interface of a prior at inference."""

    def noise_to_latent(self, noise: Float32Array, features: Float32Array) -> Float32Array:
        """Map noise (..., Z), which is N(0, I) under the prior, to latents (..., Z) at features (..., F)."""
        ...


class NumpyGaussianPrior:
    """Numpy implementation of :class:`reskill_core.models.gaussian.GaussianPrior`."""

    def __init__(self, config: PriorConfig, latent_dim: int, weights: Weights, name: str) -> None:
        self._log_scale_limit = config.log_scale_limit
        self._latent_dim = latent_dim
        self._net = Mlp.from_weights(weights, f"{name}.net")

    def noise_to_latent(self, noise: Float32Array, features: Float32Array) -> Float32Array:
        """See :class:`NumpyPrior`."""
        output = self._net(features)
        mean, log_std = output[..., : self._latent_dim], output[..., self._latent_dim :]
        return mean + noise * np.exp(soft_limit(log_std, self._log_scale_limit))


class NumpyFlowPrior:
    """Numpy implementation of :class:`reskill_core.models.flow.FlowPrior`.

    The contributions of the context to all couplings are computed in one matrix product.
    """

    def __init__(self, config: PriorConfig, latent_dim: int, weights: Weights, name: str) -> None:
        self._log_scale_limit = config.log_scale_limit
        self._half = latent_dim // 2
        self._context = Mlp.from_weights(weights, f"{name}.context")
        first = [Linear.from_weights(weights, f"{name}.couplings.{i}.first") for i in range(config.couplings)]
        self._last = [Linear.from_weights(weights, f"{name}.couplings.{i}.last") for i in range(config.couplings)]
        context_dim = config.hidden[-1]
        self._from_kept = [np.ascontiguousarray(layer.weight[context_dim:]) for layer in first]
        self._from_context = Linear(
            np.concatenate([layer.weight[:context_dim] for layer in first], axis=1),
            np.concatenate([layer.bias for layer in first]),
        )

    def noise_to_latent(self, noise: Float32Array, features: Float32Array) -> Float32Array:
        """See :class:`NumpyPrior`."""
        from_context = self._from_context(leaky_relu(self._context(features)))
        halves = [noise[..., : self._half], noise[..., self._half :]]
        width = from_context.shape[-1] // len(self._last)
        for index, (from_kept, last) in enumerate(zip(self._from_kept, self._last, strict=True)):
            kept, changed = index % 2, 1 - index % 2
            hidden = from_context[..., index * width : (index + 1) * width] + np.matmul(halves[kept], from_kept)
            output = last(leaky_relu(hidden))
            size = output.shape[-1] // 2
            scale = np.exp(soft_limit(output[..., :size], self._log_scale_limit))
            halves[changed] = halves[changed] * scale + output[..., size:]
        return np.concatenate(halves, axis=-1)


NUMPY_PRIORS: dict[str, type[NumpyFlowPrior] | type[NumpyGaussianPrior]] = {
    "flow": NumpyFlowPrior,
    "gaussian": NumpyGaussianPrior,
}


def build_numpy_prior(config: PriorConfig, latent_dim: int, weights: Weights, name: str) -> NumpyPrior:
    """Create the configured prior, with the weights stored under ``name``."""
    return NUMPY_PRIORS[config.kind](config, latent_dim, weights, name)

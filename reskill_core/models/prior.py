"""Base class of skill priors p(z | observation) of ReSkill's model.

Given the observation, a prior is an invertible map between a latent z and noise n ~ N(0, I). Agents act in the noise
space, where the prior is a standard normal. A new prior is a subclass, its name in
:data:`reskill_core.models.priors.PRIORS` and in ``PriorConfig.kind``, and its numpy implementation in
:mod:`reskill_core.runtime.priors`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from reskill_core.models.config import PriorConfig
from reskill_core.models.distributions import NoiseMappedDistribution


class SkillPrior(ABC, nn.Module):
    """Invertible map between latents and noise, conditioned on normalised features.

    Shapes: latent and noise (B, Z), features (B, F) of a skill's first observation.
    """

    def __init__(self, config: PriorConfig, feature_dim: int, latent_dim: int) -> None:
        super().__init__()
        self.config = config
        self.feature_dim = feature_dim
        self.latent_dim = latent_dim

    @abstractmethod
    def latent_to_noise(self, latent: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map latents to noise (B, Z); also returns log |det d noise / d latent| (B,)."""

    @abstractmethod
    def noise_to_latent(self, noise: Tensor, features: Tensor) -> Tensor:
        """Map noise to latents (B, Z), the exact inverse of :meth:`latent_to_noise`."""

    def at(self, features: Tensor) -> NoiseMappedDistribution:
        """Return the distribution at features (B, F)."""
        return _PriorAt(self, features)


class _PriorAt(NoiseMappedDistribution):
    """Distribution of a prior at given features."""

    def __init__(self, prior: SkillPrior, features: Tensor) -> None:
        self._prior, self._features = prior, features

    @property
    def shape(self) -> tuple[int, int]:
        return len(self._features), self._prior.latent_dim

    @property
    def device(self) -> torch.device:
        return self._features.device

    def to_noise(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        return self._prior.latent_to_noise(latent, self._features)

    def from_noise(self, noise: Tensor) -> Tensor:
        return self._prior.noise_to_latent(noise, self._features)

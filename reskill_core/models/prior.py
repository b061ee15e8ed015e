"""Skill priors p(z | observation) of ReSkill's model: what they have in common.

They are invertible maps, given the observation, between a latent z and noise n with n ~ N(0, I). That is what an agent
needs that acts in the noise space, where a standard normal is the prior. A new one is one subclass, its name in
:data:`reskill_core.models.priors.PRIORS` and in ``PriorConfig.kind``, and its twin in
:mod:`reskill_core.runtime.priors`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from reskill_core.models.config import PriorConfig
from reskill_core.models.distributions import NoiseMappedDistribution


class SkillPrior(ABC, nn.Module):
    """Invertible map between latents and noise, conditioned on normalised features.

    Shapes: latent and noise (B, Z), features (B, F) of the observation at which the skill starts.
    """

    def __init__(self, config: PriorConfig, feature_dim: int, latent_dim: int) -> None:
        super().__init__()
        self.config = config
        self.feature_dim = feature_dim
        self.latent_dim = latent_dim

    @abstractmethod
    def latent_to_noise(self, latent: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Noise (B, Z) that a latent corresponds to, and log |det d noise / d latent| (B,)."""

    @abstractmethod
    def noise_to_latent(self, noise: Tensor, features: Tensor) -> Tensor:
        """Exact inverse of :meth:`latent_to_noise`: (B, Z)."""

    def at(self, features: Tensor) -> NoiseMappedDistribution:
        """The distribution at features (B, F)."""
        return _PriorAt(self, features)


class _PriorAt(NoiseMappedDistribution):
    """A prior at features."""

    def __init__(self, prior: SkillPrior, features: Tensor) -> None:
        self._prior, self._features = prior, features

    @property
    def shape(self) -> tuple[int, int]:
        return len(self._features), self._prior.latent_dim

    def to_noise(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        return self._prior.latent_to_noise(latent, self._features)

    def from_noise(self, noise: Tensor) -> Tensor:
        return self._prior.noise_to_latent(noise, self._features)

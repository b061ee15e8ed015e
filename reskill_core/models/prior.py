"""Skill priors p(z | observation): what they have in common.

A prior is an invertible map, given the observation, between a latent z and noise n with n ~ N(0, I). That is all an
agent needs: it acts in the noise space, where a standard normal is the prior. A new prior is one subclass, its numpy
twin in :mod:`reskill_core.runtime.priors`, and its name in the registries beside both and in ``PriorConfig.kind``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from reskill_core.models.config import PriorConfig
from reskill_core.models.networks import standard_normal_log_prob


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

    def log_prob(self, latent: Tensor, features: Tensor) -> Tensor:
        """Log density (B,) of latents, by change of variables."""
        noise, log_det = self.latent_to_noise(latent, features)
        return standard_normal_log_prob(noise) + log_det

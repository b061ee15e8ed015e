"""Distributions over latents: posteriors of windows, and skill priors at observations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from reskill_core.models.networks import standard_normal_log_prob


class SkillDistribution(ABC):
    """Batch of B distributions over latents (B, Z)."""

    @abstractmethod
    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Sample latents (B, Z), differentiable if the distribution allows it."""

    @abstractmethod
    def log_prob(self, latent: Tensor) -> Tensor:
        """Log density (B,) of latents (B, Z) [nats]."""

    def kl(self, other: SkillDistribution, generator: torch.Generator | None = None) -> Tensor:
        """KL(self || other) (B,) [nats]; estimated from one sample if there is no closed form."""
        latent = self.sample(generator)
        return self.log_prob(latent) - other.log_prob(latent)


@runtime_checkable
class NoiseMapped(Protocol):
    """Distribution defined by an invertible map from noise n ~ N(0, I), such as flows and Gaussians.

    An agent may act in its noise space, where the distribution is N(0, I).
    """

    def to_noise(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Map latents to noise (B, Z); also returns log |det d noise / d latent| (B,)."""

    def from_noise(self, noise: Tensor) -> Tensor:
        """Map noise to latents (B, Z), the exact inverse of :meth:`to_noise`."""


class NoiseMappedDistribution(SkillDistribution):
    """Base class of noise-mapped distributions: density by change of variables, samples from N(0, I) noise."""

    @abstractmethod
    def to_noise(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`NoiseMapped`."""

    @abstractmethod
    def from_noise(self, noise: Tensor) -> Tensor:
        """See :class:`NoiseMapped`."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(B, Z)."""

    @property
    def device(self) -> torch.device:
        """Device of its parameters; random numbers are drawn on the CPU, so that they do not depend on it."""
        return torch.device("cpu")

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """See :class:`SkillDistribution`."""
        return self.from_noise(torch.randn(self.shape, generator=generator).to(self.device))

    def mode(self) -> Tensor:
        """Return the latents (B, Z) of zero noise."""
        return self.from_noise(torch.zeros(self.shape, device=self.device))

    def log_prob(self, latent: Tensor) -> Tensor:
        """See :class:`SkillDistribution`."""
        noise, log_det = self.to_noise(latent)
        return standard_normal_log_prob(noise) + log_det


class DiagonalGaussian(NoiseMappedDistribution):
    """Diagonal Gaussian N(mean, diag(std^2)), as the affine map z = mean + std * n.

    Args:
        mean: (B, Z).
        log_std: (B, Z).
    """

    def __init__(self, mean: Tensor, log_std: Tensor) -> None:
        self.mean, self.log_std = mean, log_std

    @property
    def shape(self) -> tuple[int, int]:
        """(B, Z)."""
        return self.mean.shape[0], self.mean.shape[1]

    @property
    def device(self) -> torch.device:
        """Device of the mean."""
        return self.mean.device

    def to_noise(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`NoiseMapped`."""
        return (latent - self.mean) * torch.exp(-self.log_std), -self.log_std.sum(dim=-1)

    def from_noise(self, noise: Tensor) -> Tensor:
        """See :class:`NoiseMapped`."""
        return self.mean + torch.exp(self.log_std) * noise

    def kl(self, other: SkillDistribution, generator: torch.Generator | None = None) -> Tensor:
        """See :class:`SkillDistribution`; closed form against another Gaussian."""
        if not isinstance(other, DiagonalGaussian):
            return super().kl(other, generator)
        scaled = (self.mean - other.mean) * torch.exp(-other.log_std)
        log_ratio = self.log_std - other.log_std
        return 0.5 * (scaled.square() + torch.exp(2 * log_ratio) - 1 - 2 * log_ratio).sum(dim=-1)

    def kl_to_standard_normal(self) -> Tensor:
        """KL(self || N(0, I)) (B,) [nats]."""
        return 0.5 * (self.mean.square() + torch.exp(2 * self.log_std) - 1 - 2 * self.log_std).sum(dim=-1)

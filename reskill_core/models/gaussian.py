"""Gaussian skill prior: a diagonal normal with mean and scale conditioned on the observation."""

from __future__ import annotations

from torch import Tensor

from reskill_core.models.config import PriorConfig
from reskill_core.models.distributions import DiagonalGaussian
from reskill_core.models.networks import Mlp, soft_limit
from reskill_core.models.prior import SkillPrior


class GaussianPrior(SkillPrior):
    """Prior p(z | features) = N(mean, diag(std^2)). Initialised to N(0, I)."""

    def __init__(self, config: PriorConfig, feature_dim: int, latent_dim: int) -> None:
        super().__init__(config, feature_dim, latent_dim)
        self.net = Mlp((feature_dim, *config.hidden, 2 * latent_dim), zero_last=True)

    def at(self, features: Tensor) -> DiagonalGaussian:
        """See :class:`SkillPrior`."""
        mean, log_std = self.net(features).chunk(2, dim=-1)
        return DiagonalGaussian(mean, soft_limit(log_std, self.config.log_scale_limit))

    def latent_to_noise(self, latent: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`SkillPrior`."""
        return self.at(features).to_noise(latent)

    def noise_to_latent(self, noise: Tensor, features: Tensor) -> Tensor:
        """See :class:`SkillPrior`."""
        return self.at(features).from_noise(noise)

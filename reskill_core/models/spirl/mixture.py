"""Mixture prior: a mixture density network over latents."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from reskill_core.models.distributions import SkillDistribution
from reskill_core.models.networks import Mlp, soft_limit
from reskill_core.models.spirl.config import SpirlPriorConfig


class GaussianMixture(SkillDistribution):
    """Batch of mixtures of K diagonal Gaussians.

    Args:
        logits: (B, K) logarithms of the weights, up to a constant.
        mean: (B, K, Z).
        log_std: (B, K, Z).
    """

    def __init__(self, logits: Tensor, mean: Tensor, log_std: Tensor) -> None:
        self.log_weight, self.mean, self.log_std = torch.log_softmax(logits, dim=-1), mean, log_std

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Sample latents (B, Z); differentiable in means and deviations, not in the weights."""
        # Random numbers are drawn on the CPU, so that they do not depend on the device.
        component = torch.multinomial(self.log_weight.detach().exp().cpu(), 1, generator=generator)
        noise = torch.randn(self.mean.shape[0], self.mean.shape[2], generator=generator)
        mean, log_std = (self._of(part, component) for part in (self.mean, self.log_std))
        return mean + torch.exp(log_std) * noise.to(mean.device)

    def log_prob(self, latent: Tensor) -> Tensor:
        """See :class:`SkillDistribution`."""
        scaled = (latent[:, None] - self.mean) * torch.exp(-self.log_std)
        each = -0.5 * (scaled.square() + math.log(2 * math.pi)).sum(dim=-1) - self.log_std.sum(dim=-1)
        return torch.logsumexp(self.log_weight + each, dim=-1)

    def mode(self) -> Tensor:
        """Return the mean (B, Z) of the heaviest component."""
        return self._of(self.mean, self.log_weight.argmax(dim=-1, keepdim=True))

    @staticmethod
    def _of(values: Tensor, component: Tensor) -> Tensor:
        """Select (B, Z) of the component (B, 1) in (B, K, Z)."""
        index = component.to(values.device)[..., None].expand(-1, 1, values.shape[-1])
        return values.gather(1, index)[:, 0]


class MixturePrior(nn.Module):
    """Prior p(z | features) = sum_k w_k N(mean_k, diag(std_k^2)).

    Initialised to components of unit variance around means drawn from N(0, I): equal ones would stay equal.
    """

    def __init__(self, config: SpirlPriorConfig, feature_dim: int, latent_dim: int) -> None:
        super().__init__()
        self._limit, self._sizes = config.log_scale_limit, (config.components, latent_dim)
        self.net = Mlp((feature_dim, *config.hidden, config.components * (1 + 2 * latent_dim)), zero_last=True)
        with torch.no_grad():
            last = self.net.linear[-1]
            assert isinstance(last, nn.Linear)
            means = last.bias[config.components : config.components * (1 + latent_dim)]
            means.copy_(torch.randn_like(means))

    def at(self, features: Tensor) -> GaussianMixture:
        """Return the distribution at features (B, F)."""
        count, latent = self._sizes
        logits, mean, log_std = self.net(features).split((count, count * latent, count * latent), dim=-1)
        return GaussianMixture(
            logits,
            mean.unflatten(-1, self._sizes),
            soft_limit(log_std.unflatten(-1, self._sizes), self._limit),
        )

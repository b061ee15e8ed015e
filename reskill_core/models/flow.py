"""Flow skill prior: conditional affine couplings (RealNVP) between latents and noise."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from reskill_core.models.config import LEAKY_SLOPE, PriorConfig
from reskill_core.models.networks import Mlp, soft_limit, zero_linear
from reskill_core.models.prior import SkillPrior


class Coupling(nn.Module):
    """Scale and shift of one half of the latent, from the other half and the context. Initialised to the identity."""

    def __init__(self, kept: int, changed: int, context_dim: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Linear(context_dim + kept, hidden)
        self.last = nn.Linear(hidden, 2 * changed)
        zero_linear(self.last)

    def forward(self, kept: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Unbounded log-scale and shift, each (B, changed)."""
        hidden = functional.leaky_relu(self.first(torch.cat((context, kept), dim=-1)), LEAKY_SLOPE)
        log_scale, shift = self.last(hidden).chunk(2, dim=-1)
        return log_scale, shift


class FlowPrior(SkillPrior):
    """Flow of couplings that change alternating halves of the latent. Initialised to N(0, I).

    From noise to latent, coupling k maps ``changed -> changed * exp(s) + t``, with ``s`` bounded smoothly by
    ``log_scale_limit``, so that neither direction can overflow. All couplings share one context vector of the
    observation, so evaluating the flow takes little longer than evaluating the context.
    """

    def __init__(self, config: PriorConfig, feature_dim: int, latent_dim: int) -> None:
        super().__init__(config, feature_dim, latent_dim)
        self.halves = (latent_dim // 2, latent_dim - latent_dim // 2)
        self.context = Mlp((feature_dim, *config.hidden))
        sizes = [self.halves[:: 1 if index % 2 == 0 else -1] for index in range(config.couplings)]
        self.couplings = nn.ModuleList(
            Coupling(kept, changed, config.hidden[-1], config.coupling_hidden) for kept, changed in sizes
        )

    def latent_to_noise(self, latent: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`SkillPrior`."""
        context = self._context(features)
        log_det = latent.new_zeros(latent.shape[0])
        halves = list(latent.split(self.halves, dim=-1))
        for index, coupling in reversed(list(enumerate(self.couplings))):
            kept, changed = index % 2, 1 - index % 2
            log_scale, shift = coupling(halves[kept], context)
            log_scale = soft_limit(log_scale, self.config.log_scale_limit)
            halves[changed] = (halves[changed] - shift) * torch.exp(-log_scale)
            log_det = log_det - log_scale.sum(dim=-1)
        return torch.cat(halves, dim=-1), log_det

    def noise_to_latent(self, noise: Tensor, features: Tensor) -> Tensor:
        """See :class:`SkillPrior`."""
        context = self._context(features)
        halves = list(noise.split(self.halves, dim=-1))
        for index, coupling in enumerate(self.couplings):
            kept, changed = index % 2, 1 - index % 2
            log_scale, shift = coupling(halves[kept], context)
            halves[changed] = halves[changed] * torch.exp(soft_limit(log_scale, self.config.log_scale_limit)) + shift
        return torch.cat(halves, dim=-1)

    def _context(self, features: Tensor) -> Tensor:
        return functional.leaky_relu(self.context(features), LEAKY_SLOPE)

"""Learnt priors of SPiRL's models: one or several of a kind, over the features that they see."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from reskill_core.models.distributions import NoiseMappedDistribution
from reskill_core.models.prior import SkillPrior
from reskill_core.models.priors import PRIORS
from reskill_core.models.selection import Selection
from reskill_core.models.spirl.config import SpirlPriorConfig
from reskill_core.models.spirl.mixture import GaussianMixture, MixturePrior

_KINDS: dict[str, Callable[..., nn.Module]] = {**PRIORS, "mixture": MixturePrior}


class LearntPrior(nn.Module):
    """Prior over latents at features, by an ensemble of one or more networks; the first one acts.

    Args:
        config: hyper-parameters.
        seen: columns of the features that it sees.
        latent_dim: length Z of the latent.
    """

    def __init__(self, config: SpirlPriorConfig, seen: Selection, latent_dim: int) -> None:
        super().__init__()
        self._seen = seen
        self.members = nn.ModuleList(_KINDS[config.kind](config, seen.dim, latent_dim) for _ in range(config.ensemble))

    def at(self, features: Tensor) -> NoiseMappedDistribution | GaussianMixture:
        """Return the distribution at features (B, F)."""
        return self._at(0, self._seen(features))

    def nll(self, features: Tensor, latent: Tensor) -> Tensor:
        """Mean negative log likelihood of latents (B, Z) at features (B, F), each under the member whose share it is.

        The rows are dealt to the members in turn.
        """
        seen, count = self._seen(features), len(self.members)
        shares = [self._at(member, seen[member::count]).log_prob(latent[member::count]) for member in range(count)]
        return -torch.cat(shares).mean()

    def disagreement(self, features: Tensor) -> Tensor:
        """Mean KL divergence between two members at features (B, F) [nats], from one sample without a closed form."""
        seen, generator = self._seen(features), torch.Generator().manual_seed(0)
        distributions = [self._at(member, seen) for member in range(len(self.members))]
        pairs = itertools.permutations(distributions, 2)
        return torch.stack([one.kl(other, generator).mean() for one, other in pairs]).mean()

    def _at(self, member: int, seen: Tensor) -> NoiseMappedDistribution | GaussianMixture:
        prior = self.members[member]
        assert isinstance(prior, (SkillPrior, MixturePrior))
        return prior.at(seen)

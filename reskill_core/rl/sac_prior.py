"""Prior of a skill model in torch, as a policy over latents and as the reference of a divergence."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from torch import Tensor

from reskill_core.arrays import Float32Array
from reskill_core.models.distributions import DiagonalGaussian, NoiseMapped, SkillDistribution
from reskill_core.rl.actor import Decision
from reskill_core.rl.sac_learner import device_of
from reskill_core.runtime.skill_module import SkillModule


class SkillModelPrior:
    """Skill prior p(z | features) over latents; also an :class:`~reskill_core.rl.actor.Actor`.

    Args:
        skills: skill module.
        device: device of the updates.

    Attributes:
        dim: length Z of a latent.
        is_gaussian: whether it is a diagonal Gaussian, which is known by its moments.
    """

    def __init__(self, skills: SkillModule, device: str = "cpu") -> None:
        # One acts, the other one takes part in updates.
        self._model = deepcopy(skills.torch_model).requires_grad_(False)
        self._reference = deepcopy(self._model).to(device_of(device))
        self.dim = skills.latent_dim
        self.is_gaussian = isinstance(self._model.prior_of(torch.zeros((1, self._model.feature_dim))), DiagonalGaussian)

    def __call__(self, features: Tensor) -> SkillDistribution:
        """Return the priors at features (B, F) on the device of the updates."""
        return self._reference.prior_of(features)

    def moments(self, features: Float32Array) -> Float32Array:
        """Compute mean and log standard deviation (B, 2 Z) of a Gaussian prior."""
        with torch.no_grad():
            prior = self._model.prior_of(torch.from_numpy(features))
        assert isinstance(prior, DiagonalGaussian)
        return torch.cat((prior.mean, prior.log_std), dim=-1).numpy()

    def act(self, inputs: Float32Array, draws: Float32Array | None = None) -> Decision:
        """Sample the prior; see :class:`~reskill_core.rl.actor.Actor`.

        Without draws, the noise is 0. If the prior is no map from noise, the draws seed a generator.
        """
        noise = np.zeros((len(inputs), self.dim), np.float32) if draws is None else draws
        with torch.no_grad():
            prior = self._model.prior_of(torch.from_numpy(inputs.reshape(len(inputs), -1)))
            if isinstance(prior, NoiseMapped):
                return Decision(prior.from_noise(torch.from_numpy(noise)).numpy(), None)
            seed = int.from_bytes(noise.tobytes()[:8], "little") >> 1
            return Decision(prior.sample(torch.Generator().manual_seed(seed)).numpy(), None)

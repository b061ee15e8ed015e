"""Flat prior: a prior over single actions, which is behaviour cloning, as a skill model of horizon 1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from reskill_core.errors import ConfigError
from reskill_core.models.distributions import DiagonalGaussian
from reskill_core.models.features import FeatureMap
from reskill_core.models.networks import standard_normal_log_prob
from reskill_core.models.observations import Inputs
from reskill_core.models.skill_model import SkillDecoder
from reskill_core.models.spirl.conditioned import ConditionedModel, Names
from reskill_core.models.spirl.config import FlatConfig
from reskill_core.models.spirl.model import SpirlLosses
from reskill_core.spec import TaskSpec

# Standard deviation of the posterior around an action: densities of labels that repeat exactly remain finite.
_STD = 0.01


@dataclass(frozen=True)
class FlatLosses(SpirlLosses):
    """Loss terms of the flat prior: the likelihood of actions alone counts; errors are those of its most likely one."""

    def vae(self, beta: float) -> Tensor:
        """Negative log likelihood, with the loss of pictures; it selects the best checkpoint."""
        return self.prior_nll if self.image_loss is None else self.prior_nll + self.image_loss

    def total(self, beta: float) -> Tensor:
        """Training loss."""
        return self.vae(beta)


class ClippedAction(nn.Module, SkillDecoder):
    """Decoder of latents that are actions: limits them to [-1, 1], where labels are."""

    def __init__(self, action_dim: int) -> None:
        super().__init__()
        self._action_dim = action_dim

    @property
    def state_dim(self) -> int:
        """See :class:`SkillDecoder`."""
        return self._action_dim

    def begin(self, features: Tensor, latent: Tensor) -> Tensor:
        """See :class:`SkillDecoder`."""
        return latent

    def act(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`SkillDecoder`."""
        return state.clamp(-1.0, 1.0), state


class FlatModel(ConditionedModel):
    """Prior over single actions.

    Raises:
        ConfigError: ``latent_dim`` is not the number of action components.
    """

    config: FlatConfig

    def __init__(self, config: FlatConfig, features: FeatureMap, task: TaskSpec) -> None:
        if config.latent_dim not in (0, task.action.dim):
            raise ConfigError(
                f"latent_dim: latents of kind 'flat' are actions, which have {task.action.dim} components, "
                f"got {config.latent_dim}; 0 takes their number from the task"
            )
        super().__init__(replace(config, latent_dim=task.action.dim), features, task)
        self.decoder = ClippedAction(task.action.dim)

    def _skill_inputs(self) -> Mapping[str, Names]:
        return {}

    @property
    def image_steps(self) -> int:
        """See :class:`SkillModel`."""
        return 1

    def posterior_of(self, features: Tensor, action: Tensor) -> DiagonalGaussian:
        """Return the actions, with a little variance."""
        return DiagonalGaussian(action[:, 0], torch.full_like(action[:, 0], math.log(_STD)))

    def losses(
        self, observation: Inputs, action: Tensor, noise: Tensor, decoded: tuple[Inputs, Tensor] | None = None
    ) -> FlatLosses:
        """See :class:`SkillModel`; the prior is all that decides here, and learns from what a decoder would."""
        observation, action = decoded or (observation, action)
        self._require_windows(observation, action)
        first = self.window_features(observation)[1]
        latent = self.posterior_of(first, action).from_noise(noise)
        likely = self.decoder.act(first, self.prior_of(first).mode())[0]
        squared_error = (likely - action[:, 0]).square()
        return FlatLosses(
            reconstruction=0.5 * squared_error.sum(dim=1).mean(),
            kl=torch.zeros(()),
            prior_nll=self.prior_nll(first, latent),
            normal_nll=-standard_normal_log_prob(latent).mean(),
            action_mse=squared_error.mean(),
            **self._further_losses(observation, first),
        )

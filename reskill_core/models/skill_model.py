"""The interface of skill models, in torch: what trainer, evaluation and export know of a model, whatever is in it.

A skill model has four parts over the same features of an observation: the posterior q(z | window), the skill prior
p(z | observation), the decoder, which turns a skill into actions, and the features themselves. A new one is a subclass
of :class:`SkillModel` with a configuration, and a line in :data:`reskill_core.models.registry.SKILL_MODELS`.

Observations are tensors (..., O) where the task has no images, else mappings of ``vector`` and the names of its images
to tensors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from reskill_core.models.config import SkillModelConfig
from reskill_core.models.distributions import DiagonalGaussian, SkillDistribution
from reskill_core.models.networks import require_shape, standard_normal_log_prob
from reskill_core.models.observations import Inputs, vector_of
from reskill_core.spec import TaskSpec

ModelT = TypeVar("ModelT", bound="SkillModel")


@dataclass(frozen=True)
class SkillLosses:
    """Loss terms of a batch of windows, each a mean over the batch; each field is a metric of that name.

    Attributes:
        reconstruction: half the squared action error, summed over the window and the action.
        kl: KL(q(z | window) || N(0, I)) [nats], summed over the latent.
        prior_nll: -log p(z | first observation) of a posterior sample [nats]; its gradient stays in the prior.
        normal_nll: -log N(z; 0, I) of the same sample [nats]: what the prior has to beat.
        action_mse: squared error per action component.
    """

    reconstruction: Tensor
    kl: Tensor
    prior_nll: Tensor
    normal_nll: Tensor
    action_mse: Tensor

    def total(self, beta: float) -> Tensor:
        """What training minimises: ``reconstruction + beta * kl + prior_nll``."""
        return self.vae(beta) + self.prior_nll

    def vae(self, beta: float) -> Tensor:
        """``reconstruction + beta * kl``, in the units in which beta is quoted throughout; chooses the checkpoint."""
        return self.reconstruction + beta * self.kl


class SkillDecoder(ABC):
    """The decoder of a skill, step by step; also a :class:`torch.nn.Module`.

    What it remembers from one control step to the next is its state, a vector for each skill that runs: the latent of a
    closed-loop decoder, the actions still to come of an open-loop one, the hidden layers of a recurrent one.
    Shapes: features (B, F) of the observation now, latent (B, Z), state (B, S), action (B, A) in [-1, 1].
    """

    @property
    @abstractmethod
    def state_dim(self) -> int:
        """Length S of the state."""

    @abstractmethod
    def begin(self, features: Tensor, latent: Tensor) -> Tensor:
        """State (B, S) in which skills start at an observation."""

    @abstractmethod
    def act(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Action (B, A) of one control step, and the state after it."""

    def window(self, features: Tensor, latent: Tensor) -> Tensor:
        """Actions (B, H, A) at the features (B, H, F) of whole windows, as training needs them."""
        state, actions = self.begin(features[:, 0], latent), []
        for step in range(features.shape[1]):
            action, state = self.act(features[:, step], state)
            actions.append(action)
        return torch.stack(actions, dim=1)


class SkillModel(ABC, nn.Module):
    """Features, posterior, decoder and skill prior of one kind.

    Args:
        config: sizes and kinds.
        task: whose observations and actions it is for.

    Attributes:
        decoder: see :class:`SkillDecoder`.
    """

    decoder: SkillDecoder

    def __init__(self, config: SkillModelConfig, task: TaskSpec) -> None:
        super().__init__()
        self.config = config
        self.obs_dim, self.action_dim = task.obs.dim, task.action.dim

    @classmethod
    @abstractmethod
    def fitted(cls: type[ModelT], config: Any, task: TaskSpec, vectors: Any) -> ModelT:
        """A model that has learnt nothing yet.

        Args:
            config: of the class that its kind names.
            task: whose observations and actions it is for.
            vectors: (N, O) float32 vectors of all observations that it will learn from, to normalise by.

        Raises:
            ConfigError: the configuration does not fit the task.
        """

    @classmethod
    @abstractmethod
    def restored(cls: type[ModelT], config: Any, task: TaskSpec, normaliser: Mapping[str, Any]) -> ModelT:
        """A model whose parameters and buffers are loaded next.

        Args:
            config: of the class that its kind names.
            task: whose observations and actions it is for.
            normaliser: what :meth:`normaliser` gave.
        """

    def normaliser(self) -> dict[str, Any]:
        """Constants that are no parameters or buffers, ready for JSON; none by default."""
        return {}

    @property
    @abstractmethod
    def feature_dim(self) -> int:
        """Length F of the features."""

    @abstractmethod
    def features(self, observation: Inputs) -> Tensor:
        """Network inputs (..., F) of observations: what posterior, prior and decoder see, and agents."""

    @abstractmethod
    def posterior_of(self, features: Tensor, action: Tensor) -> DiagonalGaussian:
        """q(z | window) of windows: features (B, H, F), actions (B, H, A)."""

    @abstractmethod
    def prior_of(self, features: Tensor) -> SkillDistribution:
        """p(z | observation) at features (B, F).

        Agents that act in the noise space of the prior need one that is
        :class:`~reskill_core.models.distributions.NoiseMapped`.
        """

    def prior_parameters(self) -> list[nn.Parameter]:
        """Parameters that learn at the prior's rate, and are limited apart from the others; may be none."""
        return [parameter for name, parameter in self.named_parameters() if name.startswith("prior.")]

    def posterior(self, observation: Inputs, action: Tensor) -> DiagonalGaussian:
        """q(z | window) of windows (B, H, O) and (B, H, A).

        Raises:
            SpecError: a shape is wrong.
        """
        self._require_windows(observation, action)
        return self.posterior_of(self.features(observation), action)

    def decode(self, observation: Inputs, latent: Tensor) -> Tensor:
        """First actions (B, A) of skills (B, Z) that start at observations (B, O).

        Raises:
            SpecError: a shape is wrong.
        """
        vector = vector_of(observation)
        require_shape("observation", vector, None, self.obs_dim)
        require_shape("latent", latent, vector.shape[0], self.config.latent_dim)
        features = self.features(observation)
        return self.decoder.act(features, self.decoder.begin(features, latent))[0]

    def losses(self, observation: Inputs, action: Tensor, noise: Tensor) -> SkillLosses:
        """Loss terms of windows.

        Args:
            observation: (B, H, O).
            action: (B, H, A) labels in [-1, 1].
            noise: (B, Z) standard normal, by which the posterior is sampled; zeros take its mean.

        Raises:
            SpecError: a shape is wrong.
        """
        self._require_windows(observation, action)
        require_shape("noise", noise, action.shape[0], self.config.latent_dim)
        features = self.features(observation)
        posterior = self.posterior_of(features, action)
        latent = posterior.from_noise(noise)
        squared_error = (self.decoder.window(features, latent) - action).square()
        # The prior learns to follow the posterior; the posterior does not move towards the prior.
        sample = latent.detach()
        return SkillLosses(
            reconstruction=0.5 * squared_error.sum(dim=(1, 2)).mean(),
            kl=posterior.kl_to_standard_normal().mean(),
            prior_nll=-self.prior_of(features[:, 0]).log_prob(sample).mean(),
            normal_nll=-standard_normal_log_prob(sample).mean(),
            action_mse=squared_error.mean(),
        )

    def _require_windows(self, observation: Inputs, action: Tensor) -> None:
        vector = vector_of(observation)
        require_shape("observation window", vector, None, self.config.horizon, self.obs_dim)
        require_shape("action window", action, vector.shape[0], self.config.horizon, self.action_dim)

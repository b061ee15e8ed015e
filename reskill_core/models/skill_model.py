"""Interface of skill models in torch, as used by trainer, evaluation and export.

A skill model has four parts: features of observations, and, on top of them, the posterior q(z | window), the skill
prior p(z | observation) and the decoder, which maps a skill to actions. A new model is a subclass of
:class:`SkillModel` with a configuration, and a line in :data:`reskill_core.models.registry.SKILL_MODELS`.

Observations are tensors (..., O); for tasks with images they are mappings of ``vector`` and image names to tensors.
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
from reskill_core.models.feature_columns import Columns, plain_columns
from reskill_core.models.networks import require_shape, standard_normal_log_prob
from reskill_core.models.observations import Inputs, vector_of
from reskill_core.spec import TaskSpec

ModelT = TypeVar("ModelT", bound="SkillModel")


@dataclass(frozen=True)
class SkillLosses:
    """Loss terms of a batch of windows, each a mean over the batch and a metric of that name.

    Attributes:
        reconstruction: half the squared action error, summed over the window and the action.
        kl: KL(q(z | window) || N(0, I)) [nats], summed over the latent.
        prior_nll: -log p(z | first observation) of a posterior sample [nats]; the gradient is stopped at the sample.
        normal_nll: -log N(z; 0, I) of the same sample [nats], the baseline of the prior.
        action_mse: squared error per action component.
    """

    reconstruction: Tensor
    kl: Tensor
    prior_nll: Tensor
    normal_nll: Tensor
    action_mse: Tensor

    def total(self, beta: float) -> Tensor:
        """Training loss ``reconstruction + beta * kl + prior_nll``."""
        return self.vae(beta) + self.prior_nll

    def vae(self, beta: float) -> Tensor:
        """VAE loss ``reconstruction + beta * kl``, in the convention of beta; it selects the best checkpoint."""
        return self.reconstruction + beta * self.kl


class SkillDecoder(ABC):
    """Step-wise decoder of skills; also a :class:`torch.nn.Module`.

    Its state, one vector per running skill, is kept between control steps: the latent of a closed-loop decoder, the
    remaining actions of an open-loop decoder, the hidden state of a recurrent decoder.
    Shapes: features (B, F) of the current observation, latent (B, Z), state (B, S), action (B, A) in [-1, 1].
    """

    @property
    @abstractmethod
    def state_dim(self) -> int:
        """Length S of the state."""

    @abstractmethod
    def begin(self, features: Tensor, latent: Tensor) -> Tensor:
        """Return the initial state (B, S) of skills at their first observation."""

    @abstractmethod
    def act(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the action (B, A) of one control step, and the next state."""

    def window(self, features: Tensor, latent: Tensor) -> Tensor:
        """Decode actions (B, H, A) at the features (B, H, F) of whole windows, for training."""
        state, actions = self.begin(features[:, 0], latent), []
        for step in range(features.shape[1]):
            action, state = self.act(features[:, step], state)
            actions.append(action)
        return torch.stack(actions, dim=1)


class SkillModel(ABC, nn.Module):
    """Skill model: features, posterior, decoder and skill prior.

    Args:
        config: hyper-parameters.
        task: task with the layouts of observations and actions.

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
        """Create an untrained model.

        Args:
            config: hyper-parameters, of the kind's configuration class.
            task: task with the layouts of observations and actions.
            vectors: (N, O) float32 vectors of all training observations, for normalisation.

        Raises:
            ConfigError: the configuration does not fit the task.
        """

    @classmethod
    @abstractmethod
    def restored(cls: type[ModelT], config: Any, task: TaskSpec, normaliser: Mapping[str, Any]) -> ModelT:
        """Create a model for loading parameters and buffers.

        Args:
            config: hyper-parameters, of the kind's configuration class.
            task: task with the layouts of observations and actions.
            normaliser: saved result of :meth:`normaliser`.
        """

    def normaliser(self) -> dict[str, Any]:
        """Return constants other than parameters and buffers, ready for JSON; none by default."""
        return {}

    @property
    @abstractmethod
    def feature_dim(self) -> int:
        """Length F of the features."""

    @property
    def feature_columns(self) -> Columns:
        """Columns of the features by part of the observation: the vector, images; all are the vector's by default."""
        return plain_columns(self.feature_dim)

    @property
    def image_steps(self) -> int:
        """Leading steps of a window whose images :meth:`losses` needs: all by default, or only the first one."""
        return self.config.horizon

    @abstractmethod
    def features(self, observation: Inputs) -> Tensor:
        """Compute features (..., F) of observations, the inputs of posterior, prior, decoder and agents."""

    @abstractmethod
    def posterior_of(self, features: Tensor, action: Tensor) -> DiagonalGaussian:
        """Compute q(z | window) of windows: features (B, H, F), actions (B, H, A)."""

    @abstractmethod
    def prior_of(self, features: Tensor) -> SkillDistribution:
        """Compute p(z | observation) at features (B, F).

        Agents that act in the noise space of the prior need a
        :class:`~reskill_core.models.distributions.NoiseMapped` one.
        """

    def window_features(self, observation: Inputs) -> tuple[Tensor, Tensor]:
        """Compute features of windows for posterior and decoder (B, H, F), and of first observations (B, F).

        A model may omit from the former what neither of the two sees. Images may lack all steps after the first
        :attr:`image_steps`.
        """
        features = self.features(observation)
        return features, features[:, 0]

    def prior_nll(self, features: Tensor, latent: Tensor) -> Tensor:
        """Compute the mean negative log likelihood of latents (B, Z) under the prior at features (B, F) [nats]."""
        return -self.prior_of(features).log_prob(latent).mean()

    def prior_parameters(self) -> list[nn.Parameter]:
        """Return parameters with the prior's learning rate and separate gradient clipping; may be empty."""
        return [parameter for name, parameter in self.named_parameters() if name.startswith("prior.")]

    def posterior(self, observation: Inputs, action: Tensor) -> DiagonalGaussian:
        """Compute q(z | window) of windows (B, H, O) and (B, H, A).

        Raises:
            SpecError: a shape is wrong.
        """
        self._require_windows(observation, action)
        return self.posterior_of(self.window_features(observation)[0], action)

    def decode(self, observation: Inputs, latent: Tensor) -> Tensor:
        """Decode the first actions (B, A) of skills (B, Z) that start at observations (B, O).

        Raises:
            SpecError: a shape is wrong.
        """
        vector = vector_of(observation)
        require_shape("observation", vector, None, self.obs_dim)
        require_shape("latent", latent, vector.shape[0], self.config.latent_dim)
        features = self.features(observation)
        return self.decoder.act(features, self.decoder.begin(features, latent))[0]

    def losses(
        self, observation: Inputs, action: Tensor, noise: Tensor, decoded: tuple[Inputs, Tensor] | None = None
    ) -> SkillLosses:
        """Compute the loss terms of windows.

        Args:
            observation: (B, H, O).
            action: (B, H, A) labels in [-1, 1].
            noise: (B, Z) standard normal noise to sample the posterior with; zeros give its mean.
            decoded: observations and labels of the decoder, if they are others than those of posterior and prior.

        Raises:
            SpecError: a shape is wrong.
        """
        return self._losses(observation, action, noise, decoded)[0]

    def _losses(
        self, observation: Inputs, action: Tensor, noise: Tensor, decoded: tuple[Inputs, Tensor] | None = None
    ) -> tuple[SkillLosses, Tensor]:
        """Loss terms of :meth:`losses`, and features (B, F) of the first observations, for further terms."""
        self._require_windows(observation, action)
        require_shape("noise", noise, action.shape[0], self.config.latent_dim)
        features, first = self.window_features(observation)
        posterior = self.posterior_of(features, action)
        latent = posterior.from_noise(noise)
        seen, label = (features, action) if decoded is None else (self.window_features(decoded[0])[0], decoded[1])
        squared_error = (self.decoder.window(seen, latent) - label).square()
        # The prior is trained towards the posterior, but not the posterior towards the prior.
        sample = latent.detach()
        losses = SkillLosses(
            reconstruction=0.5 * squared_error.sum(dim=(1, 2)).mean(),
            kl=posterior.kl_to_standard_normal().mean(),
            prior_nll=self.prior_nll(first, sample),
            normal_nll=-standard_normal_log_prob(sample).mean(),
            action_mse=squared_error.mean(),
        )
        return losses, first

    def _require_windows(self, observation: Inputs, action: Tensor) -> None:
        vector = vector_of(observation)
        require_shape("observation window", vector, None, self.config.horizon, self.obs_dim)
        require_shape("action window", action, vector.shape[0], self.config.horizon, self.action_dim)

"""ReSkill's skill model: a skill VAE with a closed-loop decoder and an invertible, state-conditioned prior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from reskill_core.models.config import EncoderConfig, ReskillModelConfig
from reskill_core.models.distributions import DiagonalGaussian, NoiseMappedDistribution
from reskill_core.models.features import FeatureMap
from reskill_core.models.networks import Features, Mlp, soft_limit
from reskill_core.models.observations import Inputs, vector_of
from reskill_core.models.priors import build_prior
from reskill_core.models.skill_model import SkillDecoder, SkillModel
from reskill_core.spec import TaskSpec

# Limits the posterior's standard deviation to (e^-5, e^5): wide enough for any beta, and finite from the first step.
_LOG_STD_LIMIT = 5.0


class MlpEncoder(nn.Module):
    """Encoder from a flattened window to posterior parameters."""

    def __init__(self, config: EncoderConfig, step_dim: int, horizon: int, out_dim: int) -> None:
        super().__init__()
        self.net = Mlp((horizon * step_dim, *config.hidden, out_dim))

    def forward(self, steps: Tensor) -> Tensor:
        """Map (B, H, F + A) to (B, out)."""
        return self.net(steps.flatten(1))


class LstmEncoder(nn.Module):
    """Encoder from the last state of an LSTM over the window's steps to posterior parameters."""

    def __init__(self, config: EncoderConfig, step_dim: int, horizon: int, out_dim: int) -> None:
        super().__init__()
        width, *head = config.hidden
        self.lstm = nn.LSTM(step_dim, width, batch_first=True)
        self.head = Mlp((width, *head, out_dim))

    def forward(self, steps: Tensor) -> Tensor:
        """Map (B, H, F + A) to (B, out)."""
        return self.head(self.lstm(steps)[0][:, -1])


ENCODERS: dict[str, type[MlpEncoder] | type[LstmEncoder]] = {"mlp": MlpEncoder, "lstm": LstmEncoder}


class ClosedLoopDecoder(Mlp, SkillDecoder):
    """Decoder from features and latent to actions in every step, with tanh output; its state is the latent."""

    def __init__(self, config: ReskillModelConfig, feature_dim: int, action_dim: int) -> None:
        super().__init__((feature_dim + config.latent_dim, *config.decoder_hidden, action_dim), norm=config.norm)
        self._state_dim = config.latent_dim

    @property
    def state_dim(self) -> int:
        """See :class:`SkillDecoder`."""
        return self._state_dim

    def begin(self, features: Tensor, latent: Tensor) -> Tensor:
        """See :class:`SkillDecoder`."""
        return latent

    def act(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`SkillDecoder`."""
        return torch.tanh(self(torch.cat((features, state), dim=-1))), state

    def window(self, features: Tensor, latent: Tensor) -> Tensor:
        """See :class:`SkillDecoder`; all steps at once, as one batch for batch normalisation."""
        per_step = latent[:, None].expand(-1, features.shape[1], -1)
        return torch.tanh(self(torch.cat((features, per_step), dim=-1)))


class SkillVae(SkillModel):
    """Skill model of encoder, closed-loop decoder and prior with shared normalised features.

    Args:
        config: hyper-parameters.
        features: map from observations to features.
        task: task with the layouts of observations and actions.
    """

    config: ReskillModelConfig

    def __init__(self, config: ReskillModelConfig, features: FeatureMap, task: TaskSpec) -> None:
        super().__init__(config, task)
        latent, action = config.latent_dim, task.action.dim
        self._features = Features(features)
        self.encoder = ENCODERS[config.encoder.kind](config.encoder, features.dim + action, config.horizon, 2 * latent)
        self.decoder = ClosedLoopDecoder(config, features.dim, action)
        self.prior = build_prior(config.prior, features.dim, latent)

    @classmethod
    def fitted(cls, config: ReskillModelConfig, task: TaskSpec, vectors: Any) -> SkillVae:
        """See :class:`SkillModel`."""
        return cls(config, FeatureMap.fit(config.features, task.obs, vectors), task)

    @classmethod
    def restored(cls, config: ReskillModelConfig, task: TaskSpec, normaliser: Mapping[str, Any]) -> SkillVae:
        """See :class:`SkillModel`."""
        return cls(config, FeatureMap.from_document(config.features, task.obs, normaliser), task)

    def normaliser(self) -> dict[str, Any]:
        """Return mean and standard deviation of the features over the training data."""
        return self.feature_map.to_document()

    @property
    def feature_map(self) -> FeatureMap:
        """Features in numpy."""
        return self._features.map

    @property
    def feature_dim(self) -> int:
        """Length F of the features."""
        return self.feature_map.dim

    def features(self, observation: Inputs) -> Tensor:
        """Compute normalised features (..., F) of observations (..., O)."""
        features: Tensor = self._features(vector_of(observation))
        return features

    def posterior_of(self, features: Tensor, action: Tensor) -> DiagonalGaussian:
        """See :class:`SkillModel`."""
        mean, log_std = self.encoder(torch.cat((features, action), dim=-1)).chunk(2, dim=-1)
        return DiagonalGaussian(mean, soft_limit(log_std, _LOG_STD_LIMIT))

    def prior_of(self, features: Tensor) -> NoiseMappedDistribution:
        """See :class:`SkillModel`."""
        return self.prior.at(features)

"""ReSkill's skill model: a skill VAE with a closed-loop decoder and an invertible, state-conditioned prior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from reskill_core.models.config import ReskillModelConfig
from reskill_core.models.decoders import ClosedLoopDecoder
from reskill_core.models.distributions import DiagonalGaussian, NoiseMappedDistribution
from reskill_core.models.encoders import ENCODERS, gaussian_of
from reskill_core.models.features import FeatureMap
from reskill_core.models.networks import Features
from reskill_core.models.observations import Inputs, vector_of
from reskill_core.models.priors import build_prior
from reskill_core.models.skill_model import SkillModel
from reskill_core.spec import TaskSpec


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
        self.decoder = ClosedLoopDecoder(features.dim, latent, config.decoder_hidden, action, config.norm)
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
        return gaussian_of(self.encoder(torch.cat((features, action), dim=-1)))

    def prior_of(self, features: Tensor) -> NoiseMappedDistribution:
        """See :class:`SkillModel`."""
        return self.prior.at(features)

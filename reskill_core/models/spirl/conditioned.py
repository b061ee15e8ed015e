"""Features and prior that SPiRL's skill models have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from reskill_core.errors import ConfigError
from reskill_core.models.distributions import NoiseMappedDistribution
from reskill_core.models.feature_columns import Columns
from reskill_core.models.features import FeatureMap
from reskill_core.models.networks import Features
from reskill_core.models.observations import Inputs, vector_of
from reskill_core.models.selection import Selection
from reskill_core.models.skill_model import SkillModel
from reskill_core.models.spirl.config import ConditionedConfig
from reskill_core.models.spirl.images import ConvDecoder, ConvEncoder, scaled
from reskill_core.models.spirl.mixture import GaussianMixture
from reskill_core.models.spirl.prior import LearntPrior
from reskill_core.spec import VECTOR, ObsSpec, TaskSpec

ModelT = TypeVar("ModelT", bound="ConditionedModel")

# Names of features that a network sees; None for all.
Names = tuple[str, ...] | None

# Prefix of the prior's own features of an image.
_OWN = "prior_"


class ConditionedModel(SkillModel):
    """Skill model with features [normalised vector, features of each image that a network sees], and a learnt prior.

    Args:
        config: hyper-parameters.
        features: map from vectors to features.
        task: task with the layouts of observations and actions.

    Raises:
        ConfigError: a network is to see features that there are none of.
    """

    config: ConditionedConfig

    def __init__(self, config: ConditionedConfig, features: FeatureMap, task: TaskSpec) -> None:
        super().__init__(config, task)
        self._features = Features(features)
        self._images = {image.name: image for image in task.obs.images}
        _require_known({**self._skill_inputs(), "prior": config.prior.inputs}, task.obs)
        by_skills, by_prior = self._seen_images(self._skill_inputs().values()), self._seen_images([config.prior.inputs])
        if config.images.shared:
            by_skills = [name for name in self._images if name in (*by_skills, *by_prior)]
        self.images = self._encoders(by_skills)
        self.prior_images = self._encoders([] if config.images.shared else by_prior)
        # The prior's own features of an image have a name of their own, where there are others.
        self._own = {name: f"{_OWN}{name}" if name in self.images else name for name in self.prior_images}
        self._columns = self._named_columns(features.dim, task.obs)
        self.prior = LearntPrior(config.prior, self._prior_selection(), config.latent_dim)
        reconstructed: Iterable[str] = (self.images or self.prior_images) if config.images.reconstruction else ()
        self.pictures = nn.ModuleDict({name: ConvDecoder(config.images, self._images[name]) for name in reconstructed})

    @abstractmethod
    def _skill_inputs(self) -> Mapping[str, Names]:
        """Return the configured inputs of each network but the prior."""

    @classmethod
    def fitted(cls: type[ModelT], config: Any, task: TaskSpec, vectors: Any) -> ModelT:
        """See :class:`SkillModel`."""
        return cls(config, FeatureMap.fit(config.features, task.obs, vectors), task)

    @classmethod
    def restored(cls: type[ModelT], config: Any, task: TaskSpec, normaliser: Mapping[str, Any]) -> ModelT:
        """See :class:`SkillModel`."""
        return cls(config, FeatureMap.from_document(config.features, task.obs, normaliser), task)

    def normaliser(self) -> dict[str, Any]:
        """Return mean and standard deviation of the vector's features over the training data."""
        return self._features.map.to_document()

    @property
    def feature_dim(self) -> int:
        """Length F of the features."""
        encoders = len(self.images) + len(self.prior_images)
        return self._features.map.dim + encoders * self.config.images.features

    @property
    def feature_columns(self) -> Columns:
        """See :class:`SkillModel`; also has the terms of the vector."""
        return self._columns

    def features(self, observation: Inputs) -> Tensor:
        """See :class:`SkillModel`."""
        parts = [self._features(vector_of(observation))]
        for encoders in (self.images, self.prior_images):
            parts += [encoder(_image(observation, name)) for name, encoder in encoders.items()]
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]

    def window_features(self, observation: Inputs) -> tuple[Tensor, Tensor]:
        """See :class:`SkillModel`.

        Images are convolved only where a network sees them: columns of other steps are zero.
        """
        vector = self._features(vector_of(observation))
        if not self.images and not self.prior_images:
            return vector, vector[:, 0]
        steps, rest = [vector], [vector[:, 0]]
        for name, encoder in self.images.items():
            seen = encoder(_image(observation, name)[:, : self.image_steps])
            missing = vector.shape[1] - seen.shape[1]
            steps.append(torch.cat((seen, seen.new_zeros(len(seen), missing, seen.shape[-1])), dim=1))
            rest.append(seen[:, 0])
        for name, encoder in self.prior_images.items():
            seen = encoder(_image(observation, name)[:, 0])
            steps.append(seen.new_zeros(*vector.shape[:2], seen.shape[-1]))
            rest.append(seen)
        return torch.cat(steps, dim=-1), torch.cat(rest, dim=-1)

    def prior_of(self, features: Tensor) -> NoiseMappedDistribution | GaussianMixture:
        """See :class:`SkillModel`."""
        return self.prior.at(features)

    def prior_nll(self, features: Tensor, latent: Tensor) -> Tensor:
        """See :class:`SkillModel`."""
        return self.prior.nll(features, latent)

    def prior_parameters(self) -> list[nn.Parameter]:
        """See :class:`SkillModel`; includes the prior's own convolutions."""
        return [*super().prior_parameters(), *self.prior_images.parameters()]

    def _further_losses(self, observation: Inputs, first: Tensor) -> dict[str, Tensor]:
        """Loss of reconstructed pictures, and in evaluation mode the disagreement of the ensemble; where they exist.

        Args:
            observation: windows of observations.
            first: (B, F) features of their first observations.
        """
        found = {}
        if self.pictures:
            errors = []
            for name, decoder in self.pictures.items():
                start, stop = self._columns[name if name in self.images else self._own[name]]
                wanted = scaled(_image(observation, name)[:, 0])
                errors.append((decoder(first[:, start:stop]) - wanted).square().mean())
            found["image_loss"] = self.config.images.reconstruction * torch.stack(errors).mean()
        if len(self.prior.members) > 1 and not self.training:
            found["disagreement"] = self.prior.disagreement(first)
        return found

    def _selection(self, names: Names) -> Selection:
        """Select the columns of a network other than the prior."""
        columns = {name: span for name, span in self._columns.items() if name not in self._own.values()}
        return Selection.named(self.feature_dim, columns, names)

    def _prior_selection(self) -> Selection:
        columns = {name: span for name, span in self._columns.items() if name not in self._own.values()}
        if not self.config.images.shared:
            columns = {name: span for name, span in columns.items() if name not in self._images}
            columns |= {name: self._columns[own] for name, own in self._own.items()}
        return Selection.named(self.feature_dim, columns, self.config.prior.inputs)

    def _named_columns(self, vector_dim: int, obs: ObsSpec) -> Columns:
        columns = {name: (obs.slice(name).start, obs.slice(name).stop) for name in obs.names}
        columns[VECTOR] = (0, vector_dim)
        start, width = vector_dim, self.config.images.features
        for name in (*self.images, *self._own.values()):
            columns[name] = (start, start + width)
            start += width
        return columns

    def _seen_images(self, inputs: Iterable[Names]) -> list[str]:
        return [name for name in self._images if any(names is None or name in names for names in inputs)]

    def _encoders(self, names: Sequence[str]) -> nn.ModuleDict:
        return nn.ModuleDict({name: ConvEncoder(self.config.images, self._images[name]) for name in names})


def _image(observation: Inputs, name: str) -> Tensor:
    assert isinstance(observation, Mapping)
    return observation[name]


def _require_known(inputs: Mapping[str, Names], obs: ObsSpec) -> None:
    allowed = (VECTOR, *obs.names, *(image.name for image in obs.images))
    faults = [
        f"{network}.inputs: no features {name!r}; allowed: {', '.join(allowed)}"
        for network, names in inputs.items()
        for name in names or ()
        if name not in allowed
    ]
    if faults:
        raise ConfigError("the model does not fit the task:\n" + "\n".join(f"  - {fault}" for fault in faults))

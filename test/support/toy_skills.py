"""Skill models that the package does not know, as another distribution would add them: one open loop, one recurrent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reskill_core.models.config import SkillModelConfig
from reskill_core.models.distributions import DiagonalGaussian, SkillDistribution
from reskill_core.models.observations import Inputs, vector_of
from reskill_core.models.registry import SkillModelKind
from reskill_core.models.skill_model import SkillDecoder, SkillModel
from reskill_core.parameters import parameter
from reskill_core.spec import TaskSpec


@dataclass(frozen=True)
class OpenLoopConfig(SkillModelConfig):
    """Hyper-parameters of :class:`OpenLoopModel`.

    Attributes:
        width: of its hidden layers.
    """

    kind: str = "open_loop"
    width: int = parameter(16, low=1, high=64)


@dataclass(frozen=True)
class RecurrentConfig(OpenLoopConfig):
    """Hyper-parameters of :class:`RecurrentModel`."""

    kind: str = "recurrent"


OPEN_LOOP = SkillModelKind(OpenLoopConfig, "toy_skills:OpenLoopModel")
RECURRENT = SkillModelKind(RecurrentConfig, "toy_skills:RecurrentModel")


class OpenLoopDecoder(nn.Module, SkillDecoder):
    """Decides all actions when a skill begins; its state is those that are still to come."""

    def __init__(self, inputs: int, horizon: int, action_dim: int) -> None:
        super().__init__()
        self.net = nn.Linear(inputs, horizon * action_dim)
        self.action_dim = action_dim

    @property
    def state_dim(self) -> int:
        return self.net.out_features

    def begin(self, features: Tensor, latent: Tensor) -> Tensor:
        return torch.tanh(self.net(torch.cat((features, latent), dim=-1)))

    def act(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        action, rest = state[:, : self.action_dim], state[:, self.action_dim :]
        return action, torch.cat((rest, torch.zeros_like(action)), dim=-1)


class RecurrentDecoder(nn.Module, SkillDecoder):
    """An LSTM over the steps of a skill; its state is the latent and both hidden layers."""

    def __init__(self, feature_dim: int, latent_dim: int, width: int, action_dim: int) -> None:
        super().__init__()
        self.sizes = (latent_dim, width, width)
        self.lstm = nn.LSTM(feature_dim + latent_dim, width, batch_first=True)
        self.head = nn.Linear(width, action_dim)

    @property
    def state_dim(self) -> int:
        return sum(self.sizes)

    def begin(self, features: Tensor, latent: Tensor) -> Tensor:
        return torch.cat((latent, latent.new_zeros(latent.shape[0], sum(self.sizes[1:]))), dim=-1)

    def act(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        latent, hidden, cell = state.split(self.sizes, dim=-1)
        inputs = torch.cat((features, latent), dim=-1)[:, None]
        outputs, (hidden, cell) = self.lstm(inputs, (hidden[None].contiguous(), cell[None].contiguous()))
        return torch.tanh(self.head(outputs[:, 0])), torch.cat((latent, hidden[0], cell[0]), dim=-1)


class OpenLoopModel(SkillModel):
    """Posterior and Gaussian prior by one layer each, over vectors normalised by their mean."""

    config: OpenLoopConfig

    def __init__(self, config: OpenLoopConfig, task: TaskSpec, mean: Tensor) -> None:
        super().__init__(config, task)
        self.register_buffer("mean", mean)
        self.build(task)

    def build(self, task: TaskSpec) -> None:
        latent, features = self.config.latent_dim, self.feature_dim
        self.encoder = nn.Linear(self.config.horizon * (features + self.action_dim), 2 * latent)
        self.decoder = OpenLoopDecoder(features + latent, self.config.horizon, self.action_dim)
        self.prior = nn.Linear(features, 2 * latent)

    @classmethod
    def fitted(cls, config: Any, task: TaskSpec, vectors: Any) -> OpenLoopModel:
        return cls(config, task, torch.from_numpy(vectors).mean(dim=0))

    @classmethod
    def restored(cls, config: Any, task: TaskSpec, normaliser: Mapping[str, Any]) -> OpenLoopModel:
        return cls(config, task, torch.zeros(task.obs.dim))

    @property
    def feature_dim(self) -> int:
        return self.obs_dim

    def features(self, observation: Inputs) -> Tensor:
        return vector_of(observation) - self.get_buffer("mean")

    def posterior_of(self, features: Tensor, action: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(*self.encoder(torch.cat((features, action), dim=-1).flatten(1)).chunk(2, dim=-1))

    def prior_of(self, features: Tensor) -> SkillDistribution:
        return DiagonalGaussian(*self.prior(features).chunk(2, dim=-1))


class Mixture(SkillDistribution):
    """Two Gaussians that are as likely as each other: no map from noise to latents of the same length."""

    def __init__(self, parts: list[DiagonalGaussian]) -> None:
        self.parts = parts

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        first, second = (part.sample(generator) for part in self.parts)
        return torch.where(torch.rand(len(first), 1, generator=generator) < 0.5, first, second)

    def log_prob(self, latent: Tensor) -> Tensor:
        both = torch.stack([part.log_prob(latent) for part in self.parts])
        return torch.logsumexp(both, dim=0) - torch.log(torch.tensor(2.0))


class RecurrentModel(OpenLoopModel):
    """Sees the task's first image through a convolution, where it has one; its prior is a mixture."""

    def build(self, task: TaskSpec) -> None:
        latent, width = self.config.latent_dim, self.config.width
        self.images = task.obs.images
        if self.images:
            image = self.images[0]
            self.convolution = nn.Conv2d(image.stack * image.channels, 4, 4, stride=4)
        self.encoder = nn.Linear(self.config.horizon * (self.feature_dim + self.action_dim), 2 * latent)
        self.decoder = RecurrentDecoder(self.feature_dim, latent, width, self.action_dim)
        self.prior = nn.Linear(self.feature_dim, 4 * latent)

    @property
    def feature_dim(self) -> int:
        pictures = [4 * (image.height // 4) * (image.width // 4) for image in self.images[:1]]
        return self.obs_dim + sum(pictures)

    def features(self, observation: Inputs) -> Tensor:
        vector = super().features(observation)
        if not self.images:
            return vector
        assert isinstance(observation, Mapping)
        image = observation[self.images[0].name]
        # (..., stack, H, W, C) to (B, stack * C, H, W)
        frames = image.flatten(0, -5).permute(0, 1, 4, 2, 3).flatten(1, 2).float() / 255
        return torch.cat((vector, self.convolution(frames).flatten(1).view(*vector.shape[:-1], -1)), dim=-1)

    def prior_of(self, features: Tensor) -> SkillDistribution:
        first, second = self.prior(features).chunk(2, dim=-1)
        return Mixture([DiagonalGaussian(*part.chunk(2, dim=-1)) for part in (first, second)])

"""The toy skill model: a skill is a direction that is held, and the prior depends on the observation linearly.

Its features are the vector of an observation and the mean brightness of each colour of the camera's picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reskill_core.arrays import Float32Array
from reskill_core.models.config import SkillModelConfig
from reskill_core.models.distributions import DiagonalGaussian
from reskill_core.models.observations import Inputs
from reskill_core.models.registry import SkillModelKind
from reskill_core.models.skill_model import SkillDecoder, SkillModel
from reskill_core.parameters import parameter
from reskill_core.spec import VECTOR, TaskSpec
from toy_robot.layout import CAMERA


@dataclass(frozen=True)
class ToyConfig(SkillModelConfig):
    """Hyper-parameters of the toy skill model."""

    kind: str = "toy"
    horizon: int = parameter(5, low=1, high=1000)
    latent_dim: int = parameter(2, low=2, high=2)


class HeldDirection(nn.Module, SkillDecoder):
    """An open-loop decoder: its state is the direction, its action the direction times a gain."""

    state_dim = 2

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(2))

    def begin(self, features: Tensor, latent: Tensor) -> Tensor:
        """The direction."""
        return latent

    def act(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The same action in every step."""
        return torch.tanh(self.gain * state), state


class ToyModel(SkillModel):
    """Features, posterior, decoder and prior."""

    def __init__(self, config: ToyConfig, task: TaskSpec) -> None:
        super().__init__(config, task)
        self.decoder = HeldDirection()
        self.encoder = nn.Linear(2, 4)
        self.prior = nn.Linear(self.feature_dim, 4)

    @property
    def feature_dim(self) -> int:
        """Length F of the features."""
        return self.obs_dim + CAMERA.channels

    @classmethod
    def fitted(cls, config: ToyConfig, task: TaskSpec, vectors: Any) -> ToyModel:
        """Needs no statistics."""
        return cls(config, task)

    @classmethod
    def restored(cls, config: ToyConfig, task: TaskSpec, normaliser: Mapping[str, Any]) -> ToyModel:
        """Needs no statistics."""
        return cls(config, task)

    def features(self, observation: Inputs) -> Tensor:
        """(..., F)."""
        assert isinstance(observation, Mapping)
        brightness = observation[CAMERA.name].float().mean(dim=(-4, -3, -2)) / 255.0
        return torch.cat((observation[VECTOR], brightness), dim=-1)

    def posterior_of(self, features: Tensor, action: Tensor) -> DiagonalGaussian:
        """From the mean action of a window."""
        return DiagonalGaussian(*self.encoder(action.mean(dim=1)).chunk(2, dim=-1))

    def prior_of(self, features: Tensor) -> DiagonalGaussian:
        """From the features."""
        return DiagonalGaussian(*self.prior(features).chunk(2, dim=-1))


class ToySkills:
    """The same in numpy, for acting."""

    state_dim, maps_noise = 2, True

    def __init__(
        self,
        config: ToyConfig,
        task: TaskSpec,
        weights: Mapping[str, NDArray[Any]],
        normaliser: Mapping[str, Any],
        batch_invariant: bool,
    ) -> None:
        self._weights = weights

    def features(self, observations: Mapping[str, NDArray[Any]]) -> Float32Array:
        """(N, F)."""
        brightness = observations[CAMERA.name].astype(np.float32).mean(axis=(-4, -3, -2)) / np.float32(255.0)
        return np.concatenate((observations[VECTOR].astype(np.float32), brightness), axis=-1)

    def begin(self, features: Float32Array, latents: Float32Array) -> Float32Array:
        """The direction."""
        return latents

    def act(self, features: Float32Array, states: Float32Array) -> tuple[Float32Array, Float32Array]:
        """The same action in every step."""
        return np.tanh(self._weights["decoder.gain"] * states), states

    def noise_to_latent(self, noise: Float32Array, features: Float32Array) -> Float32Array:
        """An affine map, row by row."""
        rows = [features_of_one @ self._weights["prior.weight"].T for features_of_one in features]
        mean, log_std = np.split(np.stack(rows) + self._weights["prior.bias"], 2, axis=-1)
        return mean + np.exp(log_std) * noise

    @staticmethod
    def acting_weights(weights: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """All but the encoder's."""
        return {name: array for name, array in weights.items() if not name.startswith("encoder.")}


TOY = SkillModelKind(ToyConfig, model="toy_robot.skill_model:ToyModel", runtime="toy_robot.skill_model:ToySkills")

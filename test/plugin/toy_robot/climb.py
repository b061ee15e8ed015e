"""A toy learner: decisions have a mean that depends on the inputs linearly, and climbs REINFORCE's gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float32Array
from reskill_core.parameters import parameter
from reskill_core.rl.actor import Decision
from reskill_core.rl.config import AlgorithmConfig
from reskill_core.rl.transitions import SkillTransition, concatenate


@dataclass(frozen=True)
class ClimbConfig(AlgorithmConfig):
    """Settings of the toy learner."""

    algorithm: str = "climb"
    learning_rate: float = parameter(1e-2, low=1e-6, high=1.0)
    std: float = parameter(0.5, low=1e-3, high=10.0)


class LinearActor:
    """Decides by a linear map, with noise where it explores."""

    def __init__(self, weight: Float32Array, std: float) -> None:
        self._weight, self._std = weight, np.float32(std)

    def act(self, inputs: Float32Array, draws: Float32Array | None = None) -> Decision:
        """See :class:`reskill_core.rl.actor.Actor`."""
        rows = inputs.reshape(-1, inputs.shape[-1])
        mean = np.stack([row @ self._weight for row in rows])
        if draws is None:
            return Decision(mean, None)
        log_prob = (-0.5 * draws**2 - np.log(self._std * np.sqrt(2 * np.pi))).sum(axis=-1).astype(np.float32)
        return Decision(mean + self._std * draws, log_prob)


class Climb:
    """See :class:`reskill_core.rl.algorithm.Algorithm`."""

    Config = ClimbConfig

    def __init__(
        self, *, inputs: int, features: int, decisions: int, config: ClimbConfig, seed: int, level: str, **others: Any
    ) -> None:
        self._config = config
        self._weight = np.zeros((inputs, decisions), dtype=np.float32)
        self._observed: list[SkillTransition] = []

    @classmethod
    def actor_from(cls, weights: Mapping[str, NDArray[np.float32]], prefix: str) -> LinearActor:
        """What is deployed."""
        return LinearActor(weights[f"{prefix}weight"], float(weights[f"{prefix}std"][0]))

    def act(self, inputs: Float32Array, draws: Float32Array | None = None) -> Decision:
        """Decide."""
        return LinearActor(self._weight, self._config.std).act(inputs, draws)

    def observe(self, transitions: SkillTransition) -> None:
        """Take what decisions led to."""
        self._observed.append(transitions)

    def update(self, progress: float) -> dict[str, float]:
        """Climb."""
        if not self._observed:
            return {}
        seen = concatenate(self._observed)
        self._observed.clear()
        advantage = (seen.reward - seen.reward.mean()) / (seen.reward.std() + np.float32(1e-6))
        deviation = (seen.decision - self.act(seen.inputs).value) / np.float32(self._config.std)
        gradient = seen.inputs.T @ (deviation * advantage[:, None]) / np.float32(len(seen))
        self._weight = self._weight + np.float32(self._config.learning_rate) * gradient
        return {"gradient": float(np.linalg.norm(gradient))}

    def imitate(self, inputs: Float32Array, decisions: Float32Array, updates: int) -> None:
        """Least squares in closed form."""
        self._weight = np.linalg.lstsq(inputs, decisions, rcond=None)[0].astype(np.float32)

    def weights(self) -> dict[str, NDArray[Any]]:
        """The linear map."""
        return {"weight": self._weight.copy(), "std": np.array([self._config.std], dtype=np.float32)}

    def state(self) -> dict[str, Any]:
        """Nothing but the weights."""
        return {}

    def restore(self, weights: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`weights`."""
        self._weight = np.array(weights["weight"], dtype=np.float32)

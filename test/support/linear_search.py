"""A learner that is no part of the package: it tries linear policies in turn and keeps the one that earned most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from reskill_core.parameters import parameter
from reskill_core.rl.actor import Decision
from reskill_core.rl.config import AlgorithmConfig
from reskill_core.rl.transitions import SkillTransition


@dataclass(frozen=True)
class LinearSearchConfig(AlgorithmConfig):
    """Settings.

    Attributes:
        spread: how far from the best policy others are tried.
    """

    algorithm: str = "linear_search"
    spread: float = parameter(0.1, low=0.0, high=10.0)


class LinearActor:
    """Decisions that are linear in what is seen."""

    def __init__(self, gain: np.ndarray) -> None:
        self.gain = gain

    def act(self, inputs: np.ndarray, draws: np.ndarray | None = None) -> Decision:
        """Draws or none, the same."""
        return Decision(np.tanh(inputs.reshape(len(inputs), -1) @ self.gain), None)


class LinearSearch:
    """See :class:`reskill_core.rl.algorithm.Algorithm`."""

    Config: ClassVar[type[LinearSearchConfig]] = LinearSearchConfig

    def __init__(
        self,
        inputs: int,
        features: int,
        decisions: int,
        config: LinearSearchConfig,
        seed: int,
        level: str,
        **others: Any,
    ) -> None:
        self.config = config
        self.rng = np.random.default_rng([seed, len(level)])
        self.best = self.tried = np.zeros((inputs, decisions), np.float32)
        self.best_reward, self.earned = -np.inf, [0.0]

    @classmethod
    def actor_from(cls, weights: Mapping[str, np.ndarray], prefix: str) -> LinearActor:
        """The best one."""
        return LinearActor(weights[f"{prefix}gain"])

    def act(self, inputs: np.ndarray, draws: np.ndarray | None = None) -> Decision:
        """By the policy that is tried."""
        return LinearActor(self.tried).act(inputs)

    def observe(self, transitions: SkillTransition) -> None:
        """What it earned."""
        assert np.isnan(transitions.log_prob).all()
        self.earned.append(float(transitions.reward.mean()))

    def update(self, progress: float) -> dict[str, float]:
        """Keep the better one, try another."""
        reward, self.earned = self.earned[-1], [0.0]
        if reward >= self.best_reward:
            self.best, self.best_reward = self.tried, reward
        step = self.rng.standard_normal(self.best.shape, dtype=np.float32)
        self.tried = self.best + np.float32((1 - progress) * self.config.spread) * step
        return {"best_reward": self.best_reward}

    def imitate(self, inputs: np.ndarray, decisions: np.ndarray, updates: int) -> None:
        """Least squares."""
        self.best = self.tried = np.linalg.lstsq(inputs, decisions, rcond=None)[0].astype(np.float32)

    def weights(self) -> dict[str, np.ndarray]:
        """The best policy, which is deployed."""
        return {"gain": self.best}

    def state(self) -> dict[str, Any]:
        """The policy that is tried, and what the best one earned."""
        return {"rng": self.rng.bit_generator.state, "tried": self.tried, "best_reward": self.best_reward}

    def restore(self, weights: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
        """Inverse of weights and state."""
        self.best, self.tried = np.array(weights["gain"]), np.array(state["tried"])
        self.best_reward, self.rng.bit_generator.state = state["best_reward"], state["rng"]

"""Transitions of skills: what a decision was, what it earned, and where it led.

A residual decides anew in every control step: its transitions are those of skills that last one step. What learns on
policy and what keeps a replay buffer take the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class SkillTransition:
    """Decisions of one level that are over, B of them; those of one place are in order of time.

    Decisions in which the physics broke down are not among them.

    Attributes:
        features: (B, F) where a decision was made.
        inputs: (B, I) what decided saw: the features, or more than those.
        decision: (B, D) as it was drawn, before it is limited.
        log_prob: (B,) log density of the decision under the policy that acted [nats]; NaN where it has none.
        reward: (B,) what it earned, discounted to its beginning.
        discount: (B,) of what follows: the discount per control step to the power of ``length``.
        length: (B,) control steps that it lasted.
        next_features: (B, F) where it led; at the end of an episode its last state, not the next one's first.
        terminated: (B,) whether the episode was over there by the task's own rule: nothing follows.
        ended: (B,) whether the episode was over there for any reason, or what followed is lost because the physics
            broke down: the next decision of the place does not continue from it.
        place: (B,) number of the environment.
    """

    features: FloatArray
    inputs: FloatArray
    decision: FloatArray
    log_prob: FloatArray
    reward: FloatArray
    discount: FloatArray
    length: IntArray
    next_features: FloatArray
    terminated: BoolArray
    ended: BoolArray
    place: IntArray

    def __len__(self) -> int:
        return len(self.reward)

    def map(self, change: Callable[[NDArray], NDArray]) -> SkillTransition:  # type: ignore[type-arg]
        """The same change made to every array."""
        return SkillTransition(*(change(getattr(self, field.name)) for field in fields(self)))

    def take(self, rows: IntArray | BoolArray) -> SkillTransition:
        """Some of them, by number or by mask."""
        return self.map(lambda array: array[rows])

    def by_place(self) -> SkillTransition:
        """Place by place, each in order of time."""
        return self.take(np.argsort(self.place, kind="stable"))


def concatenate(parts: Sequence[SkillTransition]) -> SkillTransition:
    """All of them, one part after the other."""
    names = [field.name for field in fields(SkillTransition)]
    return SkillTransition(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class RunningSkills:
    """The skill that is running in each of N places, from its choice to its end.

    Args:
        count: places N.
        features_dim: entries F of features.
        decision_dim: entries D of a decision.
    """

    def __init__(self, count: int, features_dim: int, decision_dim: int) -> None:
        self.features = np.zeros((count, features_dim), np.float32)
        self.noise = np.zeros((count, decision_dim), np.float32)
        self.log_prob, self.reward = np.zeros((2, count), np.float32)
        self.discount = np.ones(count, np.float32)

    def begin(self, places: IntArray, features: FloatArray, decision: FloatArray, log_prob: FloatArray | None) -> None:
        """Skills were chosen in some places."""
        self.features[places], self.noise[places] = features, decision
        self.log_prob[places] = np.nan if log_prob is None else log_prob
        self.reward[places], self.discount[places] = 0.0, 1.0

    def earn(self, reward: FloatArray, discount: np.float32) -> None:
        """A control step is over in all places."""
        self.reward += self.discount * reward
        self.discount *= discount

    def finish(
        self,
        places: IntArray,
        length: IntArray,
        next_features: FloatArray,
        terminated: BoolArray,
        ended: BoolArray,
        numbers: IntArray,
    ) -> SkillTransition:
        """The transitions of skills that are over in some places.

        Args:
            places: which of the N.
            length: (N,) control steps that they lasted, and so on for all places.
            next_features: (N, F).
            terminated: (N,).
            ended: (N,).
            numbers: (N,) of the environments among all.
        """
        features = self.features[places]
        return SkillTransition(
            features=features,
            inputs=features,
            decision=self.noise[places],
            log_prob=self.log_prob[places],
            reward=self.reward[places],
            discount=self.discount[places],
            length=length[places],
            next_features=next_features[places],
            terminated=terminated[places],
            ended=ended[places],
            place=numbers[places],
        )

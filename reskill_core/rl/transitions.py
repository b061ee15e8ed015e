"""Transitions of skills: decision, discounted reward, and next features.

A residual decides in every control step: its transitions are those of skills of one step. On-policy algorithms and
replay buffers use the same type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import BoolArray, Float32Array, IntArray


@dataclass(frozen=True)
class SkillTransition:
    """Finished decisions of one level, B of them, in order of time for each place.

    Decisions in which the physics diverged are excluded.

    Attributes:
        features: (B, F) features at the start of a decision.
        inputs: (B, I) inputs of the policy: the features, possibly with further entries.
        decision: (B, D) decision as sampled, before limits.
        log_prob: (B,) log density of the decision under the rollout policy [nats]; NaN if it has none.
        reward: (B,) reward during the decision, discounted to its start.
        discount: (B,) discount of the following value: the discount per control step to the power of ``length``.
        length: (B,) duration in control steps.
        next_features: (B, F) features at its end; at the end of an episode those of its last state, not of the next
            episode.
        terminated: (B,) whether the episode ended in a terminal state.
        ended: (B,) whether the episode ended for any reason, or the following steps were dropped because the physics
            diverged: the next decision of the place does not continue from this one.
        place: (B,) index of the environment.
        privileged: (B, P) what only critics see at the start of a decision; P is 0 if they see no more than the actor.
        next_privileged: (B, P) the same at its end.
    """

    features: Float32Array
    inputs: Float32Array
    decision: Float32Array
    log_prob: Float32Array
    reward: Float32Array
    discount: Float32Array
    length: IntArray
    next_features: Float32Array
    terminated: BoolArray
    ended: BoolArray
    place: IntArray
    privileged: Float32Array
    next_privileged: Float32Array

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def critic_inputs(self) -> Float32Array:
        """(B, F + P) features and privileged inputs at the start of a decision."""
        return _joined(self.features, self.privileged)

    @property
    def next_critic_inputs(self) -> Float32Array:
        """(B, F + P) features and privileged inputs at its end."""
        return _joined(self.next_features, self.next_privileged)

    def map(self, change: Callable[[NDArray], NDArray]) -> SkillTransition:  # type: ignore[type-arg]
        """Apply a function to every array."""
        return SkillTransition(*(change(getattr(self, field.name)) for field in fields(self)))

    def take(self, rows: IntArray | BoolArray) -> SkillTransition:
        """Select transitions by indices or mask."""
        return self.map(lambda array: array[rows])

    def by_place(self) -> SkillTransition:
        """Sort by place, each in order of time."""
        return self.take(np.argsort(self.place, kind="stable"))


def concatenate(parts: Sequence[SkillTransition]) -> SkillTransition:
    """Concatenate transitions."""
    names = [field.name for field in fields(SkillTransition)]
    return SkillTransition(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _joined(features: Float32Array, privileged: Float32Array) -> Float32Array:
    return np.concatenate([features, privileged], axis=1) if privileged.shape[1] else features


class RunningSkills:
    """Running skills of N places, from their choice to their end.

    Args:
        count: number N of places.
        features_dim: length F of the features.
        decision_dim: length D of a decision.
        privileged_dim: length P of what only critics see.
    """

    def __init__(self, count: int, features_dim: int, decision_dim: int, privileged_dim: int) -> None:
        self.features = np.zeros((count, features_dim), np.float32)
        self.privileged = np.zeros((count, privileged_dim), np.float32)
        self.noise = np.zeros((count, decision_dim), np.float32)
        self.log_prob, self.reward = np.zeros((2, count), np.float32)
        self.discount = np.ones(count, np.float32)

    def begin(
        self,
        places: IntArray,
        features: Float32Array,
        privileged: Float32Array,
        decision: Float32Array,
        log_prob: Float32Array | None,
    ) -> None:
        """Start new skills in some places."""
        self.features[places], self.privileged[places], self.noise[places] = features, privileged, decision
        self.log_prob[places] = np.nan if log_prob is None else log_prob
        self.reward[places], self.discount[places] = 0.0, 1.0

    def earn(self, reward: Float32Array, discount: np.float32) -> None:
        """Add the rewards of a control step in all places."""
        self.reward += self.discount * reward
        self.discount *= discount

    def finish(
        self,
        places: IntArray,
        length: IntArray,
        next_features: Float32Array,
        next_privileged: Float32Array,
        terminated: BoolArray,
        ended: BoolArray,
        numbers: IntArray,
    ) -> SkillTransition:
        """Return the transitions of skills that have ended in some places.

        Args:
            places: places of these skills.
            length: (N,) durations of all skills in control steps.
            next_features: (N, F) features at their end.
            next_privileged: (N, P) what only critics see there.
            terminated: (N,) whether the episode ended in a terminal state.
            ended: (N,) whether the episode ended for any reason.
            numbers: (N,) indices of the environments among all.
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
            privileged=self.privileged[places],
            next_privileged=next_privileged[places],
        )

"""Recorded episode as a policy: its executed actions again, and how far its end is from the recorded one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from reskill_core.arrays import Float32Array, Float64Array
from reskill_core.data import Episode
from reskill_core.environment import Places
from reskill_core.runtime import SkillAction
from reskill_core.spec import VELOCITIES, TaskSpec, vector_of

# Kinds of terms whose deviation is reported, with their unit; frames by distance, joints by the largest difference.
_DISTANCES, _JOINTS = ("position", "relative_position"), ("joint_position",)


class EpisodePlayback:
    """Policy that executes a recorded episode.

    Args:
        episode: the episode.
        task: its task.
        waits: stand still until :meth:`begin`; otherwise the first observation is answered by the first action.

    Attributes:
        steps: number of actions taken.
        start: deviation of the first observation from the recorded one, by term; empty before it.
        end: deviation of the observation after the last action, likewise.
    """

    def __init__(self, episode: Episode, task: TaskSpec, waits: bool) -> None:
        self._episode, self._task, self._waits = episode, task, waits
        self._begun = not waits
        self.steps = 0
        self.start: dict[str, float] = {}
        self.end: dict[str, float] = {}

    @property
    def over(self) -> bool:
        """Whether the observation after the last action has arrived."""
        return bool(self.end)

    def begin(self) -> None:
        """Start with the next observation, because commands pass."""
        self._begun = True

    def reset(self, seeds: Sequence[int], places: Places | None = None) -> None:
        """Start again from the first action; there is one place."""
        if not self.over:
            self.steps, self._begun = 0, not self._waits

    def act(self, observations: Any, places: Places | None = None) -> SkillAction:
        """Return the next action for an observation, or standstill before the first and after the last one."""
        vector = vector_of(observations)
        count = self._episode.num_steps
        if self.steps == count and not self.over:
            self.end = self._deviation(vector[0], self._episode.final_observation)
        if not self._begun or self.over:
            return self._action(self._still(min(self.steps, count - 1)), self._still(min(self.steps, count - 1)))
        if self.steps == 0:
            self.start = self._deviation(vector[0], self._episode.observation[0])
        row = self.steps
        self.steps += 1
        return self._action(self._episode.executed_action[row], self._episode.action[row])

    def _still(self, row: int) -> Float32Array:
        """Zero velocities; of everything else, such as joint positions, the recorded values."""
        moves = [quantity in VELOCITIES for quantity in self._task.action.quantities]
        return np.where(moves, np.float32(0.0), self._episode.executed_action[row]).astype(np.float32)

    def _action(self, executed: Float32Array, label: Float32Array) -> SkillAction:
        return SkillAction(
            action=executed[None],
            decoded_action=label[None],
            residual=(executed - label)[None],
            residual_weight=np.ones(1, np.float32),
            latent=np.zeros((1, 0), np.float32),
            skill_step=np.zeros(1, np.int64),
        )

    def _deviation(self, observed: Float64Array, recorded: Float32Array) -> dict[str, float]:
        found = {}
        for term in self._task.obs.terms:
            # Recorded as float32.
            apart = (
                observed[self._task.obs.slice(term.name)].astype(np.float32) - recorded[self._task.obs.slice(term.name)]
            )
            if term.kind in _DISTANCES:
                found[term.name] = float(np.linalg.norm(apart))
            elif term.kind in _JOINTS or (term.kind == "named" and term.unit in ("rad", "m")):
                found[term.name] = float(np.abs(apart).max())
        return found

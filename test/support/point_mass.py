"""A batched simulator of a point that moves as it is told: it decides at once, and its episodes end as written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from skill_fixtures import TASK

from reskill_core.environment import Places

STEP_M = 0.03


@dataclass(frozen=True)
class Ending:
    """How an episode ends: after how many steps, and as what."""

    steps: int
    terminated: bool = False
    success: bool = False
    diverged: bool = False


@dataclass(frozen=True)
class Outcome:
    """See :class:`reskill_core.environment.StepResult`."""

    observation: np.ndarray
    reward: np.ndarray
    success: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    diverged: np.ndarray
    done: np.ndarray


def in_turn(seed: int) -> Ending:
    """Episodes of 5 to 11 steps, of which some succeed and end, some diverge, and most run out of time."""
    kind = seed % 5
    return Ending(5 + seed * 3 % 7, terminated=kind == 0, success=kind in (0, 1), diverged=kind == 2)


class PointMass:
    """N points in the observation of ``TASK``; what moves one is the first three components of its action.

    Args:
        num_envs: N.
        ending: how the episode of a seed ends.
        reward: of a step, by the number of the step from 1.

    Attributes:
        actions: (N, A) of every step.
        started: seeds of all episodes, in order.
    """

    spec = TASK
    state_dim = 12

    def __init__(
        self,
        num_envs: int,
        ending: Callable[[int], Ending] = in_turn,
        reward: Callable[[int], float] = lambda step: 1.0 / step,
    ) -> None:
        self.num_envs = num_envs
        self._ending, self._reward = ending, reward
        # Position, displacement, finger, goal, step, seed.
        self._rows = np.zeros((num_envs, self.state_dim))
        self.actions: list[np.ndarray] = []
        self.started: list[int] = []

    def reset(self, seeds: Sequence[int], places: Places | None = None) -> np.ndarray:
        """Start episodes somewhere that depends on their seeds."""
        self.started += seeds
        for seed, place in zip(seeds, range(self.num_envs) if places is None else places, strict=True):
            position, goal = np.random.default_rng(seed).uniform(0.6, 1.0, (2, 3))
            self._rows[place] = [*position, 0, 0, 0, 0.05, *goal, 0, seed]
        return self.observation()

    def step(self, actions: np.ndarray, places: Places | None = None) -> Outcome:
        """Move the points, all of them."""
        assert places is None
        self.actions.append(np.array(actions))
        rows = self._rows
        rows[:, 3:6] = STEP_M * actions[:, :3]
        rows[:, :3] += rows[:, 3:6]
        rows[:, 6] = 0.05 + 0.02 * actions[:, 3]
        rows[:, 10] += 1
        endings = [self._ending(int(seed)) for seed in rows[:, 11]]
        done = np.array([step >= ending.steps for step, ending in zip(rows[:, 10], endings, strict=True)])

        def ended(name: str) -> np.ndarray:
            return done & np.array([getattr(ending, name) for ending in endings])

        reward = np.array([self._reward(int(step)) for step in rows[:, 10]])
        over = {name: ended(name) for name in ("success", "terminated", "diverged")}
        return Outcome(self.observation(), reward, truncated=done & ~over["terminated"], done=done, **over)

    def observation(self) -> np.ndarray:
        """(N, O), as ``TASK`` has it."""
        rows = self._rows
        observation = np.concatenate([rows[:, :3], rows[:, 6:7], rows[:, 3:6], rows[:, 7:10]], axis=1)
        assert observation.shape == (self.num_envs, TASK.obs.dim)
        return observation

    def state(self, places: Places | None = None) -> np.ndarray:
        """All there is to know."""
        return self._rows.copy() if places is None else self._rows[np.asarray(places)]

    def set_state(self, rows: np.ndarray, places: Places | None = None) -> None:
        """Inverse of :meth:`state`."""
        self._rows[slice(None) if places is None else np.asarray(places)] = rows


def randomised(weights: dict[str, Any], seed: int, scale: float = 0.15) -> dict[str, Any]:
    """Weights none of which is at its neutral start; standard deviations stay as they are."""
    rng = np.random.default_rng(seed)
    return {
        name: array if name.endswith("log_std") else array + scale * rng.standard_normal(array.shape, np.float32)
        for name, array in weights.items()
    }

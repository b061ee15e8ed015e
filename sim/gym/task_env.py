"""Gymnasium environment of a task.

It can be copied (``copy.deepcopy``) and pickled in the middle of an episode: the copy continues like the original and
independently of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from reskill_core.seeding import drawn_episode
from reskill_core.spec import take_rows
from reskill_sim.engine.family import NO_SETTINGS
from reskill_sim.engine.interfaces import Image
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.gym.goal_methods import GoalMethods
from reskill_sim.gym.gym_episodes import METADATA, GymEpisodes, metadata_of


class TaskEnv(GoalMethods, gymnasium.Env[Any, NDArray[np.float32]]):
    """Gymnasium environment of a task.

    ``reset(seed=s)`` starts the simulator's episode s; without a seed the episode's seed is drawn from ``np_random``.
    ``info`` of a reset has that ``seed``; that of a step has ``is_success``, whether the task is solved in the current
    state, and ``diverged``: the physics diverged, the episode is truncated, the observation is the last valid one.

    Args:
        task: name of the task.
        profile: fidelity profile; if empty, the family's default for training.
        goal_dict: observations are dictionaries of ``observation`` (without the goal), ``achieved_goal`` (3,) [m] and
            ``desired_goal`` (3,) [m].
        render_mode: ``rgb_array`` or None.
        variation: randomisation of physics, perception and latency; may be a dictionary of its fields.
        settings: settings of the task that differ from the default, as its family defines them.

    Raises:
        ConfigError: there is no such task or profile, the variation is out of range, or the task does not have these
            settings.
        SimulationError: ``goal_dict`` is set, and the task's reward needs more than goals.
    """

    metadata = METADATA

    def __init__(
        self,
        task: str,
        profile: str = "",
        goal_dict: bool = False,
        render_mode: str | None = None,
        variation: Variation | Mapping[str, Any] = NOMINAL,
        settings: Mapping[str, Any] = NO_SETTINGS,
    ) -> None:
        self._episodes = GymEpisodes(task, 1, profile, 0, goal_dict, variation, settings, None)
        self.metadata = metadata_of(self._episodes.task, render_mode)
        self.render_mode = render_mode
        self.action_space: Any = self._episodes.action_space
        self.observation_space = self._episodes.observation_space
        self._only = np.zeros(1, dtype=np.int64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; there are no options."""
        super().reset(seed=seed)
        episode_seed = drawn_episode(self.np_random) if seed is None else seed
        observation = take_rows(self._episodes.reset([episode_seed], [0]), 0)
        return self._episodes.view(observation), {"seed": episode_seed}

    def step(self, action: ArrayLike) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Advance by one control period with an action (A,) in [-1, 1].

        Raises:
            SpecError: the action has the wrong shape.
        """
        outcome = self._episodes.step(np.asarray(action)[None], self._only)
        return (
            self._episodes.view(take_rows(outcome.observation, 0)),
            float(outcome.reward[0]),
            bool(outcome.terminated[0]),
            bool(outcome.truncated[0]),
            {name: values[0].item() for name, values in outcome.info.items()},
        )

    def render(self) -> Image | None:
        """Render an image (height, width, 3); None without a render mode."""
        return None if self.render_mode is None else self._episodes.render(0)

    def close(self) -> None:
        """Release graphics memory."""
        self._episodes.close()

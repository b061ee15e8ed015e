"""Methods of environments for hindsight relabelling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reskill_core.errors import SimulationError
from reskill_sim.gym.goal_view import GoalView
from reskill_sim.gym.gym_episodes import GymEpisodes


class GoalMethods:
    """Mixin for hindsight relabelling: outcomes for any goals.

    Goals are (3,) or (N, 3) positions [m]; ``info`` is that of :meth:`step`: one dictionary, of numbers or arrays, or a
    sequence of dictionaries.
    """

    _episodes: GymEpisodes

    def compute_reward(self, achieved_goal: ArrayLike, desired_goal: ArrayLike, info: Any = None) -> Any:
        """Compute the reward () or (N,) of reaching ``achieved_goal``; needs no info."""
        return self._goals.reward(achieved_goal, desired_goal)[()]

    def compute_terminated(self, achieved_goal: ArrayLike, desired_goal: ArrayLike, info: Any) -> Any:
        """Whether () or (N,) the episode terminates there.

        It does if the goal is reached, and the episode's own goal had been held long enough. A single transition does
        not tell for how long another goal would have been held, so both goals have to be reached.
        """
        enough = self._episodes.task.hold_steps
        success = self._goals.success(achieved_goal, desired_goal)
        if enough is None:
            return np.zeros_like(success)[()]
        return (success & (_of(info, "success_steps") >= enough) & ~_of(info, "diverged"))[()]

    def compute_truncated(self, achieved_goal: ArrayLike, desired_goal: ArrayLike, info: Any) -> Any:
        """Whether () or (N,) the episode is truncated there: at the horizon, or because the physics diverged."""
        cut_off = (_of(info, "step") >= self._episodes.horizon) | _of(info, "diverged")
        return (cut_off & ~self.compute_terminated(achieved_goal, desired_goal, info))[()]

    @property
    def _goals(self) -> GoalView:
        if self._episodes.goals is None:
            raise SimulationError("outcomes for other goals need goal_dict=True when the environment is made")
        return self._episodes.goals


def _of(info: Any, name: str) -> NDArray[Any]:
    """Value of an info: () or (N,)."""
    return np.asarray(info[name] if isinstance(info, Mapping) else [one[name] for one in info])

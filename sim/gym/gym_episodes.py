"""Episodes of a batch of environments in Gymnasium's terms, for single and vector environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from reskill_core.arrays import BoolArray, Float64Array, IntArray
from reskill_core.config import config_from_dict
from reskill_core.errors import SimulationError, SpecError
from reskill_core.spec import VECTOR, Observations, images_of, vector_of
from reskill_sim.engine.interfaces import Image, Renderer
from reskill_sim.engine.task import Task
from reskill_sim.engine.variation import Variation
from reskill_sim.families import get_task
from reskill_sim.gym.goal_view import GoalView
from reskill_sim.gym.observation_spaces import action_space, bounds, observation_space

METADATA: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 25}


@dataclass(frozen=True)
class Outcome:
    """Result of a control step in Gymnasium's terms, for the n stepped environments.

    Attributes:
        observation: observations of the n environments, in the layout of the task.
        reward: (n,) rewards.
        terminated: (n,) whether an episode terminated.
        truncated: (n,) whether an episode was truncated, at the horizon or because the physics diverged.
        info: (n,) values by name.
    """

    observation: Observations
    reward: Float64Array
    terminated: BoolArray
    truncated: BoolArray
    info: dict[str, NDArray[Any]]


class GymEpisodes:
    """Episodes of N environments in Gymnasium's terms.

    Args:
        task: name of the task.
        num_envs: number of environments N.
        profile: fidelity profile; if empty, the family's default for training.
        threads: threads that share the environments.
        goal_dict: whether observations are dictionaries with goals.
        variation: randomisation of physics, perception and latency.
        settings: settings of the task that differ from the default.
        max_episode_steps: limit below the task's horizon.
    """

    def __init__(
        self,
        task: str,
        num_envs: int,
        profile: str,
        threads: int,
        goal_dict: bool,
        variation: Variation | Mapping[str, Any],
        settings: Mapping[str, Any],
        max_episode_steps: int | None,
    ) -> None:
        if not isinstance(variation, Variation):
            variation = config_from_dict(Variation, variation, source="the variation")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise SimulationError(f"max_episode_steps must be at least 1, got {max_episode_steps}")
        self.task = get_task(task, variation, settings)
        self.goals = GoalView(self.task) if goal_dict else None
        self.profile = profile or self.task.family.learning_profile
        self.environments = self.task.make_env(num_envs, self.profile, threads)
        self.action_space = action_space(self.task.spec)
        self._bound = bounds(self.task.spec.obs)
        self.observation_space: spaces.Space[Any] = (
            self.goals.space(self._bound) if self.goals else observation_space(self.task.spec.obs)
        )
        self.horizon = min(self.task.spec.horizon, max_episode_steps or self.task.spec.horizon)
        self._success_steps, self._steps = np.zeros((2, num_envs), dtype=np.int64)
        self._renderer: Renderer | None = None

    def reset(self, seeds: Sequence[int], places: Sequence[int]) -> Observations:
        """Start episodes with these seeds; returns observations of all N environments."""
        self._success_steps[list(places)] = self._steps[list(places)] = 0
        return self._within(self.environments.reset(seeds, places))

    def step(self, actions: ArrayLike, places: IntArray) -> Outcome:
        """Advance some environments by actions (n, A).

        Raises:
            SpecError: the actions have the wrong shape.
        """
        array = np.asarray(actions, dtype=np.float32)
        if array.shape != (len(places), self.task.spec.action.dim):
            raise SpecError(f"actions have shape {array.shape}, expected {(len(places), self.task.spec.action.dim)}")
        everybody = len(places) == self.environments.num_envs
        result = self.environments.step(array, None if everybody else places)
        self._steps[places] += ~result.diverged
        steps = self._steps[places]
        success_steps = np.where(result.success, self._success_steps[places] + 1, 0)
        self._success_steps[places] = success_steps
        info: dict[str, NDArray[Any]] = {"is_success": result.success, "diverged": result.diverged}
        if self.goals:
            info |= {"step": steps, "success_steps": success_steps}
        truncated = result.truncated | result.diverged | ((steps >= self.horizon) & ~result.terminated)
        return Outcome(self._within(result.observation), result.reward, result.terminated, truncated, info)

    def view(self, observation: Observations) -> Observations:
        """Convert observations of one or more environments to the observation space."""
        return self.goals.split(vector_of(observation)) if self.goals else observation

    def render(self, place: int) -> Image:
        """Render one environment."""
        if self._renderer is None:
            self._renderer = self.task.family.make_renderer(self.task, profile=self.profile)
        return self._renderer.render(self.environments.state([place])[0])

    def close(self) -> None:
        """Release graphics memory."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the renderer, which is created again on demand."""
        return {**vars(self), "_renderer": None}

    def _within(self, observation: Observations) -> Observations:
        """Clip observations to the space, and copy them."""
        vector = np.clip(vector_of(observation), -self._bound, self._bound)
        if not isinstance(observation, Mapping):
            return vector
        # An environment may reuse the memory of its images.
        return {VECTOR: vector, **{name: image.copy() for name, image in images_of(observation).items()}}


def metadata_of(task: Task, render_mode: str | None) -> dict[str, Any]:
    """Return the metadata of one environment.

    Raises:
        SimulationError: there is no such render mode.
    """
    if render_mode not in (None, *METADATA["render_modes"]):
        raise SimulationError(f"unknown render mode {render_mode!r}; there are: {', '.join(METADATA['render_modes'])}")
    return {**METADATA, "render_fps": round(task.spec.control_rate_hz)}

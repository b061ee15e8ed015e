"""Goal-conditioned form of tasks, for hindsight relabelling."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike

from reskill_core.arrays import BoolArray, Float64Array
from reskill_core.errors import SimulationError, SpecError
from reskill_core.spec import GOAL_FRAME
from reskill_sim.engine.task import Task
from reskill_sim.families import get_task
from reskill_sim.gym.observation_spaces import box


class GoalView:
    """Goal-conditioned form of a task: observations without the goal, and rewards for any goal.

    Raises:
        SimulationError: the task's reward needs more than the positions of one object and the goal, or they are
            perceived with delay, noise or bias.
    """

    def __init__(self, task: Task) -> None:
        if task.goal_object is None:
            having = ", ".join(name for name in task.family.tasks if get_task(name).goal_object is not None)
            raise SimulationError(
                f"task {task.spec.name!r} has no goal form: its reward depends on more than where an object and its "
                f"goal are; tasks that have: {having}"
            )
        if task.spec.obs.images:
            raise SimulationError("goals need observations without images")
        if task.variation.perceives_otherwise:
            raise SimulationError(
                "goals need objects to be perceived as they are: leave perception_noise, perception_bias and "
                "perception_delay at 0"
            )
        self._task = task
        self._achieved, self._desired = (task.positions[frame] for frame in (task.goal_object, GOAL_FRAME))
        kept = [term for term in task.spec.obs.terms if term.kind != "zeros" and GOAL_FRAME not in term.of]
        self._kept = np.concatenate([np.arange(task.spec.obs.dim)[task.spec.obs.slice(term.name)] for term in kept])

    def space(self, bound: Float64Array) -> spaces.Dict:
        """Return the space of :meth:`split` for observations between ``-bound`` and ``bound`` (O,)."""
        return spaces.Dict({name: box(part) for name, part in self.split(bound).items()})

    def split(self, observation: Float64Array) -> dict[str, Float64Array]:
        """Convert observations (..., O) to a dictionary; ``observation`` omits the goal, which may be relabelled."""
        return {
            "observation": observation[..., self._kept],
            "achieved_goal": observation[..., self._achieved].copy(),
            "desired_goal": observation[..., self._desired].copy(),
        }

    def reward(self, achieved: ArrayLike, desired: ArrayLike) -> Float64Array:
        """Compute (...) rewards for the object at positions (..., 3) [m] and goals at (..., 3) [m]."""
        achieved, desired, shape = _aligned(achieved, desired)
        return self._task.goal_outcome(achieved, desired)[0].reshape(shape)

    def success(self, achieved: ArrayLike, desired: ArrayLike) -> BoolArray:
        """Compute (...) success for the object at positions (..., 3) [m] and goals at (..., 3) [m]."""
        achieved, desired, shape = _aligned(achieved, desired)
        return self._task.goal_outcome(achieved, desired)[1].reshape(shape)


def _aligned(achieved: ArrayLike, desired: ArrayLike) -> tuple[Float64Array, Float64Array, tuple[int, ...]]:
    """Positions of object and goal as (n, 3) each, and their leading dimensions.

    Raises:
        SpecError: the last axis has a wrong length.
    """
    object_pos, goal_pos = np.broadcast_arrays(
        np.asarray(achieved, dtype=np.float64), np.asarray(desired, dtype=np.float64)
    )
    if object_pos.shape[-1:] != (3,):
        raise SpecError(f"goals have shape {object_pos.shape}, their last axis must have length 3")
    return object_pos.reshape(-1, 3), goal_pos.reshape(-1, 3), object_pos.shape[:-1]

"""What a task is: a scene, how episodes start, what counts as success. All of it works on batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reskill_core.observation import SensorFrame
from reskill_core.spec import TaskSpec
from reskill_sim.scene import Scene

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class EpisodeStart:
    """How one episode begins.

    Attributes:
        object_poses: (number of objects, 7) body position [m] and quaternion (scalar first), in the scene's order.
        goal_pos_w: (3,) goal position [m].
    """

    object_poses: FloatArray
    goal_pos_w: FloatArray


class Task(ABC):
    """One MDP. Subclasses give the class attributes and three methods.

    Attributes:
        spec: layouts, horizon, control period.
        scene: what stands in front of the robot.
        hold_steps: an episode ends when success has held for this many control steps in a row, so that what
            follows success (letting go, moving away) is part of it.
    """

    spec: TaskSpec
    scene: Scene
    hold_steps: int = 10

    @abstractmethod
    def sample_start(self, rng: np.random.Generator) -> EpisodeStart:
        """Draw where the objects and the goal are."""

    @abstractmethod
    def success(self, frame: SensorFrame) -> BoolArray:
        """(N,) whether the task is solved right now."""

    def reward(self, frame: SensorFrame) -> FloatArray:
        """(N,) reward of arriving here; -1 until success, 0 there, as the sparse Fetch tasks have it."""
        return self.success(frame).astype(np.float64) - 1.0

    def frame_index(self, name: str) -> int:
        """Index of a frame in :class:`SensorFrame` arrays."""
        return self.spec.obs.frames.index(name)


def position_of(task: Task, frame: SensorFrame, name: str) -> FloatArray:
    """(N, 3) position of a named frame [m]."""
    return frame.frame_pos_w[:, task.frame_index(name)]


def resample(
    draw: Callable[[np.random.Generator], FloatArray],
    accept: Callable[[FloatArray], bool],
    rng: np.random.Generator,
) -> FloatArray:
    """Draw until a draw is accepted."""
    while not accept(candidate := draw(rng)):
        pass
    return candidate

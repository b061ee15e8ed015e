"""What a task is: a scene, how episodes start, what counts as success. All of it works on batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reskill_core.observation import SensorFrame
from reskill_core.spec import TaskSpec
from reskill_sim import constants
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
            follows success (letting go, moving away) is part of it; None goes on until the horizon, so that every
            step of success pays.
        gripper_blocked: the fingers stay closed, whatever the action says.
    """

    spec: TaskSpec
    scene: Scene
    hold_steps: int | None = None
    gripper_blocked: bool = False

    @abstractmethod
    def sample_start(self, rng: np.random.Generator) -> EpisodeStart:
        """Draw where the objects and the goal are."""

    @abstractmethod
    def success(self, frame: SensorFrame, previous: SensorFrame) -> BoolArray:
        """(N,) whether the task is solved right now, given the sensors now and one control step ago."""

    @abstractmethod
    def reward(self, frame: SensorFrame, previous: SensorFrame) -> FloatArray:
        """(N,) reward of arriving here."""

    def frame_index(self, name: str) -> int:
        """Index of a frame in :class:`SensorFrame` arrays."""
        return self.spec.obs.frames.index(name)


def position_of(task: Task, frame: SensorFrame, name: str) -> FloatArray:
    """(N, 3) position of a named frame [m]."""
    return frame.frame_pos_w[:, task.frame_index(name)]


def sparse_reward(success: BoolArray) -> FloatArray:
    """(N,) -1 until success, 0 there, as the sparse Fetch tasks have it."""
    return success.astype(np.float64) - 1.0


def at_rest(task: Task, frame: SensorFrame, previous: SensorFrame, name: str) -> BoolArray:
    """(N,) whether a frame moved by less than 2 mm in the last control step."""
    moved = position_of(task, frame, name) - position_of(task, previous, name)
    return np.linalg.norm(moved, axis=1) < 0.002


def released(task: Task, frame: SensorFrame, name: str, half_width_m: float) -> BoolArray:
    """(N,) whether the gripper does not hold an object: away from it, or its fingers further apart than it is wide."""
    away = np.linalg.norm(position_of(task, frame, "gripper") - position_of(task, frame, name), axis=1) > 0.05
    return away | (frame.joint_pos.mean(axis=1) > half_width_m + 0.004)


def spawn_around_gripper(
    rng: np.random.Generator, spread_m: float, keep_away: list[tuple[FloatArray, float]]
) -> FloatArray:
    """(2,) a place on the table near the gripper's start, towards the robot, at a distance from other places [m]."""
    grip = constants.START_GRIP_POS_W[:2]
    places = [(grip, 0.10), *keep_away]
    return resample(
        lambda rng: grip + rng.uniform(-spread_m, spread_m, 2) - 0.05,
        lambda xy: all(np.linalg.norm(xy - place) >= distance for place, distance in places),
        rng,
    )


def upright_pose(xy: FloatArray, height: float) -> FloatArray:
    """(7,) pose of a body that stands at a place on the table."""
    return np.array([*xy, height, 1.0, 0.0, 0.0, 0.0])


def resample(
    draw: Callable[[np.random.Generator], FloatArray],
    accept: Callable[[FloatArray], bool | np.bool_],
    rng: np.random.Generator,
) -> FloatArray:
    """Draw until a draw is accepted."""
    while not accept(candidate := draw(rng)):
        pass
    return candidate

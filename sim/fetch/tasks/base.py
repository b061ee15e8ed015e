"""What a task is: a scene, how episodes start, what counts as success. All of it works on batches."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reskill_core.errors import SimulationError
from reskill_core.observation import SensorFrame
from reskill_core.spec import GRIPPER_FRAME, TaskSpec
from reskill_sim.engine.variation import NOMINAL, POOL, Variation
from reskill_sim.fetch import constants
from reskill_sim.fetch.scene import Scene, SceneObject

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class EpisodeStart:
    """How one episode begins.

    Attributes:
        object_poses: (number of objects, 7) body position [m] and quaternion (scalar first), in the scene's order.
        goal_pos_w: (3,) goal position [m].
        scene: number of the scene it takes place in.
    """

    object_poses: FloatArray
    goal_pos_w: FloatArray
    scene: int = 0


@dataclass(frozen=True)
class Situation:
    """What success and reward are judged by, for a batch of N environments.

    Attributes:
        frames: names of the frames, in the order of the sensor frames.
        now: the sensors now.
        before: the sensors one control step ago.
        size: (N,) factor on the size of the manipulated object.
    """

    frames: tuple[str, ...]
    now: SensorFrame
    before: SensorFrame
    size: FloatArray

    def position(self, name: str) -> FloatArray:
        """(N, 3) position of a frame [m]."""
        return self.now.frame_pos_w[:, self.frames.index(name)]

    def at_rest(self, name: str) -> BoolArray:
        """(N,) whether a frame moved by less than 2 mm in the last control step."""
        moved = self.position(name) - self.before.frame_pos_w[:, self.frames.index(name)]
        return np.linalg.norm(moved, axis=1) < 0.002

    def released(self, name: str, half_width_m: FloatArray) -> BoolArray:
        """(N,) whether the gripper does not hold an object: away, or its fingers further apart than that is wide."""
        away = np.linalg.norm(self.position(GRIPPER_FRAME) - self.position(name), axis=1) > 0.05
        return away | (self.now.joint_pos.mean(axis=1) > half_width_m + 0.004)


class Task(ABC):
    """One MDP. Subclasses give the class attributes and three methods.

    Args:
        variation: how its world varies from episode to episode.

    Attributes:
        spec: layouts, horizon, control period.
        scenes: what may stand in front of the robot; one of them in each episode.
        hold_steps: an episode ends when success has held for this many control steps in a row, so that what
            follows success (letting go, moving away) is part of it; None goes on until the horizon, so that every
            step of success pays.
        goal_object: the object whose distance to the goal alone decides about success and reward; None if they depend
            on more than that.
    """

    spec: TaskSpec
    scenes: tuple[Scene, ...]
    hold_steps: int | None = None
    goal_object: str | None = None

    def __init__(self, variation: Variation = NOMINAL) -> None:
        self.variation = variation
        self._made: dict[int, Scene] = {}

    @abstractmethod
    def place(self, rng: np.random.Generator, scene: Scene) -> tuple[FloatArray, FloatArray]:
        """Draw where the objects of a scene and the goal are: poses (objects, 7) and position (3,)."""

    @abstractmethod
    def success(self, situation: Situation) -> BoolArray:
        """(N,) whether the task is solved right now."""

    @abstractmethod
    def reward(self, situation: Situation, success: BoolArray) -> FloatArray:
        """(N,) reward of arriving here, where the task is solved or not."""

    @property
    def num_scenes(self) -> int:
        """How many scenes episodes draw from; where physics varies, each is in a world of its own."""
        repeats = math.ceil(POOL / len(self.scenes)) if self.variation.has_many_worlds else 1
        return len(self.scenes) * repeats

    def scene(self, number: int = 0) -> Scene:
        """Scene by number, as the variation has it: ``scenes[number]``, counted round and round."""
        if number not in self._made:
            self._made[number] = self.variation.draw_world(number).applied_to(self.scenes[number % len(self.scenes)])
        return self._made[number]

    def size_factor(self, number: int) -> float:
        """Factor on the size of the manipulated object in a scene."""
        return self.variation.draw_world(number).size

    def sample_start(self, rng: np.random.Generator, scene: int = 0) -> EpisodeStart:
        """Draw how an episode in a scene begins.

        Raises:
            SimulationError: there is no scene of that number.
        """
        if not 0 <= scene < self.num_scenes:
            raise SimulationError(f"task {self.spec.name} has the scenes 0 to {self.num_scenes - 1}, got {scene}")
        return EpisodeStart(*self.place(rng, self.scene(scene)), scene)

    def frame_index(self, name: str) -> int:
        """Index of a frame in :class:`SensorFrame` arrays."""
        return self.spec.obs.frames.index(name)


def sparse_reward(success: BoolArray) -> FloatArray:
    """(N,) -1 until success, 0 there, as the sparse Fetch tasks have it."""
    return success.astype(np.float64) - 1.0


def spawn_around_gripper(
    rng: np.random.Generator, spread_m: float, keep_away: list[tuple[FloatArray, float]]
) -> FloatArray:
    """(2,) a place on the table near the gripper's start, towards the robot, at a distance from other places [m]."""
    grip = constants.START_GRIP_POS_W[:2]
    places = [(grip, 0.10), *keep_away]
    return resample(
        lambda rng: grip + rng.uniform(-spread_m, spread_m, 2) - 0.05,
        lambda xy: all(math.dist(xy, place) >= distance for place, distance in places),
        rng,
    )


def upright_pose(xy: FloatArray, height: float) -> FloatArray:
    """(7,) pose of a body that stands at a place, its origin at a height [m]."""
    return np.array([*xy, height, 1.0, 0.0, 0.0, 0.0])


def on_the_table(item: SceneObject, xy: FloatArray) -> FloatArray:
    """(7,) pose of an object that stands upright on the table."""
    return upright_pose(xy, constants.TABLE_TOP_M + item.rest_height_m)


def resample(
    draw: Callable[[np.random.Generator], FloatArray],
    accept: Callable[[FloatArray], bool | np.bool_],
    rng: np.random.Generator,
) -> FloatArray:
    """Draw until a draw is accepted."""
    while not accept(candidate := draw(rng)):
        pass
    return candidate

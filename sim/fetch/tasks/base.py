"""Base class of the Fetch's tasks, with helpers for scenes, places on the table and simple rewards."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from reskill_core.arrays import BoolArray, Float64Array
from reskill_core.spec import GRIPPER_FRAME
from reskill_sim.engine.task import EpisodeStart, SimulatedTask, Situation
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.fetch import constants
from reskill_sim.fetch.object_metrics import object_metrics
from reskill_sim.fetch.scene import Scene, SceneObject

if TYPE_CHECKING:
    from reskill_core.data import Episode
    from reskill_sim.fetch.family import FetchFamily
    from reskill_sim.fetch.robot import FetchMechanism


class FetchTask(SimulatedTask):
    """Task of the Fetch. Subclasses define ``spec``, ``scenes`` and three methods.

    Args:
        variation: randomisation of physics, perception and latency.

    Attributes:
        scenes: scenes in front of the robot; one per episode.
    """

    scenes: tuple[Scene, ...]

    def __init__(self, variation: Variation = NOMINAL) -> None:
        super().__init__(variation)
        self._made: dict[int, Scene] = {}

    @abstractmethod
    def place(self, rng: np.random.Generator, scene: Scene) -> tuple[Float64Array, Float64Array]:
        """Draw start poses (objects, 7) of a scene's objects, and the position (3,) of the goal."""

    @property
    def family(self) -> FetchFamily:
        """The Fetch family."""
        from reskill_sim.fetch.family import FETCH

        return FETCH

    def make_mechanism(self, profile: str) -> FetchMechanism:
        """Create the Fetch with this task's scenes."""
        # Imported here, because layouts, start states and demonstrators need no MuJoCo.
        from reskill_sim.fetch.robot import FetchMechanism

        return FetchMechanism(self, profile)

    def metrics(self, episode: Episode) -> dict[str, float]:
        """What became of the manipulated object."""
        return object_metrics(self.spec, episode)

    def result_of(self, vectors: Float64Array) -> Float64Array:
        """(N, 3) position of the manipulated object [m]."""
        return vectors[:, self.positions[self.spec.obs.objects[0]]]

    @property
    def num_base_scenes(self) -> int:  # type: ignore[override]
        """Number of scenes, before variation."""
        return len(self.scenes)

    def scene(self, number: int = 0) -> Scene:
        """Return a scene with the variation applied; ``number`` wraps around ``scenes``."""
        if number not in self._made:
            world = self.variation.draw_world(number)
            self._made[number] = self.scenes[number % len(self.scenes)].in_world(world)
        return self._made[number]

    def start_in(self, rng: np.random.Generator, scene: int) -> EpisodeStart:
        """Draw the start of an episode in the scene with that number."""
        return EpisodeStart(*self.place(rng, self.scene(scene)), scene)


def released(situation: Situation, name: str, half_width_m: Float64Array) -> BoolArray:
    """(N,) whether an object is released: the gripper is away, or its fingers are wider apart than the object."""
    away = np.linalg.norm(situation.position(GRIPPER_FRAME) - situation.position(name), axis=1) > 0.05
    return away | (situation.now.joint_pos.mean(axis=1) > half_width_m + 0.004)


def sparse_reward(success: BoolArray) -> Float64Array:
    """(N,) 0 in success, -1 otherwise, as in the sparse Fetch tasks."""
    return success.astype(np.float64) - 1.0


def spawn_around_gripper(
    rng: np.random.Generator, spread_m: float, keep_away: list[tuple[Float64Array, float]]
) -> Float64Array:
    """(2,) random place on the table near the gripper's start, towards the robot, away from other places [m]."""
    grip = constants.START_GRIP_POS_W[:2]
    places = [(grip, 0.10), *keep_away]
    return resample(
        lambda rng: grip + rng.uniform(-spread_m, spread_m, 2) - 0.05,
        lambda xy: all(math.dist(xy, place) >= distance for place, distance in places),
        rng,
    )


def upright_pose(xy: Float64Array, height: float) -> Float64Array:
    """(7,) pose of an upright body at a place, with its origin at a height [m]."""
    return np.array([*xy, height, 1.0, 0.0, 0.0, 0.0])


def on_the_table(item: SceneObject, xy: Float64Array) -> Float64Array:
    """(7,) pose of an upright object on the table."""
    return upright_pose(xy, constants.TABLE_TOP_M + item.rest_height_m)


def resample(
    draw: Callable[[np.random.Generator], Float64Array],
    accept: Callable[[Float64Array], bool | np.bool_],
    rng: np.random.Generator,
) -> Float64Array:
    """Draw until a draw is accepted."""
    while not accept(candidate := draw(rng)):
        pass
    return candidate

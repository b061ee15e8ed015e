"""Tasks: start states, success and reward, for batches of environments."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reskill_core.arrays import BoolArray, Float64Array
from reskill_core.environment import RestorableVectorEnv
from reskill_core.errors import SimulationError
from reskill_core.observation import SensorFrame
from reskill_core.seeding import episode_rng
from reskill_core.spec import GOAL_FRAME, GRIPPER_FRAME, TaskSpec
from reskill_sim.engine.family import REFERENCE_PROFILE
from reskill_sim.engine.variation import NOMINAL, POOL, Variation, World

if TYPE_CHECKING:
    from reskill_core.data import Episode
    from reskill_sim.engine.family import Family
    from reskill_sim.engine.mechanism import Mechanism


class Task(ABC):
    """Task (MDP) of a family.

    Args:
        variation: randomisation of physics, perception and latency.

    Attributes:
        spec: layouts, horizon, control period.
        hold_steps: an episode terminates when success has held for this many consecutive control steps, so that it
            includes what follows success (letting go, moving away); with None it runs until the horizon, so that every
            step of success is rewarded.
        goal_object: the object whose distance to the goal alone decides about success and reward; None if they depend
            on more than that.
    """

    spec: TaskSpec
    hold_steps: int | None = None
    goal_object: str | None = None

    def __init__(self, variation: Variation = NOMINAL) -> None:
        self.variation = variation

    @property
    @abstractmethod
    def family(self) -> Family:
        """Family of the task, which creates its environments and renderers."""

    def make_env(
        self,
        num_envs: int = 1,
        profile: str = REFERENCE_PROFILE,
        threads: int = 0,
        divergence_folder: Path | None = None,
    ) -> RestorableVectorEnv:
        """Create environments of this task, see :meth:`reskill_sim.engine.family.Family.make_env`."""
        return self.family.make_env(self, num_envs, profile, threads, divergence_folder)

    def lasting(self, horizons: float) -> Task:
        """Return this task with episodes that are longer by a factor, as slow arms need them for the whole of it."""
        longer = copy.copy(self)
        longer.spec = replace(self.spec, horizon=round(horizons * self.spec.horizon))
        return longer

    @property
    def num_scenes(self) -> int:
        """Number of scenes that episodes draw from."""
        return 1

    def draw_scene(self, seed: int) -> int:
        """Return the number of the scene of the episode with this seed."""
        return 0 if self.num_scenes == 1 else int(episode_rng(seed, "world").integers(self.num_scenes))

    def metrics(self, episode: Episode) -> dict[str, float]:
        """Further metrics of an episode, by name: what is true or false is reported as a rate; none by default."""
        return {}

    def result_of(self, vectors: Float64Array) -> Float64Array:
        """(N, K) what counts when an episode is done again, of the vectors (N, O) of final observations.

        Two results that are less than 3 cm apart count as the same. By default, everything counts.
        """
        return vectors

    @property
    def positions(self) -> dict[str, slice]:
        """Slices of the observed positions of frames [m]."""
        obs = self.spec.obs
        return {term.of[0]: obs.slice(term.name) for term in obs.terms if term.kind == "position"}

    @property
    def path_term(self) -> str | None:
        """Observed position, in space or in a plane, whose paths are plotted: the gripper's, if it is observed."""
        terms = self.spec.obs.terms
        return next((term.name for term in terms if (term.kind, term.of) == ("position", (GRIPPER_FRAME,))), None)

    def obstacles(self, seed: int) -> Float64Array:
        """(K, 4) obstacles seen from above in the episode with this seed, for plots: x, y, width, depth [m]."""
        return np.zeros((0, 4))

    def goal_outcome(self, achieved: Float64Array, desired: Float64Array) -> tuple[Float64Array, BoolArray]:
        """Compute reward (n,) and success (n,) for ``goal_object`` at positions (n, 3) and goals at (n, 3) [m]."""
        raise SimulationError(f"task {self.spec.name!r} has no goal form")


@dataclass(frozen=True)
class EpisodeStart:
    """Start of an episode.

    Attributes:
        object_poses: (number of objects, 7) body position [m] and quaternion (scalar first), in the scene's order.
        goal_pos_w: (3,) goal position [m].
        scene: number of the scene.
    """

    object_poses: Float64Array
    goal_pos_w: Float64Array
    scene: int = 0


def _nothing() -> Float64Array:
    return np.zeros((0, 0))


@dataclass(frozen=True)
class Situation:
    """State for computing success and reward, for a batch of N environments.

    Attributes:
        frames: names of the frames, in the order of the sensor frames.
        now: sensor readings now.
        before: sensor readings one control step ago.
        size: (N,) factor on the size of the manipulated object.
        physics: (N, P) physical states.
        memory: (N, K) what the task remembers, after this step.
        memory_before: (N, K) what it remembered before.
    """

    frames: tuple[str, ...]
    now: SensorFrame
    before: SensorFrame
    size: Float64Array
    physics: Float64Array = field(default_factory=_nothing)
    memory: Float64Array = field(default_factory=_nothing)
    memory_before: Float64Array = field(default_factory=_nothing)

    def position(self, name: str) -> Float64Array:
        """(N, 3) position of a frame [m]."""
        return self.now.frame_pos_w[:, self.frames.index(name)]

    def at_rest(self, name: str) -> BoolArray:
        """(N,) whether a frame moved by less than 2 mm in the last control step."""
        moved = self.position(name) - self.before.frame_pos_w[:, self.frames.index(name)]
        return np.linalg.norm(moved, axis=1) < 0.002


class SimulatedTask(Task):
    """Task in the engine's simulator: mechanism, start states, success and reward.

    Attributes:
        num_base_scenes: number of scenes before variation of the physics.
        memory_size: number K of values that the task remembers during an episode, zero at its start.
        compares_steps: whether observation, success or reward depend on readings of the previous control step; if not,
            they are not stored.
    """

    num_base_scenes: int = 1
    memory_size: int = 0
    compares_steps: bool = True

    @abstractmethod
    def make_mechanism(self, profile: str) -> Mechanism:
        """Create the robot and its surroundings with a fidelity profile.

        Raises:
            ConfigError: there is no such profile.
        """

    @abstractmethod
    def start_in(self, rng: np.random.Generator, scene: int) -> EpisodeStart:
        """Draw the start of an episode in the scene with that number."""

    def remembered(self, situation: Situation) -> Float64Array:
        """(N, K) what to remember after the step that led to this state, from ``memory_before``."""
        return situation.memory_before

    @abstractmethod
    def success(self, situation: Situation) -> BoolArray:
        """(N,) whether the task is solved in the current state."""

    @abstractmethod
    def reward(self, situation: Situation, success: BoolArray) -> Float64Array:
        """(N,) reward of a step that led to this state."""

    @property
    def num_scenes(self) -> int:
        """Number of scenes that episodes draw from, including variations of the physics."""
        repeats = math.ceil(POOL / self.num_base_scenes) if self.variation.has_many_worlds else 1
        return self.num_base_scenes * repeats

    def weaker_scene(self, number: int, strength: float) -> int:
        """Return the scene for an episode that draws scene ``number``, at a strength of the variation from 0 to 1.

        It differs from that scene in friction, mass and size only. Because models are compiled in advance, these are
        the factors of an existing scene that are closest to the drawn ones, scaled by the strength.
        """
        if strength == 1.0 or not self.variation.has_many_worlds:
            return number
        wanted = self._factors_of(self.variation.scaled(strength).draw_world(number))
        alike = np.arange(number % self.num_base_scenes, self.num_scenes, self.num_base_scenes)
        return int(alike[np.abs(self._factors[alike] - wanted).max(axis=1).argmin()])

    @cached_property
    def _factors(self) -> Float64Array:
        """(number of scenes, 3) friction, mass and size of every scene, as shares of their ranges."""
        return np.array([self._factors_of(self.variation.draw_world(number)) for number in range(self.num_scenes)])

    def _factors_of(self, world: World) -> Float64Array:
        ranges = [self.variation.ranges[name] for name in vars(world)]
        return np.array(list(vars(world).values())) / [high - low if high > low else 1.0 for low, high in ranges]

    def size_factor(self, number: int) -> float:
        """Return the factor on the size of the manipulated object in a scene."""
        low, high = self.variation.size
        return low if low == high else self.variation.draw_world(number).size

    def sample_start(self, rng: np.random.Generator, scene: int = 0) -> EpisodeStart:
        """Draw the start of an episode in a scene.

        Raises:
            SimulationError: there is no scene of that number.
        """
        if not 0 <= scene < self.num_scenes:
            raise SimulationError(f"task {self.spec.name} has the scenes 0 to {self.num_scenes - 1}, got {scene}")
        return self.start_in(rng, scene)

    def frame_index(self, name: str) -> int:
        """Return the index of a frame in :class:`SensorFrame` arrays."""
        return self.spec.obs.frames.index(name)

    def goal_outcome(self, achieved: Float64Array, desired: Float64Array) -> tuple[Float64Array, BoolArray]:
        """Compute reward (n,) and success (n,) from only the positions (n, 3) of object and goal."""
        if self.goal_object is None:
            return super().goal_outcome(achieved, desired)
        count, obs = len(achieved), self.spec.obs
        positions = np.full((count, len(obs.frames), 3), np.nan)
        positions[:, obs.frames.index(self.goal_object)] = achieved
        positions[:, obs.frames.index(GOAL_FRAME)] = desired
        frame = SensorFrame(
            np.full((count, len(obs.joints)), np.nan), positions, np.full((count, len(obs.frames), 4), np.nan)
        )
        situation = Situation(obs.frames, frame, frame, np.full(count, np.nan))
        success = self.success(situation)
        return self.reward(situation, success), success

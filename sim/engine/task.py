"""Tasks: what is to be done, how episodes start, what counts as success. All of it works on batches."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reskill_core.environment import RestorableVectorEnv
from reskill_core.errors import SimulationError
from reskill_core.observation import SensorFrame
from reskill_core.seeding import episode_rng
from reskill_core.spec import GOAL_FRAME, TaskSpec
from reskill_sim.engine.family import REFERENCE_PROFILE
from reskill_sim.engine.variation import NOMINAL, POOL, Variation

if TYPE_CHECKING:
    from reskill_core.data import Episode
    from reskill_sim.engine.family import Family
    from reskill_sim.engine.mechanism import Mechanism

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


class Task(ABC):
    """One MDP of a family.

    Args:
        variation: how its world varies from episode to episode.

    Attributes:
        spec: layouts, horizon, control period.
        hold_steps: an episode ends when success has held for this many control steps in a row, so that what
            follows success (letting go, moving away) is part of it; None goes on until the horizon, so that every
            step of success pays.
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
        """The family that it belongs to, which makes its environments and draws them."""

    def make_env(
        self,
        num_envs: int = 1,
        profile: str = REFERENCE_PROFILE,
        threads: int = 0,
        divergence_folder: Path | None = None,
    ) -> RestorableVectorEnv:
        """Environments of this task, see :meth:`reskill_sim.engine.family.Family.make_env`."""
        return self.family.make_env(self, num_envs, profile, threads, divergence_folder)

    @property
    def num_scenes(self) -> int:
        """Number of scenes that episodes draw from."""
        return 1

    def draw_scene(self, seed: int) -> int:
        """Number of the scene of the episode with this seed."""
        return 0 if self.num_scenes == 1 else int(episode_rng(seed, "world").integers(self.num_scenes))

    def metrics(self, episode: Episode) -> dict[str, float]:
        """Further metrics of an episode, by name: what is true or false is reported as a rate; none by default."""
        return {}

    def result_of(self, vectors: FloatArray) -> FloatArray:
        """(N, K) what counts when an episode is done again, of the vectors (N, O) of final observations.

        Two results that are less than 3 cm apart count as the same. By default, everything counts.
        """
        return vectors

    @property
    def positions(self) -> dict[str, slice]:
        """Where an observation has the position of each frame whose position is part of it [m]."""
        obs = self.spec.obs
        return {term.of[0]: obs.slice(term.name) for term in obs.terms if term.kind == "position"}

    def goal_outcome(self, achieved: FloatArray, desired: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Reward (n,) and success (n,) of having ``goal_object`` at positions (n, 3) with goals at (n, 3) [m]."""
        raise SimulationError(f"task {self.spec.name!r} has no goal form")


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


class SimulatedTask(Task):
    """A task whose physics is computed by the engine's simulator: a mechanism, starts, success and reward.

    Attributes:
        num_base_scenes: number of scenes that the task describes; where physics varies, each occurs in several worlds.
    """

    num_base_scenes: int = 1

    @abstractmethod
    def make_mechanism(self, profile: str) -> Mechanism:
        """The robot and its surroundings, as detailed as a fidelity profile says.

        Raises:
            ConfigError: there is no such profile.
        """

    @abstractmethod
    def start_in(self, rng: np.random.Generator, scene: int) -> EpisodeStart:
        """Draw how an episode in the scene of that number begins."""

    @abstractmethod
    def success(self, situation: Situation) -> BoolArray:
        """(N,) whether the task is solved right now."""

    @abstractmethod
    def reward(self, situation: Situation, success: BoolArray) -> FloatArray:
        """(N,) reward of arriving here, where the task is solved or not."""

    @property
    def num_scenes(self) -> int:
        """Number of scenes that episodes draw from; where physics varies, each is in a world of its own."""
        repeats = math.ceil(POOL / self.num_base_scenes) if self.variation.has_many_worlds else 1
        return self.num_base_scenes * repeats

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
        return self.start_in(rng, scene)

    def frame_index(self, name: str) -> int:
        """Index of a frame in :class:`SensorFrame` arrays."""
        return self.spec.obs.frames.index(name)

    def goal_outcome(self, achieved: FloatArray, desired: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Reward (n,) and success (n,) in a situation of which only object and goal are known, by position (n, 3)."""
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

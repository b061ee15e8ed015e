"""Maze tasks: drive a planar base to a goal, seen from its state or in pictures around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from reskill_core.arrays import BoolArray, Float64Array
from reskill_core.config import config_from_dict, config_to_dict
from reskill_core.errors import ConfigError
from reskill_core.seeding import episode_rng
from reskill_core.spec import GOAL_FRAME, ObsSpec, TaskSpec
from reskill_sim.engine.task import EpisodeStart, SimulatedTask, Situation
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.maze import constants
from reskill_sim.maze.layouts import MAX_LAYOUT_SEED, Layout, centre, draw_layout
from reskill_sim.maze.settings import MazeSettings

if TYPE_CHECKING:
    from reskill_core.data import Episode
    from reskill_sim.maze.family import MazeFamily
    from reskill_sim.maze.planar_base import PlanarBase

HORIZON = 2000
# Starts are spread around the centre of their cell [m].
_SPREAD_M = 0.1
_OBSERVED: dict[str, ObsSpec] = {"maze": constants.STATE_OBS, "maze_images": constants.IMAGE_OBS}
TASKS = tuple(_OBSERVED)


class MazeTask(SimulatedTask):
    """Reach the goal of a maze. An episode ends there, with its only reward, 1.

    The number of a scene is the seed of its layout.

    Args:
        name: one of ``TASKS``.
        variation: delays of actions and, if there are any, of pictures.
        settings: settings of the maze, as of :class:`~reskill_sim.maze.settings.MazeSettings`; the others have their
            defaults.

    Raises:
        ConfigError: a setting is unknown, out of range or contradicts the layout, or the variation is of anything but
            delays.

    Attributes:
        settings: all settings.
    """

    hold_steps = 1

    def __init__(self, name: str, variation: Variation = NOMINAL, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(variation)
        self.settings = config_from_dict(MazeSettings, settings or {}, source=f"the settings of task {name!r}")
        self.spec = TaskSpec(
            name,
            _OBSERVED[name],
            constants.ACTION,
            control_period_s=constants.CONTROL_PERIOD_S,
            horizon=HORIZON,
            description=f"find the way through a maze by {'pictures' if name == 'maze_images' else 'position'}",
            settings=config_to_dict(self.settings),
        )
        self._require_supported(variation)

    @property
    def family(self) -> MazeFamily:
        """The maze family."""
        from reskill_sim.maze.family import MAZE

        return MAZE

    def make_mechanism(self, profile: str) -> PlanarBase:
        """Create the planar base with this task's mazes."""
        # Imported here, because layouts, specifications and demonstrators need no MuJoCo.
        from reskill_sim.maze.planar_base import PlanarBase

        self.family.require_profile(profile)
        return PlanarBase(self)

    # ------------------------------------------------------------------ layouts

    @property
    def num_scenes(self) -> int:
        """Number of layouts with different seeds."""
        return MAX_LAYOUT_SEED + 1

    def draw_scene(self, seed: int) -> int:
        """Return the layout's seed in the episode with this seed."""
        if self.settings.layout_seed is not None:
            return self.settings.layout_seed
        return int(episode_rng(seed, "world").integers(self.num_scenes))

    def layout(self, scene: int) -> Layout:
        """Return the layout of a scene."""
        return draw_layout(scene, self.settings.size)

    # ------------------------------------------------------------------ episodes

    def start_in(self, rng: np.random.Generator, scene: int) -> EpisodeStart:
        """Draw start and goal in a layout, with the start outside the goal's radius."""
        free = centre(self.layout(scene).free)
        spread = rng.uniform(-_SPREAD_M, _SPREAD_M, 2)
        start = self._chosen(self.settings.start)
        goal = self._chosen(self.settings.goal)
        if goal is None:
            goal = free[rng.integers(len(free))] if start is None else _drawn(rng, free, start, self._clearance_m)
        if start is None:
            start = _drawn(rng, free, goal, self._clearance_m)
        return EpisodeStart(np.array([[*(start + spread), 0, 1, 0, 0, 0]]), np.array([*goal, 0.0]), scene)

    def success(self, situation: Situation) -> BoolArray:
        """(N,) whether the goal is reached."""
        away = situation.now.joint_pos - situation.position(GOAL_FRAME)[:, :2]
        return np.linalg.norm(away, axis=1) < self.settings.goal_radius_m

    def reward(self, situation: Situation, success: BoolArray) -> Float64Array:
        """(N,) 1 at the goal, 0 elsewhere."""
        return success.astype(np.float64)

    @property
    def _clearance_m(self) -> float:
        return self.settings.goal_radius_m + 1.0

    @staticmethod
    def _chosen(cell: tuple[int, int] | None) -> Float64Array | None:
        return None if cell is None else centre(np.array(cell))

    # ------------------------------------------------------------------ results

    def metrics(self, episode: Episode) -> dict[str, float]:
        """What an episode came to.

        Returns:
            ``reached``: the goal was reached; ``coverage``: share of the layout's free cells that the base was in;
            ``steps``: control steps, which are the steps to the goal if it was reached.
        """
        path = self.path(episode)
        layout = self.layout(self.draw_scene(episode.seed))
        cells = np.unique(np.floor(path).astype(np.int64), axis=0)
        return {
            "reached": bool(episode.success),
            "coverage": len(cells) / len(layout.free),
            "steps": float(episode.num_steps),
        }

    def path(self, episode: Episode) -> Float64Array:
        """(T + 1, 2) positions of the base over an episode [m]."""
        column = self.spec.obs.slice(constants.POSITION)
        return np.concatenate([episode.observation[:, column], episode.final_observation[None, column]])

    def result_of(self, vectors: Float64Array) -> Float64Array:
        """(N, 2) position of the base [m]."""
        return vectors[:, self.spec.obs.slice(constants.POSITION)]

    def _require_supported(self, variation: Variation) -> None:
        """Check that only delays vary."""
        delays = {"action_delay", "perception_delay"} if self.spec.obs.images else {"action_delay"}
        varied = [name for name, value in vars(variation).items() if value != getattr(NOMINAL, name)]
        if refused := [name for name in varied if name not in delays]:
            raise ConfigError(
                f"task {self.spec.name!r} does not support variation of {', '.join(refused)}: there are no objects; "
                f"supported: {', '.join(sorted(delays))}"
            )


def _drawn(rng: np.random.Generator, free: Float64Array, other: Float64Array, clearance_m: float) -> Float64Array:
    """Draw the centre of a free cell that is away from another one."""
    away = free[np.linalg.norm(free - other, axis=1) >= clearance_m]
    return away[rng.integers(len(away))]

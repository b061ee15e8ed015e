"""Maze tasks: drive a planar base to a goal, seen from its state or in pictures around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from reskill_core.arrays import BoolArray, Float64Array, IntArray
from reskill_core.config import config_from_dict, config_to_dict
from reskill_core.errors import ConfigError
from reskill_core.seeding import episode_rng
from reskill_core.spec import GOAL_FRAME, ObsSpec, TaskSpec
from reskill_sim.engine.task import EpisodeStart, SimulatedTask, Situation
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.maze import constants
from reskill_sim.maze.layouts import MAX_LAYOUT_SEED, Cell, Layout, centre, draw_layout
from reskill_sim.maze.settings import MazeSettings

if TYPE_CHECKING:
    from reskill_core.data import Episode
    from reskill_sim.maze.family import MazeFamily
    from reskill_sim.maze.planar_base import PlanarBase

HORIZON = 2000
# Starts are spread around the centre of their cell [m].
_SPREAD_M = 0.1
# Shortest and longest path between start and goal that are fixed for a layout, in relation to its size. Between the
# published cells it is 0.75 in the layout of the shipped agent.
_PATH_SIZES = (0.6, 0.9)
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
        self._ends: dict[int, tuple[Cell, Cell]] = {}

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
        spread = rng.uniform(-_SPREAD_M, _SPREAD_M, 2)
        start, goal = self._fixed_ends(scene) if self.settings.fixed else self._drawn_ends(rng, scene)
        base = centre(np.array(start)) + spread
        return EpisodeStart(np.array([[*base, 0, 1, 0, 0, 0]]), np.array([*centre(np.array(goal)), 0.0]), scene)

    def _drawn_ends(self, rng: np.random.Generator, scene: int) -> tuple[Cell, Cell]:
        """Cells of start and goal of an episode."""
        layout, start, goal = self.layout(scene), self.settings.start, self.settings.goal
        clearance = self.settings.goal_radius_m + 1.0

        def away_from(cell: Cell) -> Cell:
            return _drawn(rng, layout.free[np.linalg.norm(layout.free - cell, axis=1) >= clearance])

        if goal is None:
            goal = _drawn(rng, layout.free) if start is None else away_from(start)
        return away_from(goal) if start is None else start, goal

    def _fixed_ends(self, scene: int) -> tuple[Cell, Cell]:
        """Cells of start and goal of a layout."""
        if scene not in self._ends:
            layout, size, chosen = self.layout(scene), self.settings.size, self.settings.start or self.settings.goal
            # Apart from the generator of the layout, which has the same seed.
            rng = np.random.default_rng([scene, size, 1])
            one = _drawn(rng, layout.free) if chosen is None else chosen
            distance = layout.distances(one)
            low, high = (min(factor * size, distance.max()) for factor in _PATH_SIZES)
            other = _drawn(rng, np.argwhere((distance >= low) & (distance <= high)))
            self._ends[scene] = (
                self.settings.start or (one if chosen is None else other),
                self.settings.goal or other,
            )
        return self._ends[scene]

    def success(self, situation: Situation) -> BoolArray:
        """(N,) whether the goal is reached."""
        away = situation.now.joint_pos - situation.position(GOAL_FRAME)[:, :2]
        return np.linalg.norm(away, axis=1) < self.settings.goal_radius_m

    def reward(self, situation: Situation, success: BoolArray) -> Float64Array:
        """(N,) 1 at the goal, 0 elsewhere."""
        return success.astype(np.float64)

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

    @property
    def path_term(self) -> str:
        """Position of the base."""
        return constants.POSITION

    def obstacles(self, seed: int) -> Float64Array:
        """(K, 4) walls of the layout [m]."""
        cells = np.argwhere(self.layout(self.draw_scene(seed)).walls)
        return np.concatenate([cells, np.ones_like(cells)], axis=1).astype(np.float64)

    def result_of(self, vectors: Float64Array) -> Float64Array:
        """(N, 2) position of the base [m]."""
        return vectors[:, self.spec.obs.slice(constants.POSITION)]

    def _require_supported(self, variation: Variation) -> None:
        """Check that only delays of actions and the arm vary."""
        supported = {"action_delay", "lateness", "speed", "speed_limit", "lag", "overshoot", "unsteadiness", "nominal"}
        supported |= {"perception_delay"} if self.spec.obs.images else set()
        varied = [name for name, value in vars(variation).items() if value != getattr(NOMINAL, name)]
        if refused := [name for name in varied if name not in supported]:
            raise ConfigError(
                f"task {self.spec.name!r} does not support variation of {', '.join(refused)}: there are no objects; "
                f"supported: {', '.join(sorted(supported))}"
            )


def _drawn(rng: np.random.Generator, cells: IntArray) -> Cell:
    """Draw one of cells (n, 2)."""
    x, y = cells[rng.integers(len(cells))].tolist()
    return x, y

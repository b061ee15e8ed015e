"""Maze family: a planar base in mazes, observed as a state or in pictures."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from reskill_sim.engine.family import (
    DEFAULT_NOISE_RANGE,
    MIXED,
    NO_SETTINGS,
    REFERENCE_PROFILE,
    BenchLoad,
)
from reskill_sim.engine.mujoco_family import MujocoFamily
from reskill_sim.engine.variation import NOMINAL
from reskill_sim.maze.constants import JOINTS
from reskill_sim.maze.tasks import TASKS, MazeTask

if TYPE_CHECKING:
    from reskill_sim.engine.interfaces import Renderer
    from reskill_sim.engine.task import Task
    from reskill_sim.engine.variation import Variation
    from reskill_sim.maze.demonstrator import PathFollower

_PLANNER = "planner"


class MazeFamily(MujocoFamily):
    """Tasks of a planar base in mazes, simulated by MuJoCo."""

    name = "maze"
    gym_prefix = ""
    tasks = TASKS
    joint_names = JOINTS
    metric_titles = MappingProxyType({"reached": "reached goal", "coverage": "cells visited", "steps": "steps"})

    def make_task(self, name: str, variation: Variation, settings: Mapping[str, Any] = NO_SETTINGS) -> MazeTask:
        """Create a task with these settings of :class:`~reskill_sim.maze.settings.MazeSettings`."""
        return MazeTask(name, variation, settings)

    def demonstrators(self, task: str) -> tuple[str, ...]:
        """The planner."""
        return (_PLANNER,)

    def make_demonstrator(
        self,
        task: str,
        kind: str = MIXED,
        noise_range: tuple[float, float] = DEFAULT_NOISE_RANGE,
        num_envs: int = 1,
        settings: Mapping[str, Any] = NO_SETTINGS,
    ) -> PathFollower:
        """Create the planner, which knows the layout."""
        from reskill_core.errors import require_choice
        from reskill_sim.maze.demonstrator import PathFollower

        require_choice(f"demonstrator of task {task!r}", kind, (MIXED, _PLANNER))
        return PathFollower(self.make_task(task, NOMINAL, settings), noise_range, num_envs)

    def make_renderer(
        self, task: Task, width: int = 480, height: int = 360, profile: str = REFERENCE_PROFILE
    ) -> Renderer:
        """Create a renderer of the whole maze from above, which needs no graphics library."""
        from reskill_sim.maze.top_view import TopView

        self.require_profile(profile)
        return TopView(_own(task), width, height)

    def bench_load(self) -> BenchLoad:
        """Return the load of the planner's episodes with pictures."""
        return BenchLoad("maze_images", _PLANNER)


def _own(task: Task) -> MazeTask:
    assert isinstance(task, MazeTask), f"{task.spec.name} is no maze"
    return task


MAZE = MazeFamily()

"""Base class of families whose tasks run in the engine's simulator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reskill_sim.engine.family import REFERENCE_PROFILE, Family

# MuJoCo and the modules that need it are imported on demand, so that listing names is fast.
if TYPE_CHECKING:
    from reskill_sim.engine.interfaces import Renderer, Viewer
    from reskill_sim.engine.simulator import Simulator
    from reskill_sim.engine.task import SimulatedTask, Task


class MujocoFamily(Family):
    """Family of tasks with a :class:`~reskill_sim.engine.mechanism.Mechanism`, simulated and drawn by MuJoCo."""

    def make_env(
        self,
        task: Task,
        num_envs: int = 1,
        profile: str = REFERENCE_PROFILE,
        threads: int = 0,
        divergence_folder: Path | None = None,
    ) -> Simulator:
        """Create a batched simulator of a task."""
        from reskill_sim.engine.simulator import Simulator

        return Simulator(_simulated(task), num_envs, profile, threads, divergence_folder)

    def make_renderer(
        self, task: Task, width: int = 480, height: int = 360, profile: str = REFERENCE_PROFILE
    ) -> Renderer:
        """Create an off-screen renderer."""
        from reskill_sim.engine.rendering import MujocoRenderer

        return MujocoRenderer(_simulated(task), width, height, profile)

    def make_viewer(self, task: Task, profile: str = REFERENCE_PROFILE) -> Viewer:
        """Open MuJoCo's viewer."""
        from reskill_sim.engine.viewer import MujocoViewer

        return MujocoViewer(_simulated(task), profile)


def _simulated(task: Task) -> SimulatedTask:
    from reskill_sim.engine.task import SimulatedTask

    assert isinstance(task, SimulatedTask), f"task {task.spec.name} has no mechanism to simulate"
    return task

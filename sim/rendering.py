"""Off-screen pictures and videos of simulator states."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import imageio.v3 as imageio
import mujoco
import numpy as np
from numpy.typing import NDArray

from reskill_core.errors import SimulationError
from reskill_core.files import commit, part_path
from reskill_sim.simulator import Simulator
from reskill_sim.tasks.base import Task

Image = NDArray[np.uint8]


class Renderer:
    """Draws states of a task's simulator.

    Args:
        task: the task.
        width: of the pictures [pixels].
        height: of the pictures [pixels].
        profile: fidelity profile the states come from.

    Raises:
        SimulationError: there is no way to draw off-screen here.
    """

    def __init__(self, task: Task, width: int = 480, height: int = 360, profile: str = "exact") -> None:
        self._simulator = Simulator(task, profile=profile)
        self._model = self._simulator.model
        self._data = mujoco.MjData(self._model)
        # The mocap body's coloured cross is an aid for debugging the arm.
        self._model.geom_rgba[self._model.geom_bodyid == self._model.body("robot0:mocap").id, 3] = 0
        self._goal_site = self._model.site("target0").id
        self._camera = mujoco.MjvCamera()
        self._camera.lookat[:] = [*task.scene.table.centre, 0.45]
        self._camera.distance, self._camera.azimuth, self._camera.elevation = 1.9, 132.0, -22.0
        try:
            self._renderer = mujoco.Renderer(self._model, height, width)
        except Exception as error:
            raise SimulationError(
                f"cannot draw off-screen ({error}); set MUJOCO_GL=egl, or install libosmesa6 and set MUJOCO_GL=osmesa"
            ) from error

    def render(self, state_row: NDArray[np.float64]) -> Image:
        """Picture (height, width, 3) of one environment's state, see :meth:`Simulator.state`."""
        self._data.qpos[:] = self._simulator.qpos_of(state_row)
        body = self._model.site_bodyid[self._goal_site]
        self._model.site_pos[self._goal_site] = self._simulator.goal_of(state_row) - self._model.body_pos[body]
        mujoco.mj_forward(self._model, self._data)
        self._renderer.update_scene(self._data, self._camera)
        return self._renderer.render()

    def close(self) -> None:
        """Give the graphics memory back."""
        self._renderer.close()

    def __enter__(self) -> Renderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_video(path: Path, frames: Iterable[Image], rate_hz: float) -> None:
    """Write pictures as an H.264 MP4, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_path(path)
    imageio.imwrite(part, np.stack(list(frames)), plugin="FFMPEG", fps=rate_hz, codec="libx264", macro_block_size=2)
    commit(part, path)

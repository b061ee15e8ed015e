"""Off-screen pictures of simulator states, and files of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

import imageio.v3 as imageio
import mujoco
import numpy as np
from imageio_ffmpeg import count_frames_and_secs
from numpy.typing import NDArray

from reskill_core.errors import SimulationError
from reskill_core.files import replacing
from reskill_sim.engine.interfaces import Image
from reskill_sim.engine.simulator import Simulator
from reskill_sim.engine.task import SimulatedTask


class PosedScene:
    """A scene with all that is for show, brought into states of a task's simulator.

    Args:
        task: the task.
        profile: fidelity profile the states come from.

    Attributes:
        model: the scene of the last state.
        data: everything at its place there.
        camera: from where pictures are taken.
    """

    def __init__(self, task: SimulatedTask, profile: str) -> None:
        self._simulator = Simulator(task, profile=profile)
        self.camera = self._simulator.mechanism.camera
        self._load(0)

    def pose(self, state_row: NDArray[np.float64]) -> bool:
        """Take the state of one environment; returns whether its scene is another one than before."""
        scene = self._simulator.scene_of(state_row)
        other = scene != self._scene
        if other:
            self._load(scene)
        self.data.qpos[:] = self._simulator.qpos_of(state_row)
        self._simulator.mechanism.show_goal(self.model, self._simulator.goal_of(state_row))
        mujoco.mj_forward(self.model, self.data)
        return other

    def _load(self, scene: int) -> None:
        self._scene = scene
        self.model = self._simulator.mechanism.compiled(scene, looks=True)
        self.data = mujoco.MjData(self.model)


class MujocoRenderer:
    """Draws states of a task's simulator.

    Args:
        task: the task.
        width: of the pictures [pixels].
        height: of the pictures [pixels].
        profile: fidelity profile the states come from.

    Raises:
        SimulationError: there is no way to draw off-screen here.
    """

    def __init__(self, task: SimulatedTask, width: int = 480, height: int = 360, profile: str = "exact") -> None:
        self._posed = PosedScene(task, profile)
        self._size = height, width
        self._renderer = self._open()

    def render(self, state_row: NDArray[np.float64]) -> Image:
        """Picture (height, width, 3) of one environment's state, see :meth:`Simulator.state`."""
        if self._posed.pose(state_row):
            self._renderer.close()
            self._renderer = self._open()
        self._renderer.update_scene(self._posed.data, self._posed.camera)
        return self._renderer.render()

    def _open(self) -> mujoco.Renderer:
        try:
            return mujoco.Renderer(self._posed.model, *self._size)
        except Exception as error:
            raise SimulationError(
                f"cannot draw off-screen ({error}); set MUJOCO_GL=egl, or install libosmesa6 and set MUJOCO_GL=osmesa"
            ) from error

    def close(self) -> None:
        """Give the graphics memory back."""
        self._renderer.close()

    def __enter__(self) -> MujocoRenderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_video(path: Path, frames: Iterable[Image], rate_hz: float, comment: str = "") -> None:
    """Write pictures as an H.264 MP4, whole or not at all, with a comment in its metadata.

    Raises:
        SimulationError: it could not be written whole.
    """
    pictures = np.stack(list(frames))
    with replacing(path) as part:
        imageio.imwrite(
            part,
            pictures,
            plugin="FFMPEG",
            fps=rate_hz,
            codec="libx264",
            macro_block_size=2,
            output_params=["-metadata", f"comment={comment}"],
        )
        # The encoder is a process of its own, whose failure on a full disk goes unnoticed.
        try:
            written, _ = count_frames_and_secs(str(part))
        except RuntimeError:
            written = 0
        if written != len(pictures):
            raise SimulationError(f"{path} could not be written whole; is the disk full?")


def write_sheet(path: Path, pictures: Sequence[Image], columns: int = 4) -> None:
    """Write pictures of one size side by side as a PNG, row by row; what is missing in the last row stays white."""
    blank = np.full_like(pictures[0], 255)
    padded = [*pictures, *[blank] * (-len(pictures) % columns)]
    rows = [np.concatenate(padded[first : first + columns], axis=1) for first in range(0, len(padded), columns)]
    with replacing(path) as part:
        imageio.imwrite(part, np.concatenate(rows), extension=".png")

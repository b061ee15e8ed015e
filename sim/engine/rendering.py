"""Off-screen rendering of simulator states, and image and video files."""

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
    """Scene with visual parts, posed according to states of a task's simulator.

    Args:
        task: the task.
        profile: fidelity profile of the states.

    Attributes:
        model: model of the last state's scene.
        data: its MuJoCo data, in the last state.
        camera: camera for rendering.
    """

    def __init__(self, task: SimulatedTask, profile: str) -> None:
        self._simulator = Simulator(task, profile=profile)
        self.camera = self._simulator.mechanism.camera
        self._load(0)

    def pose(self, state_row: NDArray[np.float64]) -> bool:
        """Set the state of one environment; returns whether the scene has changed."""
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
    """Renderer of states of a task's simulator.

    Args:
        task: the task.
        width: image width [pixels].
        height: image height [pixels].
        profile: fidelity profile of the states.

    Raises:
        SimulationError: off-screen rendering is not available.
    """

    def __init__(self, task: SimulatedTask, width: int = 480, height: int = 360, profile: str = "exact") -> None:
        self._posed = PosedScene(task, profile)
        self._size = height, width
        self._renderer = self._open()

    def render(self, state_row: NDArray[np.float64]) -> Image:
        """Render one environment's state (:meth:`Simulator.state`) as an image (height, width, 3)."""
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
        """Release graphics memory."""
        self._renderer.close()

    def __enter__(self) -> MujocoRenderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_video(path: Path, frames: Iterable[Image], rate_hz: float, comment: str = "") -> None:
    """Write images as an H.264 MP4, atomically, with a comment in its metadata.

    Raises:
        SimulationError: it could not be written completely.
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
        # The encoder is a separate process, whose failure on a full disk is not reported.
        try:
            written, _ = count_frames_and_secs(str(part))
        except RuntimeError:
            written = 0
        if written != len(pictures):
            raise SimulationError(f"{path} could not be written whole; is the disk full?")


def write_sheet(path: Path, pictures: Sequence[Image], columns: int = 4) -> None:
    """Write images of one size side by side as a PNG, row by row; the last row is padded with white."""
    blank = np.full_like(pictures[0], 255)
    padded = [*pictures, *[blank] * (-len(pictures) % columns)]
    rows = [np.concatenate(padded[first : first + columns], axis=1) for first in range(0, len(padded), columns)]
    with replacing(path) as part:
        imageio.imwrite(part, np.concatenate(rows), extension=".png")

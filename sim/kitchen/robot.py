"""Simulated Franka in the kitchen: control by joint velocities, and measured coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from reskill_core.arrays import Float64Array, IntArray
from reskill_sim.engine.measurement_noise import uniform_noise
from reskill_sim.engine.mechanism import Integrate, Mechanism
from reskill_sim.engine.task import EpisodeStart
from reskill_sim.kitchen import constants
from reskill_sim.kitchen.model import arm_limits, build_model, mesh_folder, start_state
from reskill_sim.kitchen.profiles import get_profile

if TYPE_CHECKING:
    from reskill_sim.kitchen.task import KitchenTask

_NUM_JOINTS = len(constants.JOINT_NAMES)


class KitchenMechanism(Mechanism):
    """Franka in the kitchen.

    Its sensors are the coordinates and velocities of the model at the end of a control step, with the noise of the
    installed environment. Their values are in the order of the installed environment's observation.

    Args:
        task: the task.
        profile: name of the fidelity profile.
    """

    frames: dict[str, tuple[str, str]] = {}  # noqa: RUF012 - as declared by the base class
    joint_names = constants.JOINT_NAMES

    def __init__(self, task: KitchenTask, profile: str) -> None:
        self._task, self._profile = task, get_profile(profile)
        self.mesh_folder = mesh_folder()
        super().__init__()
        self._limits = arm_limits()
        self._noise = task.settings.noise * self._limits.noise
        qpos, qvel = self.layout.qpos.start, self.layout.qvel.start
        columns = np.arange(self.layout.width)
        self._read_columns = np.concatenate(
            [
                columns[qpos : qpos + _NUM_JOINTS],
                columns[qvel : qvel + _NUM_JOINTS],
                columns[qpos + _NUM_JOINTS : self.layout.qpos.stop],
                columns[qvel + _NUM_JOINTS : self.layout.qvel.stop],
            ]
        )
        self._measured = self.sensors["joint_position"]

    def compiled(self, scene: int, looks: bool = False) -> mujoco.MjModel:
        """Compile the model of a scene: one draw of friction and of the kettle's mass."""
        return build_model(self._profile, self._task.variation.draw_world(scene), looks)

    def start_state(self) -> mujoco.MjData:
        """Return the start state."""
        return start_state(self.model)

    def place(self, physics: Float64Array, sensors: Float64Array, starts: Sequence[EpisodeStart]) -> None:
        """Read the sensors; all episodes start alike."""
        sensors[:] = physics[:, self._read_columns]

    def control(self, physics: Float64Array, sensors: Float64Array, actions: Float64Array) -> Float64Array:
        """Compute joint targets, as the installed environment does: measured positions plus commanded movements.

        So the noise of measurement acts on the arm, and gravity lets it sink a little in every step.
        """
        moved = actions * constants.ACTION_SCALE * self._task.spec.control_period_s
        return np.clip(sensors[:, self._measured] + moved, self._limits.low, self._limits.high)

    def advance(
        self, integrate: Integrate, physics: Float64Array, sensors: Float64Array, actions: Float64Array, substeps: int
    ) -> tuple[Float64Array, Float64Array]:
        """Simulate one control period; returns physics and true sensor values at its end."""
        physics, _ = integrate(physics, self.control(physics, sensors, actions), substeps)
        return physics, physics[:, self._read_columns]

    def add_noise(self, sensors: Float64Array, seeds: IntArray, steps: IntArray) -> None:
        """Add uniform noise with the amplitudes of the installed environment, times the task's factor."""
        if self._noise.any():
            sensors += self._noise * uniform_noise(seeds, steps, len(self._noise))

    # ------------------------------------------------------------------ joints

    def joint_columns(self, names: Sequence[str]) -> IntArray:
        """Return the columns of measured joint positions."""
        first = self.layout.width + self._measured.start
        return first + np.array([constants.JOINT_NAMES.index(name) for name in names], int)

    def joint_state(self, physics: Float64Array, sensors: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return measured positions and velocities of the joints."""
        return sensors[:_NUM_JOINTS].copy(), sensors[_NUM_JOINTS : 2 * _NUM_JOINTS].copy()

    def driver_name(self, name: str) -> str:
        """Return the real Franka's name of a joint or link."""
        name = name.removeprefix(constants.JOINT_PREFIX)
        return name.replace(constants.ARM_PREFIX, "panda_", 1) if name.startswith(constants.ARM_PREFIX) else name

    # ------------------------------------------------------------------ rendering

    @property
    def camera(self) -> mujoco.MjvCamera:
        """Camera of the installed environment: over the arm's shoulder."""
        camera = mujoco.MjvCamera()
        camera.lookat[:] = (-0.2, 0.5, 2.0)
        camera.distance, camera.azimuth, camera.elevation = 2.2, 70.0, -35.0
        return camera

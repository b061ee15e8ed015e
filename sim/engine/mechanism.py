"""Mechanisms: what the simulator is given to simulate, a robot and its surroundings as compiled MuJoCo models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import mujoco
import numpy as np
from numpy.typing import NDArray

from reskill_core.errors import SimulationError
from reskill_sim.engine.task import EpisodeStart, FloatArray

IntArray = NDArray[np.int64]

# What the simulator takes for the physical state of an environment.
PHYSICS = mujoco.mjtState.mjSTATE_FULLPHYSICS

# (n, P) physics after a number of substeps, and (n, substeps, S) sensors as of the start of each, from physics (n, P)
# and a control signal (n, C) that is held.
Integrate = Callable[[FloatArray, FloatArray, int], tuple[FloatArray, FloatArray]]


class SensorTable:
    """Where the values of each sensor of a model stand among those of all, by the sensor's name."""

    def __init__(self, model: mujoco.MjModel) -> None:
        sensors = [model.sensor(index) for index in range(model.nsensor)]
        self._slices = {one.name: slice(int(one.adr[0]), int(one.adr[0] + one.dim[0])) for one in sensors}

    def __getitem__(self, name: str) -> slice:
        if name not in self._slices:
            raise SimulationError(f"the model has no sensor {name!r}; it has: {', '.join(self._slices)}")
        return self._slices[name]


class PhysicsLayout:
    """Where what stands in the physical state of an environment."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self.width = mujoco.mj_stateSize(model, PHYSICS)
        self.time = 0
        self.qpos = slice(1, 1 + model.nq)
        self.qvel = slice(1 + model.nq, 1 + model.nq + model.nv)


class Mechanism(ABC):
    """A robot and its surroundings: a compiled model for each scene, and what is particular about stepping them.

    The models of all scenes have one layout of state and sensors.

    Attributes:
        model: that of scene 0.
        sensors: where which sensor's values stand.
        layout: where what stands in the physical state.
        frames: names of the sensors that say position and quaternion of each observed frame but the goal. A frame that
            stands for the goal is read in its place.
        named: name of the sensor whose values a named term of an observation is, where it is not the term's own.
        perceived: the frames that are perceived late and with noise where the world varies so.
        joint_names: joints of the robot as its driver publishes them.
        control_spec: of what a control signal consists, flags of ``mujoco.mjtState``.
    """

    frames: Mapping[str, tuple[str, str]]
    named: Mapping[str, str] = MappingProxyType({})
    perceived: tuple[str, ...] = ()
    joint_names: tuple[str, ...] = ()
    control_spec: int = int(mujoco.mjtState.mjSTATE_CTRL)

    def __init__(self) -> None:
        self._models: dict[int, mujoco.MjModel] = {}
        self.model = self.model_of(0)
        self.sensors = SensorTable(self.model)
        self.layout = PhysicsLayout(self.model)

    def model_of(self, scene: int) -> mujoco.MjModel:
        """The compiled model of a scene."""
        if scene not in self._models:
            self._models[scene] = self.compiled(scene)
        return self._models[scene]

    def sensor_of(self, term: str) -> slice:
        """Where among the sensors the values of a named term of an observation stand."""
        return self.sensors[self.named.get(term, term)]

    # ------------------------------------------------------------------ episodes and steps

    @abstractmethod
    def compiled(self, scene: int, looks: bool = False) -> mujoco.MjModel:
        """Compile the model of a scene; with all that is for show only if ``looks``."""

    @abstractmethod
    def start_state(self) -> mujoco.MjData:
        """The state of :attr:`model` that episodes start from, but for what :meth:`place` puts somewhere else."""

    @abstractmethod
    def place(self, physics: FloatArray, sensors: FloatArray, starts: Sequence[EpisodeStart]) -> None:
        """Put things where episodes start.

        Args:
            physics: (n, P) states to change.
            sensors: (n, S) values of sensors to change accordingly.
            starts: where things are.
        """

    @abstractmethod
    def control(self, physics: FloatArray, sensors: FloatArray, actions: FloatArray) -> FloatArray:
        """(n, C) the control signal of a control period, from actions (n, A) in [-1, 1]."""

    def advance(
        self, integrate: Integrate, physics: FloatArray, sensors: FloatArray, actions: FloatArray, substeps: int
    ) -> tuple[FloatArray, FloatArray]:
        """Physics (n, P) and sensors (n, S) after one control period.

        Sensors are those of the last substep's start; what reads or corrects otherwise overrides this.
        """
        physics, readings = integrate(physics, self.control(physics, sensors, actions), substeps)
        return physics, readings[:, -1]

    # ------------------------------------------------------------------ what can be read

    @abstractmethod
    def joint_columns(self, names: Sequence[str]) -> IntArray:
        """Where in the physical state the positions of joints stand, by their driver's names."""

    def joint_positions(self, qpos: FloatArray) -> FloatArray:
        """(J,) positions of :attr:`joint_names` [m or rad] from coordinates (nq,)."""
        return np.zeros(0)

    def joint_velocities(self, qvel: FloatArray) -> FloatArray:
        """(J,) velocities of :attr:`joint_names` [m/s or rad/s] from velocities (nv,)."""
        return np.zeros(0)

    # ------------------------------------------------------------------ pictures

    def show_goal(self, model: mujoco.MjModel, goal_pos_w: FloatArray) -> None:  # noqa: B027 - most have no mark
        """Mark the goal (3,) [m] in a model that was compiled with its looks."""

    @property
    def camera(self) -> mujoco.MjvCamera:
        """From where pictures are taken."""
        camera = mujoco.MjvCamera()
        mujoco.mjv_defaultFreeCamera(self.model, camera)
        return camera

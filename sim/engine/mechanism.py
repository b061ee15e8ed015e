"""Mechanisms: robots and their surroundings as compiled MuJoCo models, for the simulator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import mujoco
import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float64Array, IntArray
from reskill_core.errors import SimulationError
from reskill_core.observation import SensorFrame
from reskill_core.spec import ImageFeature
from reskill_sim.engine.task import EpisodeStart
from reskill_sim.engine.urdf import robot_urdf

# The physical state of an environment.
PHYSICS = mujoco.mjtState.mjSTATE_FULLPHYSICS

# Function from physics (n, P), a constant control signal (n, C) and a number of substeps to the physics (n, P) after
# them, and the sensors (n, substeps, S) at the start of each.
Integrate = Callable[[Float64Array, Float64Array, int], tuple[Float64Array, Float64Array]]


class SensorTable:
    """Slices of a model's sensor values, by sensor name."""

    def __init__(self, model: mujoco.MjModel) -> None:
        sensors = [model.sensor(index) for index in range(model.nsensor)]
        self._slices = {one.name: slice(int(one.adr[0]), int(one.adr[0] + one.dim[0])) for one in sensors}

    def __getitem__(self, name: str) -> slice:
        if name not in self._slices:
            raise SimulationError(f"the model has no sensor {name!r}; it has: {', '.join(self._slices)}")
        return self._slices[name]


class PhysicsLayout:
    """Layout of the physical state of an environment."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self.width = mujoco.mj_stateSize(model, PHYSICS)
        self.time = 0
        self.qpos = slice(1, 1 + model.nq)
        self.qvel = slice(1 + model.nq, 1 + model.nq + model.nv)


class Mechanism(ABC):
    """Robot and its surroundings: a compiled model per scene, and the specifics of stepping them.

    The models of all scenes have the same layout of state and sensors.

    Attributes:
        model: model of scene 0.
        sensors: slices of the sensors' values.
        layout: layout of the physical state.
        frames: names of the sensors of position and quaternion, for each observed frame except the goal. The goal may
            be among them, if it is a body.
        named: sensor names of named observation terms, if they differ from the terms' names.
        perceived: frames that are affected by perception delay and noise.
        joint_names: the driver's names of the robot's joints.
        mesh_folder: folder of the model's meshes, if it has any.
        control_spec: components of a control signal, flags of ``mujoco.mjtState``.
    """

    frames: Mapping[str, tuple[str, str]]
    named: Mapping[str, str] = MappingProxyType({})
    perceived: tuple[str, ...] = ()
    joint_names: tuple[str, ...] = ()
    mesh_folder: Path | None = None
    control_spec: int = int(mujoco.mjtState.mjSTATE_CTRL)

    def __init__(self) -> None:
        self._models: dict[int, mujoco.MjModel] = {}
        self.model = self.model_of(0)
        self.sensors = SensorTable(self.model)
        self.layout = PhysicsLayout(self.model)

    def model_of(self, scene: int) -> mujoco.MjModel:
        """Return the compiled model of a scene."""
        if scene not in self._models:
            self._models[scene] = self.compiled(scene)
        return self._models[scene]

    def sensor_of(self, term: str) -> slice:
        """Return the slice of a named observation term in the sensor values."""
        return self.sensors[self.named.get(term, term)]

    # ------------------------------------------------------------------ episodes and steps

    @abstractmethod
    def compiled(self, scene: int, looks: bool = False) -> mujoco.MjModel:
        """Compile the model of a scene; with visual parts only if ``looks``."""

    @abstractmethod
    def start_state(self) -> mujoco.MjData:
        """Return the start state of :attr:`model`, before :meth:`place`."""

    @abstractmethod
    def place(self, physics: Float64Array, sensors: Float64Array, starts: Sequence[EpisodeStart]) -> None:
        """Set the start poses of objects.

        Args:
            physics: (n, P) states to change.
            sensors: (n, S) sensor values to change accordingly.
            starts: starts of the episodes.
        """

    def set_fingers(self, physics: Float64Array, positions: Float64Array) -> None:
        """Set where the fingers are at the start of episodes.

        Args:
            physics: (n, P) states to change.
            positions: (n,) position of each finger, 0 for a closed gripper [m].

        Raises:
            SimulationError: this is not supported.
        """
        raise SimulationError(f"{type(self).__name__} does not support the variation of finger_start")

    def load(self, sensors: Float64Array) -> Float64Array:
        """Measure the load of the arm: forces of what it holds and touches.

        Args:
            sensors: (n, S) sensor values.

        Returns:
            (n, A) force on the arm along each velocity of an action [N], 0 for fingers.

        Raises:
            SimulationError: this is not supported.
        """
        raise SimulationError(f"{type(self).__name__} does not support the variation of force_limit")

    @abstractmethod
    def control(self, physics: Float64Array, sensors: Float64Array, actions: Float64Array) -> Float64Array:
        """Compute the control signal (n, C) of a control period from actions (n, A) in [-1, 1]."""

    def advance(
        self, integrate: Integrate, physics: Float64Array, sensors: Float64Array, actions: Float64Array, substeps: int
    ) -> tuple[Float64Array, Float64Array]:
        """Simulate one control period; returns physics (n, P) and sensors (n, S).

        Sensors are read at the start of the last substep; subclasses may read or correct them differently.
        """
        physics, readings = integrate(physics, self.control(physics, sensors, actions), substeps)
        return physics, readings[:, -1]

    # ------------------------------------------------------------------ readings

    def add_noise(self, sensors: Float64Array, seeds: IntArray, steps: IntArray) -> None:  # noqa: B027 - most have none
        """Add noise of measurement to true sensor values; none by default.

        Args:
            sensors: (n, S) sensor values to change.
            seeds: (n,) seeds of the episodes; the noise depends on nothing but these and the steps.
            steps: (n,) control steps since the start of each episode.
        """

    @abstractmethod
    def joint_columns(self, names: Sequence[str]) -> IntArray:
        """Return the columns of joint positions, by the driver's joint names.

        They are columns of the physical state or, if joints are measured with noise, of the sensors behind it.
        """

    def joint_positions(self, qpos: Float64Array) -> Float64Array:
        """(J,) positions of :attr:`joint_names` [m or rad] from coordinates (nq,)."""
        return np.zeros(0)

    def joint_velocities(self, qvel: Float64Array) -> Float64Array:
        """(J,) velocities of :attr:`joint_names` [m/s or rad/s] from velocities (nv,)."""
        return np.zeros(0)

    def joint_state(self, physics: Float64Array, sensors: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Positions and velocities (J,) of the joints as the driver publishes them, of one environment.

        Args:
            physics: (P,) physical state.
            sensors: (S,) sensor values.
        """
        return self.joint_positions(physics[self.layout.qpos]), self.joint_velocities(physics[self.layout.qvel])

    # ------------------------------------------------------------------ description

    def driver_name(self, name: str) -> str:
        """Return the driver's name of one of the robot's joints or bodies, by its name in the model."""
        return name

    def robot_description(self, qpos: Float64Array, root: str) -> str:
        """URDF of the robot with visual parts; see :func:`~reskill_sim.engine.urdf.robot_urdf`.

        Args:
            qpos: (nq,) coordinates, for joints that the driver does not have.
            root: name of the frame of the world.
        """
        model = self.compiled(0, looks=True)
        names = [model.joint(index).name for index in range(model.njnt)]
        joints = {name: self.driver_name(name) for name in names if self.driver_name(name) in self.joint_names}
        return robot_urdf(model, qpos, joints, self.driver_name, root, self.mesh_folder)

    # ------------------------------------------------------------------ rendering

    def paint(self, image: ImageFeature, frame: SensorFrame, scenes: IntArray) -> NDArray[np.uint8]:
        """Paint the frames (n, H, W, C) of an observed image.

        Equal arguments must give equal frames, because restored states are painted again.

        Args:
            image: the image feature.
            frame: true sensor readings of n environments.
            scenes: (n,) numbers of their scenes.

        Raises:
            SimulationError: the mechanism cannot paint that image.
        """
        raise SimulationError(f"this simulator does not paint image {image.name!r}")

    def show_goal(self, model: mujoco.MjModel, goal_pos_w: Float64Array) -> None:  # noqa: B027 - most have no mark
        """Mark the goal (3,) [m] in a model that was compiled with visual parts."""

    @property
    def camera(self) -> mujoco.MjvCamera:
        """Camera for rendering."""
        camera = mujoco.MjvCamera()
        mujoco.mjv_defaultFreeCamera(self.model, camera)
        return camera

"""Simulated Fetch: control by actions, sensor readings, and start states of objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from reskill_core.arrays import Float64Array, IntArray
from reskill_core.rotations import matrix_from_quat
from reskill_core.spec import GRIPPER_FRAME
from reskill_sim.engine.mechanism import Integrate, Mechanism
from reskill_sim.engine.task import EpisodeStart
from reskill_sim.fetch import constants
from reskill_sim.fetch.model import (
    GRIP_POSITION,
    GRIPPER_POSITION,
    GRIPPER_QUATERNION,
    LOADS,
    STOCK_TIMESTEP_S,
    build_model,
    mesh_folder,
    object_sensors,
    start_state,
)
from reskill_sim.fetch.profiles import get_profile

if TYPE_CHECKING:
    from reskill_sim.fetch.tasks.base import FetchTask

_STATE = mujoco.mjtState


class FetchMechanism(Mechanism):
    """Fetch with a table and the objects of a task.

    Args:
        task: the task.
        profile: name of the fidelity profile.
    """

    control_spec = int(_STATE.mjSTATE_CTRL | _STATE.mjSTATE_MOCAP_POS | _STATE.mjSTATE_MOCAP_QUAT)

    def __init__(self, task: FetchTask, profile: str) -> None:
        self._task, self._profile = task, get_profile(profile)
        super().__init__()
        scene = task.scene()
        self.frames = {
            GRIPPER_FRAME: (GRIP_POSITION, GRIPPER_QUATERNION),
            **{item.observed_as: object_sensors(item) for item in scene.objects},
        }
        self.perceived = tuple(item.observed_as for item in scene.objects)
        self.joint_names = constants.JOINT_NAMES
        self.mesh_folder = mesh_folder()
        self._gripper_position, self._gripper_quaternion = (
            self.sensors[name] for name in (GRIPPER_POSITION, GRIPPER_QUATERNION)
        )
        self._object_columns = [tuple(self.sensors[name] for name in object_sensors(item)) for item in scene.objects]
        first = self.layout.qpos.start
        starts = [self.model.jnt_qposadr[self.model.joint(f"{item.name}:joint").id] for item in scene.objects]
        self._object_qpos = first + np.array(starts)[:, None] + np.arange(7)
        self._finger_qpos = self.joint_columns(constants.FINGER_JOINTS)
        self._actuated_qpos = self.joint_columns(constants.FINGER_ACTUATORS)
        self._displacement = np.array(task.spec.action.scale) * task.spec.control_period_s
        self._closed = task.spec.gripper_closed
        self._shift = self._reading_shift()
        loads = [self.sensors[name].start for name in LOADS] if task.variation.limits_force else []
        # (number of bodies, 3)
        self._load_columns = np.array(loads, int)[:, None] + np.arange(3)
        self._choose_joints()

    def compiled(self, scene: int, looks: bool = False) -> mujoco.MjModel:
        """Compile the model of a scene."""
        task = self._task
        closed, loaded = task.spec.gripper_closed, task.variation.limits_force
        model = build_model(task.scene(scene), self._profile, looks, closed, loaded)
        if looks:
            # Hide the mocap body's coloured cross, a debugging aid.
            model.geom_rgba[model.geom_bodyid == model.body(constants.MOCAP_BODY).id, 3] = 0
        return model

    def start_state(self) -> mujoco.MjData:
        """Return the start state: the arm above the table, the objects far away."""
        return start_state(self.model)

    def place(self, physics: Float64Array, sensors: Float64Array, starts: Sequence[EpisodeStart]) -> None:
        """Set the objects to the start poses of episodes."""
        poses = np.stack([start.object_poses for start in starts])
        offsets = np.array([[item.frame_offset for item in self._task.scene(start.scene).objects] for start in starts])
        positions = poses[..., :3] + (matrix_from_quat(poses[..., 3:]) @ offsets[..., None])[..., 0]
        physics[:, self._object_qpos] = poses
        for number, (position, quaternion) in enumerate(self._object_columns):
            sensors[:, position], sensors[:, quaternion] = positions[:, number], poses[:, number, 3:]

    def set_fingers(self, physics: Float64Array, positions: Float64Array) -> None:
        """Set where the fingers are at the start of episodes; without effect if they are held shut."""
        if not self._closed:
            physics[:, self._finger_qpos] = positions[:, None]

    def load(self, sensors: Float64Array) -> Float64Array:
        """Measure the force of contacts on gripper and fingers."""
        loads = np.zeros((len(sensors), self._displacement.size))
        loads[:, :3] = sensors[:, self._load_columns].sum(axis=1)
        return loads

    def control(self, physics: Float64Array, sensors: Float64Array, actions: Float64Array) -> Float64Array:
        """Compute the control signal, as the Fetch environments do.

        The mocap target is the gripper link's pose at the start of the last substep, plus the commanded displacement;
        the fingers' targets are their positions plus the commanded displacement.
        """
        command = actions * self._displacement
        target = sensors[:, self._gripper_position] + command[:, :3]
        orientation = sensors[:, self._gripper_quaternion] + constants.GRIPPER_DOWN_WXYZ
        fingers = physics[:, self._actuated_qpos] + command[:, 3:4]
        return np.concatenate([*([] if self._closed else [fingers]), target, orientation], axis=1)

    def advance(
        self, integrate: Integrate, physics: Float64Array, sensors: Float64Array, actions: Float64Array, substeps: int
    ) -> tuple[Float64Array, Float64Array]:
        """Simulate one control period; returns physics and sensors.

        Sensors are as the stock environments read them; loads are means, because a step stops as suddenly as it starts.
        """
        control = self.control(physics, sensors, actions)
        physics, readings = integrate(physics, control, substeps)
        loads = readings[:, :, self._load_columns].mean(axis=1)
        before, now = readings[:, -2], readings[:, -1]
        if self._closed:
            # Shut the fingers and read the sensors again, as the stock environment does: the readings are those of
            # one more substep, whose physics is discarded.
            physics[:, self._finger_qpos] = 0.0
            _, readings = integrate(physics, control, 1)
            before, now = now, readings[:, -1]
        sensors = now + self._shift * (now - before)
        sensors[:, self._load_columns] = loads
        return physics, sensors

    def _reading_shift(self) -> Float64Array:
        """(S,) time shift of sensor readings in substeps, so that coarse steps give the readings of stock steps.

        In semi-implicit integration bodies run ahead by half a step: in a coarse model, relative to the stock one, by
        half the difference of the steps. Also, the stock environments read at the start of the last substep, which is
        later for shorter steps; with closed fingers they read at its end.
        """
        ahead = (1.0 - STOCK_TIMESTEP_S / self.model.opt.timestep) / 2.0
        is_position = np.repeat(self.model.sensor_type == mujoco.mjtSensor.mjSENS_FRAMEPOS, self.model.sensor_dim)
        return np.where(is_position, -ahead if self._closed else ahead, 0.0)

    # ------------------------------------------------------------------ joints

    def joint_columns(self, names: Sequence[str]) -> IntArray:
        """Return the columns of joint positions in the physical state."""
        return self.layout.qpos.start + np.array([self.model.jnt_qposadr[self._joint(name)] for name in names], int)

    def joint_positions(self, qpos: Float64Array) -> Float64Array:
        """(J,) positions of the joints; for joints fixed by the profile, the readings of the driver."""
        readings = np.array([constants.FIXED_JOINT_READINGS.get(name, 0.0) for name in constants.JOINT_NAMES])
        readings[self._moving] = qpos[self._joint_qpos]
        return readings

    def joint_velocities(self, qvel: Float64Array) -> Float64Array:
        """(J,) velocities of the joints."""
        readings = np.zeros(len(constants.JOINT_NAMES))
        readings[self._moving] = qvel[self._joint_qvel]
        return readings

    def _choose_joints(self) -> None:
        """Separate the real robot's joints that the profile's model has from those that it fixes."""
        present = {self.model.joint(index).name for index in range(self.model.njnt)}
        self._moving = np.array([constants.MODEL_PREFIX + name in present for name in constants.JOINT_NAMES])
        moving = [self._joint(name) for name, moves in zip(constants.JOINT_NAMES, self._moving, strict=True) if moves]
        self._joint_qpos, self._joint_qvel = self.model.jnt_qposadr[moving], self.model.jnt_dofadr[moving]

    def _joint(self, name: str) -> int:
        return int(self.model.joint(constants.MODEL_PREFIX + name).id)

    def driver_name(self, name: str) -> str:
        """Return the real Fetch's name of a joint or link."""
        return name.removeprefix(constants.MODEL_PREFIX)

    # ------------------------------------------------------------------ rendering

    def show_goal(self, model: mujoco.MjModel, goal_pos_w: Float64Array) -> None:
        """Move the goal's marker."""
        site = model.site("target0").id
        model.site_pos[site] = goal_pos_w - model.body_pos[model.site_bodyid[site]]

    @property
    def camera(self) -> mujoco.MjvCamera:
        """Default camera, from across the table."""
        camera = mujoco.MjvCamera()
        camera.lookat[:] = [*self._task.scene().table.centre, 0.45]
        camera.distance, camera.azimuth, camera.elevation = 1.6, 132.0, -24.0
        return camera

"""Physics of an arm with a parallel gripper in front of a table with the objects of a Fetch task, in MuJoCo.

The arm has position servos with limited torque and compensated gravity, as the position interface of industrial arms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from arm_controllers import FULL_TORQUE_RAD
from dh_arms import Arm
from numpy.typing import NDArray

from reskill_core.frames import RigidTransform
from reskill_core.observation import SensorFrame
from reskill_sim.engine.task import EpisodeStart, Situation
from reskill_sim.fetch import constants
from reskill_sim.fetch.model import add_scene
from reskill_sim.fetch.scene import Scene
from reskill_sim.fetch.tasks.base import FetchTask

TIMESTEP_S = 0.002
FINGERS = ("left_finger_joint", "right_finger_joint")
# From the back of the palm to the gripper frame, between the fingers [m].
GRIPPER_LENGTH_M = 0.14
_FINGER_HALF_M = (0.0135, 0.007, 0.0385)
# The gripper frame is this far above the fingertips [m], as the Fetch's is.
_TIP_M = 0.0185
FINGER_RANGE_M = (0.0, 0.05)
GRIP_FORCE_N = 60.0
_FINGER_STIFFNESS = 4000.0


@dataclass(frozen=True)
class Mount:
    """Where an arm stands in the task's world.

    Attributes:
        position: of its base link [m].
        yaw: turn about the vertical [rad].
        gripper_yaw: turn of the gripper about the flange's axis [rad].
    """

    position: tuple[float, float, float]
    yaw: float = 0.0
    gripper_yaw: float = 0.0

    @property
    def transform(self) -> RigidTransform:
        """Transform from the base link to the task's world."""
        return RigidTransform(self.position, (math.cos(self.yaw / 2), 0.0, 0.0, math.sin(self.yaw / 2)))


class ArmWorld:
    """An arm at a task's table.

    Attributes:
        model: compiled model.
        data: its state.
        joints: names of the arm's joints.
        target: setpoints of the arm's servos [rad].
        finger_target: setpoint of both fingers [m].
    """

    def __init__(self, arm: Arm, mount: Mount, task: FetchTask) -> None:
        self.arm, self.task, self.joints = arm, task, arm.joints
        self._scene = task.scene()
        self.model = _compiled(arm, mount, self._scene)
        self.data = mujoco.MjData(self.model)
        self._qpos = np.array([self.model.joint(name).qposadr[0] for name in self.joints])
        self._qvel = np.array([self.model.joint(name).dofadr[0] for name in self.joints])
        self._fingers = np.array([self.model.joint(name).qposadr[0] for name in FINGERS])
        gains = self.model.actuator_biasprm[: len(self.joints)]
        # Time by which a servo without feed-forward lags behind a ramp [s].
        self._damping_time = gains[:, 2] / gains[:, 1]
        self.target = self._last_target = np.array(arm.start)
        self.finger_target = FINGER_RANGE_M[1]

    def reset(self, start: EpisodeStart, positions: Sequence[float]) -> None:
        """Start an episode with the arm at rest at joint positions [rad] and the fingers as the task wants them."""
        mujoco.mj_resetData(self.model, self.data)
        self.target = np.array(positions, dtype=np.float64)
        self.finger_target = FINGER_RANGE_M[0 if self.task.spec.gripper_closed else 1]
        self._last_target = self.target.copy()
        self.data.qpos[self._qpos] = positions
        self.data.qpos[self._fingers] = self.finger_target
        for item, pose in zip(self._scene.objects, start.object_poses, strict=True):
            self.data.joint(f"{item.name}:joint").qpos = pose
        self.goal = start.goal_pos_w
        mujoco.mj_forward(self.model, self.data)

    def step(self) -> None:
        """Advance the physics by one time step."""
        # Drives feed the setpoint's velocity forward; otherwise their damping would make them lag behind.
        velocity = (self.target - self._last_target) / TIMESTEP_S
        self._last_target = self.target.copy()
        self.data.ctrl[: len(self.joints)] = self.target + self._damping_time * velocity
        self.data.ctrl[len(self.joints) :] = self.finger_target
        mujoco.mj_step(self.model, self.data)

    @property
    def positions(self) -> NDArray[np.float64]:
        """(J,) positions of the arm's joints [rad]."""
        return self.data.qpos[self._qpos].copy()

    @property
    def velocities(self) -> NDArray[np.float64]:
        """(J,) velocities [rad/s]."""
        return self.data.qvel[self._qvel].copy()

    @property
    def fingers(self) -> NDArray[np.float64]:
        """(2,) positions of the fingers [m]."""
        return self.data.qpos[self._fingers].copy()

    def poses(self) -> Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Position (3,) [m] and quaternion (4,) of each frame of the task's observation, in the task's world."""
        mujoco.mj_kinematics(self.model, self.data)
        found = {"goal": (self.goal, np.array([1.0, 0, 0, 0])), "gripper": self._site("gripper")}
        for item in self._scene.objects:
            position, _ = self._site(f"frame:{item.name}")
            found[item.observed_as] = position, self.data.body(item.name).xquat.copy()
        return found

    def frame(self) -> SensorFrame:
        """Sensor readings, for a batch of one."""
        poses = self.poses()
        frames = [poses[name] for name in self.task.spec.obs.frames]
        return SensorFrame(
            self.fingers[None], np.array([[p for p, _ in frames]]), np.array([[quat for _, quat in frames]])
        )

    def _site(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        site, quat = self.data.site(name), np.empty(4)
        mujoco.mju_mat2Quat(quat, site.xmat)
        return site.xpos.copy(), quat


class Judge:
    """Success and return of an episode, seen from the true state at every control step.

    Attributes:
        solved: whether the task is solved in the last state.
        sum: sum of the rewards.
    """

    def __init__(self, task: FetchTask, start: SensorFrame) -> None:
        self._task, self._before = task, start
        self._memory = np.zeros((1, task.memory_size))
        self.solved, self.sum = False, 0.0

    def see(self, frame: SensorFrame) -> None:
        """Judge the state after a control step."""
        task, memory = self._task, self._memory
        situation = Situation(
            task.spec.obs.frames, frame, self._before, np.ones(1), memory=memory, memory_before=memory
        )
        if task.memory_size:
            self._memory = task.remembered(situation)
        success = task.success(situation)
        self.solved, self._before = bool(success[0]), frame
        self.sum += float(task.reward(situation, success)[0])


def _compiled(arm: Arm, mount: Mount, scene: Scene) -> mujoco.MjModel:
    spec = mujoco.MjSpec()
    spec.option.timestep, spec.option.integrator = TIMESTEP_S, mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.impratio, spec.option.cone = 10.0, mujoco.mjtCone.mjCONE_ELLIPTIC
    robot = _robot(arm, mount)
    frame = spec.worldbody.add_frame(pos=mount.transform.position, quat=mount.transform.quat_wxyz)
    spec.attach(robot, frame=frame, prefix="")
    table = spec.worldbody.add_body(name="table", pos=[*scene.table.centre, constants.TABLE_TOP_M / 2])
    table.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=[*scene.table.half_size, constants.TABLE_TOP_M / 2])
    add_scene(spec, scene)
    return spec.compile()


def _robot(arm: Arm, mount: Mount) -> mujoco.MjSpec:
    """The arm with servos, and the gripper."""
    text = arm.urdf().replace("</robot>", '<mujoco><compiler fusestatic="false"/></mujoco></robot>')
    spec = mujoco.MjSpec.from_string(text)
    for body in spec.bodies[1:]:
        body.gravcomp = 1.0
    for link in arm.links:
        joint = spec.joint(link.joint)
        # Motors behind gears.
        joint.armature, joint.damping = link.effort / 150.0, [link.effort / 30.0, 0, 0]
        stiffness = link.effort / FULL_TORQUE_RAD
        servo = spec.add_actuator(name=link.joint, target=link.joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        servo.set_to_position(kp=stiffness, dampratio=1.0)
        servo.forcerange, servo.forcelimited = [-link.effort, link.effort], 1
    _add_gripper(spec, arm, mount.gripper_yaw)
    return spec


def _add_gripper(spec: mujoco.MjSpec, arm: Arm, yaw: float) -> None:
    turn = [np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
    hand = spec.body(arm.tip).add_body(name="hand", pos=[0, 0, arm.tool - GRIPPER_LENGTH_M], quat=turn)
    hand.gravcomp = 1.0
    box = mujoco.mjtGeom.mjGEOM_BOX
    palm = GRIPPER_LENGTH_M + _TIP_M - 2 * _FINGER_HALF_M[2]
    hand.add_geom(type=box, size=[0.03, 0.065, palm / 2], pos=[0, 0, palm / 2], mass=arm.palm_mass)
    hand.add_site(name="gripper", pos=[0, 0, GRIPPER_LENGTH_M])
    for side, name in zip((1.0, -1.0), FINGERS, strict=True):
        # At 0 the fingers touch.
        at = [0.0, side * _FINGER_HALF_M[1], GRIPPER_LENGTH_M + _TIP_M - _FINGER_HALF_M[2]]
        finger = hand.add_body(name=name.removesuffix("_joint"), pos=at)
        finger.gravcomp = 1.0
        finger.add_joint(
            name=name,
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=[0, side, 0],
            range=FINGER_RANGE_M,
            armature=0.5,
            damping=[20.0, 0, 0],
        )
        finger.add_geom(type=box, size=_FINGER_HALF_M, mass=0.05, condim=4, friction=[1.0, 0.05, 0.01])
        servo = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        servo.set_to_position(kp=_FINGER_STIFFNESS, dampratio=1.0)
        servo.forcerange, servo.forcelimited = [-GRIP_FORCE_N, GRIP_FORCE_N], 1
    spec.add_exclude(bodyname1="left_finger", bodyname2="right_finger")
    # One drive moves both.
    coupling = spec.add_equality(name1=FINGERS[0], name2=FINGERS[1], type=mujoco.mjtEq.mjEQ_JOINT)
    coupling.data[:2] = [0.0, 1.0]

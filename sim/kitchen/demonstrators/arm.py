"""Batched kinematics of the kitchen's arm, in numpy."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from reskill_core.arrays import Float64Array
from reskill_sim.kitchen import constants

NUM_JOINTS = len(constants.ARM_JOINTS)
GRAVITY_M_S2 = 9.81
# The grip: the point between the pads of the fingers by which handles are held, from the end effector's site towards
# the fingertips [m].
GRIP_M = 0.025


@dataclass(frozen=True)
class ArmState:
    """Grip and arm of a batch of N robots.

    Attributes:
        grip: (N, 3) position of the grip [m].
        rotation: (N, 3, 3) orientation of the hand: its axes are the columns; fingers move along y, and point along z.
        jacobian: (N, 6, 7) linear and angular velocity of the grip per joint velocity.
        gravity: (N, 7) torques that hold the arm against gravity [Nm].
    """

    grip: Float64Array
    rotation: Float64Array
    jacobian: Float64Array
    gravity: Float64Array


class Arm:
    """The arm's geometry, masses and servos, of a compiled model.

    Attributes:
        low: (7,) lower limits of the joints [rad].
        high: (7,) upper limits.
        stiffness: (7,) torque per distance from the commanded position [Nm/rad].
        reached: (7,) share of the commanded movement that a joint makes in a control period, against its damping.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        links = [model.body(f"panda0_link{number + 1}").id for number in range(NUM_JOINTS)]
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        base = model.body_parentid[links[0]]
        self._base_pos, self._base_rot = data.xpos[base].copy(), data.xmat[base].reshape(3, 3).copy()
        self._pos = model.body_pos[links].copy()
        self._rot = np.stack([_matrix(model.body_quat[link]) for link in links])
        site = model.site("end_effector")
        self._hand_rot = _matrix(site.quat)
        self._grip_pos = site.pos + GRIP_M * self._hand_rot[:, 2]
        mass, moment = model.body_mass[links].copy(), model.body_mass[links, None] * model.body_ipos[links]
        for finger in ("panda0_leftfinger", "panda0_rightfinger"):
            part = model.body(finger)
            mass[-1] += part.mass[0]
            moment[-1] += part.mass[0] * (part.pos + _matrix(part.quat) @ part.ipos)
        self._mass, self._center = mass, moment / mass[:, None]
        # Mass of all links from each joint outwards.
        self._outer_mass = np.cumsum(mass[::-1])[::-1]
        self.low, self.high = model.jnt_range[:NUM_JOINTS].T.copy()
        self.stiffness = model.actuator_gainprm[:NUM_JOINTS, 0].copy()
        rate = self.stiffness / model.dof_damping[:NUM_JOINTS]
        self.reached = 1.0 - np.exp(-rate * constants.CONTROL_PERIOD_S)

    def state(self, joints: Float64Array) -> ArmState:
        """Compute the state of arms with joint positions (N, 7) [rad]."""
        count = len(joints)
        cos, sin = np.cos(joints)[:, :, None], np.sin(joints)[:, :, None]
        pos, rot = np.broadcast_to(self._base_pos, (count, 3)), np.broadcast_to(self._base_rot, (count, 3, 3))
        axes, anchors, centers = np.empty((3, count, NUM_JOINTS, 3))
        for link in range(NUM_JOINTS):
            pos = pos + rot @ self._pos[link]
            still = rot @ self._rot[link]
            x, y, axis = still[:, :, 0], still[:, :, 1], still[:, :, 2]
            c, s = cos[:, link], sin[:, link]
            rot = np.stack([c * x + s * y, c * y - s * x, axis], axis=2)
            axes[:, link], anchors[:, link], centers[:, link] = axis, pos, pos + rot @ self._center[link]
        grip = pos + rot @ self._grip_pos
        jacobian = np.empty((count, 6, NUM_JOINTS))
        jacobian[:, :3] = np.cross(axes, grip[:, None] - anchors).transpose(0, 2, 1)
        jacobian[:, 3:] = axes.transpose(0, 2, 1)
        moments = np.cumsum((centers * self._mass[:, None])[:, ::-1], axis=1)[:, ::-1]
        lever = moments - self._outer_mass[:, None] * anchors
        gravity = GRAVITY_M_S2 * (axes[..., 0] * lever[..., 1] - axes[..., 1] * lever[..., 0])
        return ArmState(grip, rot @ self._hand_rot, jacobian, gravity)


def hand_rotation(yaw: Float64Array, pitch: Float64Array) -> Float64Array:
    """(N, 3, 3) orientations of a hand that points at the cabinets (y), its fingers side by side (x).

    Args:
        yaw: (N,) turn to the left [rad].
        pitch: (N,) then upwards [rad].
    """
    (cy, sy), (cp, sp), zero = (np.cos(yaw), np.sin(yaw)), (np.cos(pitch), np.sin(pitch)), np.zeros_like(yaw)
    up = np.stack([sy * sp, -cy * sp, cp], axis=1)
    left_to_right = np.stack([cy, sy, zero], axis=1)
    forward = np.stack([-sy * cp, cy * cp, sp], axis=1)
    return np.stack([up, left_to_right, forward], axis=2)


def rotation_vector(rotation: Float64Array) -> Float64Array:
    """(N, 3) axes times angles [rad] of rotations (N, 3, 3) by less than a half turn."""
    skew = np.stack(
        [
            rotation[:, 2, 1] - rotation[:, 1, 2],
            rotation[:, 0, 2] - rotation[:, 2, 0],
            rotation[:, 1, 0] - rotation[:, 0, 1],
        ],
        axis=1,
    )
    sine = np.linalg.norm(skew, axis=1) / 2
    angle = np.arctan2(sine, (np.trace(rotation, axis1=1, axis2=2) - 1) / 2)
    return skew * (angle / np.maximum(2 * sine, 1e-9))[:, None]


def _matrix(quaternion: Float64Array) -> Float64Array:
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, np.asarray(quaternion, dtype=np.float64))
    return matrix.reshape(3, 3)

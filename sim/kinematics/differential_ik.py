"""Differential inverse kinematics: joint motion for a velocity of the gripper frame, by mink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from reskill_core.arrays import Float64Array
from reskill_core.errors import ConfigError
from reskill_core.kinematics import KinematicsConfig
from reskill_core.rotations import matrix_from_quat
from reskill_sim.kinematics.arm_model import TOOL_SITE, ArmModel

try:
    import mink
except ModuleNotFoundError as error:
    raise ConfigError("commanding joints along a Cartesian path needs mink: pip install 'reskill-ros[arms]'") from error

# In relation to the cost of 1 for the position: a bias that only decides what the gripper's motion leaves open.
_POSTURE_COST = 1e-2
_POSTURE_GAIN = 0.05
# Damping of joint steps, which bounds them at singularities; in relation to the costs as well.
_DAMPING = 1e-5
# Error of a linearised step that the next one corrects [m].
_MISSED_M = 2e-3
# Largest speed at which an error of the orientation is corrected [rad/s].
_TURNING_SPEED = 1.0


@dataclass(frozen=True)
class JointMotion:
    """Motion of the commanded joints over one control period.

    Attributes:
        position: (n,) position at its end [m or rad].
        velocity: (n,) mean velocity [m/s or rad/s].
        slowed: factor from 0 to 1 on the velocity of the gripper frame, to keep within the speed of the joints.
    """

    position: Float64Array
    velocity: Float64Array
    slowed: float


class DifferentialIk:
    """Inverse kinematics of velocities of the gripper frame, with a constant orientation.

    Each step minimises, over the joint displacements of one control period within the joints' limits, the squared
    errors of the gripper frame's position and, weighted, of its orientation, which stays that at the start of the
    motion; mink solves the quadratic program. The preferred posture decides what remains free. Where joints would have
    to move faster than allowed, as near singularities, the gripper frame moves more slowly in the same direction.

    For a driver of positions, they start from the measured ones and are integrated from then on, because measured ones
    lag behind; the distance between the two is bounded. For a driver of velocities, each step starts from the measured
    positions: what a driver does not carry out would never be made up for otherwise.

    Args:
        arm: the arm.
        config: limits.
        period_s: control period [s].
        integrates: whether positions are commanded, and therefore integrated.

    Raises:
        ConfigError: the posture or the speeds do not fit the arm.
    """

    def __init__(self, arm: ArmModel, config: KinematicsConfig, period_s: float, integrates: bool = True) -> None:
        self._arm, self._period_s, self._config, self._integrates = arm, period_s, config, integrates
        count = len(arm.commanded)
        # Joints that are not commanded are where they are measured.
        self._others = np.setdiff1d(np.arange(len(arm.joints)), arm.commanded)
        self._speed = _one_per_joint("max_speed", config.max_speed, count)
        self._lead = self._speed * config.max_lead_s
        self._configuration = mink.Configuration(arm.model)
        self._frame = mink.FrameTask(TOOL_SITE, "site", position_cost=1.0, orientation_cost=config.orientation_weight)
        posture_cost = np.zeros(len(arm.joints))
        posture_cost[arm.commanded] = _POSTURE_COST
        self._posture = mink.PostureTask(arm.model, cost=posture_cost, gain=_POSTURE_GAIN)
        speeds = dict.fromkeys(arm.joints, 1e-9) | {
            arm.joints[index]: speed for index, speed in zip(arm.commanded, self._speed, strict=True)
        }
        self._range = mink.ConfigurationLimit(arm.model, min_distance_from_limits=config.joint_margin)
        self._low, self._high = self._range.lower.copy(), self._range.upper.copy()
        self._limits = [self._range, mink.VelocityLimit(arm.model, speeds)]
        self._endless = ~np.isfinite(arm.low)
        self._jacobian = np.zeros((6, arm.model.nv))
        self._reference: Float64Array | None = None
        self._orientation, self._target = mink.SO3.identity(), np.zeros(3)

    @property
    def moving(self) -> bool:
        """Whether a motion has been started."""
        return self._reference is not None

    def start(self, measured: Float64Array) -> None:
        """Start a motion from measured positions of all joints (J,), with the orientation there."""
        self._reference = np.array(measured, dtype=np.float64)
        self._configuration.update(self._reference)
        here = self._configuration.get_transform_frame_to_world(TOOL_SITE, "site")
        self._orientation, self._target = here.rotation(), here.translation()
        posture = self._reference.copy()
        if self._config.posture:
            posture[self._arm.commanded] = self._config.posture
        self._posture.set_target(posture)

    def stop(self) -> None:
        """End the motion: the next one starts from the measured positions."""
        self._reference = None

    def step(self, velocity: Sequence[float], measured: Float64Array) -> JointMotion:
        """Move the gripper frame for one control period.

        Args:
            velocity: velocity (3,) of the gripper frame in the base frame [m/s].
            measured: (J,) measured positions of all joints [m or rad].
        """
        if self._reference is None:
            self.start(measured)
        assert self._reference is not None
        commanded = self._arm.commanded
        # Joints without limits may be measured a turn away.
        turns = np.round((self._reference - measured) / (2 * np.pi))
        measured = measured + np.where(self._endless, turns * 2 * np.pi, 0.0)
        kept = self._others if self._integrates else slice(None)
        self._reference[kept] = measured[kept]
        self._configuration.update(self._reference)
        wanted = self._turned(np.asarray(velocity, dtype=np.float64))
        slowed = self._slowed(wanted)
        pose = self._configuration.get_transform_frame_to_world(TOOL_SITE, "site")
        here, turn = pose.translation(), (pose.rotation().inverse() @ self._orientation).log()
        turn *= min(1.0, _TURNING_SPEED * self._period_s / max(float(np.linalg.norm(turn)), 1e-9))
        # What the last step has missed is made up for, unless limits keep the gripper from where it should be.
        start = self._target if np.linalg.norm(self._target - here) < _MISSED_M else here
        self._target = start + slowed * wanted * self._period_s
        self._frame.set_target(
            mink.SE3.from_rotation_and_translation(pose.rotation() @ mink.SO3.exp(turn), self._target)
        )
        # A joint that was put beyond its range may stay there or move back, instead of having to be back at once.
        self._range.lower = np.minimum(self._low, self._reference)
        self._range.upper = np.maximum(self._high, self._reference)
        rates = mink.solve_ik(
            self._configuration, [self._frame, self._posture], self._period_s, "daqp", _DAMPING, limits=self._limits
        )
        before = self._reference[commanded]
        after = before + rates[commanded] * self._period_s
        after = np.clip(after, measured[commanded] - self._lead, measured[commanded] + self._lead)
        self._reference[commanded] = after
        return JointMotion(after, (after - before) / self._period_s, slowed)

    def _turned(self, velocity: Float64Array) -> Float64Array:
        """A velocity in the base frame, in the model's world."""
        data = self._configuration.data
        return matrix_from_quat(data.xquat[self._arm.model.body(self._arm.base).id]) @ velocity

    def _slowed(self, velocity: Float64Array) -> float:
        """Largest factor, at most 1, with which no joint exceeds its speed."""
        model, data = self._arm.model, self._configuration.data
        mujoco.mj_jacSite(model, data, self._jacobian[:3], self._jacobian[3:], model.site(TOOL_SITE).id)
        jacobian = self._jacobian[:, self._arm.commanded].copy()
        jacobian[3:] *= self._config.orientation_weight
        twist = np.concatenate([velocity, np.zeros(3)])
        normal = jacobian.T @ jacobian + _DAMPING * np.eye(jacobian.shape[1])
        rates = np.linalg.solve(normal, jacobian.T @ twist)
        return 1.0 / max(1.0, float(np.max(np.abs(rates) / self._speed)))


def _one_per_joint(name: str, values: Sequence[float], count: int) -> Float64Array:
    if len(values) not in (1, count):
        raise ConfigError(f"kinematics.{name}: has {len(values)} values, give 1 or one for each of {count} joints")
    return np.array(values if len(values) == count else list(values) * count, dtype=np.float64)

"""Controllers of arms as drivers have them: what they accept, what they reject, and how they move the setpoints.

Pure logic: times are arguments [s]; setpoints are those of :class:`arm_world.ArmWorld`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.rotations import matrix_from_quat

_NS = 1e-9
# Distance from setpoint to position at which a servo has its full torque.
FULL_TORQUE_RAD = 1.0 / 30.0


class RejectedError(Exception):
    """A controller rejects a command; the text is the reason."""


@dataclass(frozen=True)
class _Point:
    time_s: float
    position: NDArray[np.float64]
    velocity: NDArray[np.float64] | None


class TrajectoryController:
    """ros2_control's joint trajectory controller, as configured by default.

    The rules of its user documentation: all joints and no others, in any order; a position for each; strictly
    increasing times; a last velocity of zero; not in the past. A new trajectory replaces the running one, starting from
    the measured state: cubic splines where velocities are given, lines otherwise.

    Args:
        joints: names of the joints.
    """

    def __init__(self, joints: Sequence[str]) -> None:
        self._joints = list(joints)
        self._points: list[_Point] = []
        self._started_s: float | None = None

    def command(self, message: Any, now_s: float) -> None:
        """Take a JointTrajectory at a time of the ROS clock [s].

        Raises:
            RejectedError: it breaks a rule.
        """
        if sorted(message.joint_names) != sorted(self._joints):
            raise RejectedError(f"joints {list(message.joint_names)}, configured {self._joints}")
        order = [list(message.joint_names).index(name) for name in self._joints]
        points: list[_Point] = []
        last_s = 0.0
        for point in message.points:
            time_s = point.time_from_start.sec + point.time_from_start.nanosec * _NS
            if time_s <= last_s and points:
                raise RejectedError("time_from_start does not increase")
            if len(point.positions) != len(order) or len(point.velocities) not in (0, len(order)):
                raise RejectedError("wrong number of positions or velocities")
            last_s = time_s
            velocity = np.array(point.velocities)[order] if point.velocities else None
            points.append(_Point(time_s, np.array(point.positions)[order], velocity))
        if not points:
            raise RejectedError("empty trajectory")
        if points[-1].velocity is not None and np.abs(points[-1].velocity).max() > 1e-9:
            raise RejectedError("last velocity is not zero")
        stamp_s = message.header.stamp.sec + message.header.stamp.nanosec * _NS
        if stamp_s and stamp_s + last_s < now_s:
            raise RejectedError("ends in the past")
        self._points, self._started_s = points, None

    def reset(self) -> None:
        """Forget the trajectory."""
        self._points = []

    def setpoint(
        self, now_s: float, setpoint: NDArray[np.float64], position: NDArray[np.float64], velocity: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the next setpoint from the last one and the measured state, at a steady time [s]."""
        if not self._points:
            return setpoint
        if self._started_s is None:
            self._started_s = now_s
            self._before = _Point(0.0, position, velocity if self._points[0].velocity is not None else None)
        elapsed_s, before = now_s - self._started_s, self._before
        for point in self._points:
            if elapsed_s <= point.time_s:
                return _between(before, point, elapsed_s)
            before = point
        return self._points[-1].position


def _between(before: _Point, after: _Point, time_s: float) -> NDArray[np.float64]:
    span_s, since_s = after.time_s - before.time_s, time_s - before.time_s
    way = after.position - before.position
    if before.velocity is None or after.velocity is None:
        return before.position + way * (since_s / span_s)
    a = (3 * way - (2 * before.velocity + after.velocity) * span_s) / span_s**2
    b = (-2 * way + (before.velocity + after.velocity) * span_s) / span_s**3
    result: NDArray[np.float64] = before.position + before.velocity * since_s + a * since_s**2 + b * since_s**3
    return result


class ForwardController:
    """ros2_control's forward command controller: positions or velocities in the order of its joints, without names.

    Args:
        joints: names of the joints.
        interface: ``position`` or ``velocity``.
        period_s: time between setpoints [s].
    """

    def __init__(self, joints: Sequence[str], interface: str, period_s: float) -> None:
        self._count, self._is_position, self._period_s = len(joints), interface == "position", period_s
        self._values: NDArray[np.float64] | None = None

    def command(self, message: Any, now_s: float) -> None:
        """Take a Float64MultiArray.

        Raises:
            RejectedError: the number of values is wrong, or one is not finite.
        """
        if len(message.data) != self._count:
            raise RejectedError(f"{len(message.data)} values, configured {self._count}")
        if not all(map(math.isfinite, message.data)):
            raise RejectedError("not finite")
        self._values = np.array(message.data)

    def reset(self) -> None:
        """Forget the command."""
        self._values = None

    def setpoint(
        self, now_s: float, setpoint: NDArray[np.float64], position: NDArray[np.float64], velocity: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the next setpoint; see :meth:`TrajectoryController.setpoint`."""
        if self._values is None:
            return setpoint
        if self._is_position:
            return self._values
        # Where something is in the way, drives do not push any harder for having tried longer.
        moved = setpoint + self._values * self._period_s
        return np.clip(moved, position - FULL_TORQUE_RAD, position + FULL_TORQUE_RAD)


class ServoController:
    """MoveIt Servo for twists in speed units: ignores stale, unstamped and nameless ones, and halts without fresh ones.

    Args:
        frame: name of the frame of commands.
        ik: inverse kinematics with a period of ``PERIOD_S``.
    """

    PERIOD_S = 0.01
    TIMEOUT_S = 0.1

    def __init__(self, frame: str, ik: Any) -> None:
        self._frame, self._ik = frame, ik
        self.reset()

    def command(self, message: Any, now_s: float) -> None:
        """Take a TwistStamped at a time of the ROS clock [s].

        Raises:
            RejectedError: Servo would not act on it.
        """
        linear = message.twist.linear
        velocity = np.array([linear.x, linear.y, linear.z])
        stamp_s = message.header.stamp.sec + message.header.stamp.nanosec * _NS
        if message.header.frame_id != self._frame:
            raise RejectedError(f"unknown frame {message.header.frame_id!r}")
        if not np.isfinite(velocity).all():
            raise RejectedError("not finite")
        if now_s - stamp_s > self.TIMEOUT_S:
            raise RejectedError("stale")
        self._velocity, self._stamp_s = velocity, stamp_s

    def reset(self) -> None:
        """Forget the command."""
        self._velocity, self._stamp_s, self._next_s = np.zeros(3), -math.inf, -math.inf
        self._ik.stop()

    def setpoint(
        self, now_s: float, setpoint: NDArray[np.float64], position: NDArray[np.float64], velocity: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the next setpoint; here the time is that of the ROS clock [s]."""
        if now_s - self._stamp_s > self.TIMEOUT_S:
            self._ik.stop()
            return setpoint
        if now_s < self._next_s:
            return setpoint
        self._next_s = now_s + self.PERIOD_S
        result: NDArray[np.float64] = self._ik.step(self._velocity, position).position
        return result


class TwistController:
    """Kinova's twist controller: linear velocity along the axes of the tool, carried out until the next one comes.

    Nothing in a Twist says when it was sent, and nothing stops the arm if none follows. The arm limits the speed.

    Args:
        arm: kinematics, whose gripper frame is the tool.
        ik: inverse kinematics with a period of ``PERIOD_S``.
    """

    PERIOD_S = 0.01
    MAX_SPEED = 0.5

    def __init__(self, arm: Any, ik: Any) -> None:
        self._arm, self._ik = arm, ik
        self.reset()

    def command(self, message: Any, now_s: float) -> None:
        """Take a Twist.

        Raises:
            RejectedError: it is not finite, or turns the tool: the driver's unit is degrees per second there.
        """
        linear, angular = message.linear, message.angular
        velocity = np.array([linear.x, linear.y, linear.z])
        if not np.isfinite(velocity).all():
            raise RejectedError("not finite")
        if any((angular.x, angular.y, angular.z)):
            raise RejectedError("turns the tool")
        self._velocity = velocity * min(1.0, self.MAX_SPEED / max(float(np.linalg.norm(velocity)), 1e-9))

    def reset(self) -> None:
        """Forget the command."""
        self._velocity, self._next_s = np.zeros(3), -math.inf
        self._ik.stop()

    def setpoint(
        self, now_s: float, setpoint: NDArray[np.float64], position: NDArray[np.float64], velocity: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the next setpoint; see :meth:`TrajectoryController.setpoint`."""
        if not self._velocity.any():
            self._ik.stop()
            return setpoint
        if now_s < self._next_s:
            return setpoint
        self._next_s = now_s + self.PERIOD_S
        _, quat_wxyz = self._arm.pose(position)
        result: NDArray[np.float64] = self._ik.step(matrix_from_quat(quat_wxyz) @ self._velocity, position).position
        return result

"""Velocity of the end effector as a TwistStamped or Twist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist, TwistStamped

from reskill_core.parameters import parameter
from reskill_core.rotations import matrix_from_quat
from reskill_core.spec import END_EFFECTOR_VELOCITY
from reskill_ros.drivers.adapters.base import STAMPS, Adapter
from reskill_ros.drivers.joint_feedback import JointFeedback
from reskill_ros.plumbing import convert
from reskill_ros.plumbing.robot_description import load_described_arm

# Frames along whose axes a driver may take velocities.
AXES = ("base", "tool")


@dataclass(frozen=True)
class TwistOptions:
    """Options of end-effector commands."""

    topic: str = parameter("command/twist", "topic of the arm's or base's velocity")
    frame_id: str = parameter("", "name of the base frame in the twist, if not the driver file's `base_frame`")
    stamp: str = parameter(
        "now", "stamp of the twist: MoveIt Servo needs `now`, lockstep `observation`", choices=STAMPS
    )
    unit_speed: float = parameter(
        1.0,
        "velocity that corresponds to a command of 1 [m/s]: 1 for metres per second, or Servo's scale.linear if its "
        "commands are unitless",
        low=1e-6,
        high=1e3,
    )


class TwistCommand:
    """Command of the end-effector components; zero velocity along axes without a component."""

    def __init__(self, adapter: Adapter, options: TwistOptions, stamped: bool = True, axes: str = "base") -> None:
        """Advertise the topic.

        Args:
            adapter: adapter that owns the topic.
            options: options of the command.
            stamped: send a TwistStamped, in the base frame; otherwise a Twist, which has neither stamp nor frame.
            axes: one of ``AXES``.

        Raises:
            ConfigError: the axes are those of the tool, and the kinematic model is missing or does not fit.
        """
        channel = adapter.channel
        quantities = channel.task.action.quantities
        self._adapter, self._options = adapter, options
        # Component that commands each axis, by axis.
        self._components = {
            axis: quantities.index(quantity)
            for axis, quantity in enumerate(END_EFFECTOR_VELOCITY)
            if quantity in quantities
        }
        self._to_base = channel.sensing.base.inverse
        self._tool = _ToolAxes(adapter) if axes == "tool" else None
        frame_id = options.frame_id or channel.base_frame or "base_link"
        self._twist, self._still = TwistStamped(), TwistStamped()
        self._twist.header.frame_id = self._still.header.frame_id = frame_id
        self._is_stamped = stamped
        self._publisher = adapter.advertise(TwistStamped if self._is_stamped else Twist, options.topic)

    def missing(self, steady_s: float) -> str:
        """See :meth:`Adapter.missing`."""
        return "" if self._tool is None else self._tool.feedback.missing(steady_s)

    def send(self, commands: Sequence[float], stamp: Time) -> None:
        """Command velocities; nothing may be missing.

        Args:
            commands: command of each component in its own unit, in the task's world frame.
            stamp: stamp of the observation that the action responds to.
        """
        velocity = [0.0, 0.0, 0.0]
        for axis, component in self._components.items():
            velocity[axis] = commands[component]
        turned, unit = self._to_base.vector(velocity), self._options.unit_speed
        if self._tool is not None:
            turned = self._tool.components(turned)
        convert.set_twist(self._twist, turned if unit == 1.0 else [value / unit for value in turned])
        self._twist.header.stamp = self._adapter.stamp(self._options.stamp, stamp)
        self._publish(self._twist)

    def hold(self) -> None:
        """Stop the end effector."""
        self._still.header.stamp = self._adapter.stamp(self._options.stamp, self._adapter.now())
        self._publish(self._still)

    def _publish(self, message: TwistStamped) -> None:
        self._publisher.publish(message if self._is_stamped else message.twist)


class _ToolAxes:
    """Axes of the gripper frame, by the arm's kinematics and its measured joints."""

    def __init__(self, adapter: Adapter) -> None:
        channel = adapter.channel
        self._arm = load_described_arm(channel.node, channel.task.name, channel.kinematics)
        self.feedback = JointFeedback(adapter, self._arm.joints)

    def components(self, velocity: Sequence[float]) -> tuple[float, ...]:
        """Components (3,) along these axes of a velocity (3,) in the base frame."""
        _, quat_wxyz = self._arm.pose(self.feedback.positions())
        return tuple((matrix_from_quat(quat_wxyz).T @ velocity).tolist())

"""Velocity of the end effector as a TwistStamped or Twist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist, TwistStamped

from reskill_core.parameters import parameter
from reskill_core.spec import END_EFFECTOR_VELOCITY
from reskill_ros.drivers.adapters.base import STAMPS, Adapter
from reskill_ros.plumbing import convert


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

    def __init__(self, adapter: Adapter, options: TwistOptions, stamped: bool = True) -> None:
        """Advertise the topic.

        Args:
            adapter: adapter that owns the topic.
            options: options of the command.
            stamped: send a TwistStamped; otherwise a Twist, which has neither stamp nor frame.
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
        frame_id = options.frame_id or channel.base_frame or "base_link"
        self._twist, self._still = TwistStamped(), TwistStamped()
        self._twist.header.frame_id = self._still.header.frame_id = frame_id
        self._is_stamped = stamped
        self._publisher = adapter.advertise(TwistStamped if self._is_stamped else Twist, options.topic)

    def send(self, commands: Sequence[float], stamp: Time) -> None:
        """Command velocities.

        Args:
            commands: command of each component in its own unit, in the task's world frame.
            stamp: stamp of the observation that the action responds to.
        """
        velocity = [0.0, 0.0, 0.0]
        for axis, component in self._components.items():
            velocity[axis] = commands[component]
        turned, unit = self._to_base.vector(velocity), self._options.unit_speed
        convert.set_twist(self._twist, turned if unit == 1.0 else [value / unit for value in turned])
        self._twist.header.stamp = self._adapter.stamp(self._options.stamp, stamp)
        self._publish(self._twist)

    def hold(self) -> None:
        """Stop the end effector."""
        self._still.header.stamp = self._adapter.stamp(self._options.stamp, self._adapter.now())
        self._publish(self._still)

    def _publish(self, message: TwistStamped) -> None:
        self._publisher.publish(message if self._is_stamped else message.twist)

"""Direct commands: one labelled Float64MultiArray, as forward command controllers take it."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from std_msgs.msg import Float64MultiArray

from reskill_core.commanded_place import moved_joints
from reskill_core.errors import SpecError
from reskill_core.parameters import parameter
from reskill_core.sensing import JointSource
from reskill_core.spec import GRIPPER_VELOCITY
from reskill_ros.drivers.adapters.base import Adapter, Channel
from reskill_ros.plumbing import convert


@dataclass(frozen=True)
class ForwardOptions:
    """What the array holds."""

    topic: str = parameter("command/positions", "topic of the Float64MultiArray")
    quantity: str = parameter(
        "position",
        "`velocity` of what each action component moves, or the `position` it has after one control period",
        choices=("position", "velocity"),
    )

    gripper_low: float = parameter(
        0.0, "position: smallest setpoint of the fingers, as observed [m]", low=-1.0, high=1.0
    )
    gripper_high: float = parameter(
        0.05, "position: largest setpoint of the fingers, as observed [m]", low=-1.0, high=1.0
    )

    def violations(self) -> list[str]:
        """A range that is none."""
        if self.gripper_low < self.gripper_high:
            return []
        return [f"gripper_low {self.gripper_low:g} must be below gripper_high {self.gripper_high:g}"]


class ForwardAdapter(Adapter):
    """One number per action component, in the order of the action specification and in the driver's base frame."""

    Options = ForwardOptions

    def __init__(self, channel: Channel, options: ForwardOptions) -> None:
        """Advertise the driver's topic.

        Raises:
            SpecError: one number is to command fingers that the driver counts differently.
        """
        super().__init__(channel, options)
        self.needs_feedback = options.quantity == "position"
        self._limits = (options.gripper_low, options.gripper_high)
        self._period_s = channel.task.control_period_s
        self._joints = [self._joint(joints) for joints in moved_joints(channel.task)]
        self._moving = False
        self._message = convert.labelled_array(channel.task.action.names)
        self._publisher = self._advertise(Float64MultiArray, options.topic)

    def send(self, action: Sequence[float], stamp: Time, feedback: Sequence[float] | None) -> None:
        """Command velocities, or positions relative to the measured ones; without those, nothing."""
        velocities = self._velocities(action)
        if not self.needs_feedback:
            self._publish([j.sign * v if j else v for j, v in zip(self._joints, velocities, strict=True)])
        elif feedback is not None:
            period_s, places = self._period_s, self._positions(feedback)
            self._publish_positions([place + period_s * v for place, v in zip(places, velocities, strict=True)])
            self._moving = True

    def hold(self, feedback: Sequence[float] | None) -> None:
        """Command standstill: zero velocity, or, after motion, the measured position.

        A driver that has not been commanded since it last came to rest keeps its own position: to send it another
        one would move it.
        """
        if not self.needs_feedback:
            self._publish([0.0] * self._actions.dim)
        elif feedback is not None and self._moving:
            self._publish_positions(self._positions(feedback))
            self._moving = False

    def _publish_positions(self, positions: Sequence[float]) -> None:
        low, high = self._limits
        values = [
            min(max(value, low), high) if quantity == GRIPPER_VELOCITY else value
            for value, quantity in zip(positions, self._actions.quantities, strict=True)
        ]
        self._publish([j.to_driver(value) if j else value for j, value in zip(self._joints, values, strict=True)])

    def _joint(self, joints: Sequence[str]) -> JointSource | None:
        """How the driver counts joints that one number commands; None for those that are no joints."""
        sources = [self._sensing.joint(name) for name in joints]
        if len({(source.sign, source.offset) for source in sources}) > 1:
            raise SpecError(f"one number cannot command {', '.join(joints)}, whose sign or offset differ")
        return sources[0] if sources else None

    def _publish(self, values: Sequence[float]) -> None:
        self._message.data = array("d", values)
        self._publisher.publish(self._message)

"""Direct commands: one labelled Float64MultiArray, as forward command controllers take it."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from std_msgs.msg import Float64MultiArray

from reskill_core.parameters import parameter
from reskill_ros import convert
from reskill_ros.adapters.base import Adapter, Channel


@dataclass(frozen=True)
class ForwardOptions:
    """What the array holds."""

    topic: str = parameter("command/positions", "topic of the Float64MultiArray")
    quantity: str = parameter(
        "position",
        "`velocity` of what each action component moves, or the `position` it has after one control period",
        choices=("position", "velocity"),
    )


class ForwardAdapter(Adapter):
    """One number per action component, in the order of the action specification."""

    Options = ForwardOptions

    def __init__(self, channel: Channel, options: ForwardOptions) -> None:
        super().__init__(channel, options)
        self.needs_feedback = options.quantity == "position"
        self._period_s = channel.task.control_period_s
        self._message = convert.labelled_array(channel.task.action.names)
        self._publisher = self._advertise(Float64MultiArray, options.topic)

    def send(self, action: Sequence[float], stamp: Time, feedback: Sequence[float] | None) -> None:
        """Command velocities, or positions relative to the measured ones; without those, nothing."""
        velocities = self._velocities(action)
        if not self.needs_feedback:
            self._publish(velocities)
        elif feedback is not None:
            period_s = self._period_s
            self._publish([place + period_s * v for place, v in zip(feedback, velocities, strict=True)])

    def hold(self, feedback: Sequence[float] | None) -> None:
        """Command standstill: zero velocity, or the measured position."""
        if not self.needs_feedback:
            self._publish([0.0] * len(self._scale))
        elif feedback is not None:
            self._publish(feedback)

    def _publish(self, values: Sequence[float]) -> None:
        self._message.data = array("d", values)
        self._publisher.publish(self._message)

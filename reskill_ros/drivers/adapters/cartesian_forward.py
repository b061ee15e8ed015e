"""Setpoints of end effector and fingers as one array, as for Cartesian forward controllers."""

from __future__ import annotations

from collections.abc import Sequence

from builtin_interfaces.msg import Time

from reskill_core.errors import SpecError
from reskill_ros.drivers.adapters.base import Adapter, Channel
from reskill_ros.drivers.commands.setpoint_array import ArrayCommand, ArrayOptions


class CartesianForwardAdapter(Adapter):
    """One number per action component, as a Float64MultiArray in the driver's base frame."""

    Options = ArrayOptions

    def __init__(self, channel: Channel, options: ArrayOptions) -> None:
        """Advertise the driver's topic.

        Raises:
            SpecError: the actions do not command an end effector; or the driver's joints or base frame cannot be
                commanded by one array, see :class:`ArrayCommand`.
        """
        super().__init__(channel, options)
        action = channel.task.action
        if not action.end_effector:
            raise SpecError(
                f"cartesian_forward commands an end effector; the task's actions are {', '.join(action.quantities)}: "
                "use joint_forward"
            )
        self._array = ArrayCommand(self, options, range(action.dim))
        self.needs_feedback = self._array.needs_feedback

    def send(self, action: Sequence[float], stamp: Time, feedback: Sequence[float] | None) -> None:
        """Command velocities, or positions relative to the measured ones; without these, nothing is sent."""
        self._array.send(self.commands(action), stamp, feedback)

    def hold(self, feedback: Sequence[float] | None) -> None:
        """Command standstill: zero velocity, or, after motion, the measured position."""
        self._array.hold(feedback)

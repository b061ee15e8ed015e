"""Cartesian servoing: velocity of the gripper frame for the arm or base, and a gripper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from builtin_interfaces.msg import Time

from reskill_core.errors import SpecError
from reskill_core.spec import END_EFFECTOR_VELOCITY, GRIPPER_VELOCITY
from reskill_ros.drivers.adapters.base import Adapter, Channel
from reskill_ros.drivers.commands.gripper import GripperCommand, GripperOptions
from reskill_ros.drivers.commands.twist import TwistCommand, TwistOptions


@dataclass(frozen=True)
class ServoTwistOptions(TwistOptions):
    """Options of arm and gripper commands."""

    gripper: GripperOptions = field(default_factory=GripperOptions)


class ServoTwistAdapter(Adapter):
    """Arm by a TwistStamped, as for MoveIt Servo; gripper by finger velocity or by opening and closing."""

    Options = ServoTwistOptions
    _stamped: ClassVar[bool] = True

    def __init__(self, channel: Channel, options: ServoTwistOptions) -> None:
        """Advertise the driver's topics.

        Raises:
            SpecError: the actions do not command an end effector, with or without a gripper.
        """
        super().__init__(channel, options)
        quantities = channel.task.action.quantities
        others = set(quantities) - {*END_EFFECTOR_VELOCITY, GRIPPER_VELOCITY}
        if others or not channel.task.action.end_effector or quantities.count(GRIPPER_VELOCITY) > 1:
            raise SpecError(
                "a twist commands an end effector along some of x, y and z, and a gripper; the task's actions are "
                f"{', '.join(quantities)}"
            )
        self._twist = TwistCommand(self, options, self._stamped)
        self._gripper = GripperCommand.of(self, options.gripper)

    @staticmethod
    def commanded_joints(options: ServoTwistOptions) -> Sequence[str]:
        """See :meth:`Adapter.commanded_joints`."""
        return () if options.gripper.mode == "none" else options.gripper.joints

    def missing(self, steady_s: float) -> str:
        """See :meth:`Adapter.missing`."""
        return "" if self._gripper is None else self._gripper.output.missing()

    def send(self, action: Sequence[float], stamp: Time, feedback: Sequence[float] | None) -> None:
        """Command the arm, then the gripper."""
        commands = self.commands(action)
        self._twist.send(commands, stamp)
        if self._gripper is not None:
            self._gripper.send(action, commands, stamp)

    def hold(self, feedback: Sequence[float] | None) -> None:
        """Stop the arm and the fingers; a gripper commanded to close keeps its grip."""
        self._twist.hold()
        if self._gripper is not None:
            self._gripper.hold()


class TwistAdapter(ServoTwistAdapter):
    """Arm or base by a Twist without stamp and frame, as many mobile bases take it; otherwise like servo_twist."""

    _stamped = False

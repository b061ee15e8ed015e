"""Cartesian servoing: velocity of the gripper frame for the arm or base, and a gripper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from builtin_interfaces.msg import Time

from reskill_core.errors import SpecError
from reskill_core.parameters import parameter
from reskill_core.spec import END_EFFECTOR_VELOCITY, GRIPPER_VELOCITY
from reskill_ros.drivers.adapters.base import Adapter, Channel
from reskill_ros.drivers.commands.gripper import GripperCommand, GripperOptions
from reskill_ros.drivers.commands.twist import AXES, TwistCommand, TwistOptions


@dataclass(frozen=True)
class ServoTwistOptions(TwistOptions):
    """Options of arm and gripper commands."""

    gripper: GripperOptions = field(default_factory=GripperOptions)


class ServoTwistAdapter(Adapter):
    """Arm by a TwistStamped, as for MoveIt Servo; gripper by finger velocity or by opening and closing."""

    Options = ServoTwistOptions

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
        self._twist = self._command(options)
        self._gripper = GripperCommand.of(self, options.gripper)

    def _command(self, options: ServoTwistOptions) -> TwistCommand:
        return TwistCommand(self, options)

    @staticmethod
    def commanded_joints(options: ServoTwistOptions) -> Sequence[str]:
        """See :meth:`Adapter.commanded_joints`."""
        return () if options.gripper.mode == "none" else options.gripper.joints

    def missing(self, steady_s: float) -> str:
        """See :meth:`Adapter.missing`."""
        return self._twist.missing(steady_s) or ("" if self._gripper is None else self._gripper.output.missing())

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


@dataclass(frozen=True)
class BareTwistOptions(ServoTwistOptions):
    """Options of commands without a frame."""

    axes: str = parameter(
        "base",
        "axes along which the driver takes the velocity: `base`, those of its base frame, or `tool`, those of the "
        "gripper frame in `kinematics`",
        choices=AXES,
    )


class TwistAdapter(ServoTwistAdapter):
    """Arm or base by a Twist without stamp and frame, along axes that are agreed on; otherwise like servo_twist."""

    Options = BareTwistOptions

    def _command(self, options: Any) -> TwistCommand:
        return TwistCommand(self, options, stamped=False, axes=options.axes)

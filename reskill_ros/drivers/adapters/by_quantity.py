"""Commands by the quantity of each action component, as accepted by simulated robots of any kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from builtin_interfaces.msg import Time

from reskill_core.spec import END_EFFECTOR_VELOCITY, GRIPPER_VELOCITY
from reskill_ros.drivers.adapters.base import Adapter, Channel
from reskill_ros.drivers.commands.gripper import GripperCommand, GripperOptions
from reskill_ros.drivers.commands.setpoint_array import ArrayCommand, ArrayOptions
from reskill_ros.drivers.commands.twist import TwistCommand, TwistOptions


@dataclass(frozen=True)
class ByQuantityOptions:
    """Options of each quantity's command; only topics with commands are advertised."""

    twist: TwistOptions = field(default_factory=TwistOptions)
    gripper: GripperOptions = field(default_factory=GripperOptions)
    array: ArrayOptions = field(default_factory=ArrayOptions)


class ByQuantityAdapter(Adapter):
    """End effector as a TwistStamped, gripper as a JointTrajectory, everything else as one labelled array."""

    Options = ByQuantityOptions

    def __init__(self, channel: Channel, options: ByQuantityOptions) -> None:
        """Advertise the topics that the actions need."""
        super().__init__(channel, options)
        quantities = channel.task.action.quantities
        by_name = {*END_EFFECTOR_VELOCITY, GRIPPER_VELOCITY}
        others = [component for component, quantity in enumerate(quantities) if quantity not in by_name]
        self._twist = TwistCommand(self, options.twist) if channel.task.action.end_effector else None
        self._gripper = GripperCommand.of(self, options.gripper)
        self._array = ArrayCommand(self, options.array, others) if others else None
        self.needs_feedback = self._array is not None and self._array.needs_feedback

    @staticmethod
    def commanded_joints(options: ByQuantityOptions) -> Sequence[str]:
        """See :meth:`Adapter.commanded_joints`."""
        return () if options.gripper.mode == "none" else options.gripper.joints

    def send(self, action: Sequence[float], stamp: Time, feedback: Sequence[float] | None) -> None:
        """Command the end effector, then the gripper, then everything else."""
        commands = self.commands(action)
        if self._twist is not None:
            self._twist.send(commands, stamp)
        if self._gripper is not None:
            self._gripper.send(action, commands, stamp)
        if self._array is not None:
            self._array.send(commands, stamp, feedback)

    def hold(self, feedback: Sequence[float] | None) -> None:
        """Stop all components."""
        if self._twist is not None:
            self._twist.hold()
        if self._gripper is not None:
            self._gripper.hold()
        if self._array is not None:
            self._array.hold(feedback)

"""Joint setpoints as an array, as for the forward command controllers of ros2_control."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from builtin_interfaces.msg import Time
from std_msgs.msg import Float64MultiArray

from reskill_ros.drivers.adapters.base import Adapter, Channel
from reskill_ros.drivers.commands.gripper import GripperCommand, GripperOptions
from reskill_ros.drivers.commands.joint_targets import JointTargets
from reskill_ros.drivers.commands.setpoint_array import ArrayCommand, ArrayOptions
from reskill_ros.plumbing import convert


@dataclass(frozen=True)
class JointForwardOptions(ArrayOptions):
    """Options of arm and gripper commands."""

    gripper: GripperOptions = field(default_factory=GripperOptions)


class JointForwardAdapter(Adapter):
    """Joints by one labelled Float64MultiArray of positions or velocities.

    Actions of joints are sent in their order. For actions of an end effector, the array has the joints of the
    kinematic model, and the gripper is commanded on its own.
    """

    Options = JointForwardOptions

    def __init__(self, channel: Channel, options: JointForwardOptions) -> None:
        """Advertise the driver's topics, and load the arm's kinematics if the actions move an end effector.

        Raises:
            SpecError: see :class:`ArrayCommand`.
            ConfigError: the kinematic model is missing or does not fit.
        """
        super().__init__(channel, options)
        action = channel.task.action
        self._arm = _ArmArray(self, options) if action.end_effector else ArrayCommand(self, options, range(action.dim))
        self._gripper = GripperCommand.of(self, options.gripper) if action.end_effector else None
        self.needs_feedback = isinstance(self._arm, ArrayCommand) and self._arm.needs_feedback

    @staticmethod
    def commanded_joints(options: JointForwardOptions) -> Sequence[str]:
        """See :meth:`Adapter.commanded_joints`."""
        return () if options.gripper.mode == "none" else options.gripper.joints

    def missing(self, steady_s: float) -> str:
        """See :meth:`Adapter.missing`."""
        arm = self._arm.targets.missing(steady_s) if isinstance(self._arm, _ArmArray) else ""
        return arm or ("" if self._gripper is None else self._gripper.output.missing())

    def send(self, action: Sequence[float], stamp: Time, feedback: Sequence[float] | None) -> None:
        """Command the arm, then the gripper."""
        commands = self.commands(action)
        self._arm.send(commands, stamp, feedback)
        if self._gripper is not None:
            self._gripper.send(action, commands, stamp)

    def hold(self, feedback: Sequence[float] | None) -> None:
        """Command standstill: zero velocity, or, after motion, the measured positions."""
        self._arm.hold(feedback)
        if self._gripper is not None:
            self._gripper.hold()


class _ArmArray:
    """Joints of an arm whose end effector is commanded."""

    def __init__(self, adapter: Adapter, options: JointForwardOptions) -> None:
        self._by_velocity = options.quantity == "velocity"
        self.targets = JointTargets(adapter, self._by_velocity)
        self._stamped = options.stamp == "observation"
        self._message = convert.labelled_array(self.targets.names)
        self._publisher = adapter.advertise(Float64MultiArray, options.topic)

    def send(self, commands: Sequence[float], stamp: Time, feedback: Sequence[float] | None) -> None:
        target = self.targets.next(commands)
        if self._stamped:
            convert.set_array_stamp(self._message, stamp)
        self._publish(target.velocities if self._by_velocity else target.positions)

    def hold(self, feedback: Sequence[float] | None) -> None:
        moved = self.targets.moving
        positions = self.targets.stop()
        if self._by_velocity:
            self._publish([0.0] * len(self.targets.names))
        elif moved and positions is not None:
            self._publish(positions)

    def _publish(self, values: Sequence[float]) -> None:
        self._message.data = array("d", values)
        self._publisher.publish(self._message)

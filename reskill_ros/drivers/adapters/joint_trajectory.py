"""Joint trajectories, as for the joint trajectory controller of ros2_control."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from builtin_interfaces.msg import Time
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from reskill_core.parameters import parameter
from reskill_ros.drivers.adapters.base import Adapter, Channel
from reskill_ros.drivers.commands.gripper import GripperCommand, GripperOptions
from reskill_ros.drivers.commands.joint_targets import JointTarget, JointTargets
from reskill_ros.plumbing import convert


@dataclass(frozen=True)
class JointTrajectoryOptions:
    """Options of arm and gripper commands."""

    topic: str = parameter("joint_trajectory_controller/joint_trajectory", "topic of the arm's JointTrajectory")
    form: str = parameter(
        "braking",
        "`braking`: position and velocity after one control period, then a stop, so that the arm comes to rest when "
        "commands end; `positions`: a position only, for controllers that smooth a sequence of positions themselves",
        choices=("braking", "positions"),
    )
    braking_s: float = parameter(0.2, "braking: time to come to rest in [s]", low=0.01, high=10.0)
    gripper: GripperOptions = field(default_factory=GripperOptions)


class JointTrajectoryAdapter(Adapter):
    """Arm by one short joint trajectory per action, which starts at once; gripper by opening and closing.

    Every trajectory has all joints, a zero stamp, and ends at rest: joint trajectory controllers reject others.
    """

    Options = JointTrajectoryOptions

    def __init__(self, channel: Channel, options: JointTrajectoryOptions) -> None:
        """Advertise the driver's topics, and load the arm's kinematics if the actions move an end effector.

        Raises:
            SpecError: the actions command neither an end effector nor joints.
            ConfigError: the kinematic model is missing or does not fit.
        """
        super().__init__(channel, options)
        self._options, self._period_s = options, channel.task.control_period_s
        self._targets = JointTargets(self)
        self._gripper = GripperCommand.of(self, options.gripper)
        self._publisher = self.advertise(JointTrajectory, options.topic)

    @staticmethod
    def commanded_joints(options: JointTrajectoryOptions) -> Sequence[str]:
        """See :meth:`Adapter.commanded_joints`."""
        return () if options.gripper.mode == "none" else options.gripper.joints

    def missing(self, steady_s: float) -> str:
        """See :meth:`Adapter.missing`."""
        return self._targets.missing(steady_s) or ("" if self._gripper is None else self._gripper.output.missing())

    def send(self, action: Sequence[float], stamp: Time, feedback: Sequence[float] | None) -> None:
        """Command the arm, then the gripper."""
        commands = self.commands(action)
        target = self._targets.next(commands)
        if self._options.form == "positions":
            points = [_point(target.positions, [], self._period_s)]
        else:
            points = braking_points(target, self._period_s, self._options.braking_s, self._targets.within_limits)
        self._publisher.publish(JointTrajectory(joint_names=self._targets.names, points=points))
        if self._gripper is not None:
            self._gripper.send(action, commands, stamp)

    def hold(self, feedback: Sequence[float] | None) -> None:
        """Stop the arm where it is measured, once after a motion, and the fingers; a closed gripper keeps its grip."""
        moved = self._targets.moving
        positions = self._targets.stop()
        if moved and positions is not None:
            point = _point(positions, [0.0] * len(positions), self._period_s)
            self._publisher.publish(JointTrajectory(joint_names=self._targets.names, points=[point]))
        if self._gripper is not None:
            self._gripper.hold()


def braking_points(
    target: JointTarget,
    period_s: float,
    braking_s: float,
    within_limits: Callable[[Sequence[float]], Sequence[float]] = list,
) -> list[JointTrajectoryPoint]:
    """Return the points of a trajectory to a target, and on to a stop, with velocities that fall linearly to zero.

    Args:
        target: where joints are to be after one control period.
        period_s: control period [s].
        braking_s: time to come to rest in afterwards [s].
        within_limits: limits positions to those that may be commanded.
    """
    ends = [p + v * braking_s / 2 for p, v in zip(target.positions, target.velocities, strict=True)]
    return [
        _point(target.positions, target.velocities, period_s),
        _point(within_limits(ends), [0.0] * len(ends), period_s + braking_s),
    ]


def _point(positions: Sequence[float], velocities: Sequence[float], time_s: float) -> JointTrajectoryPoint:
    point = JointTrajectoryPoint(positions=array("d", positions), velocities=array("d", velocities))
    point.time_from_start = convert.duration(time_s)
    return point

"""Cartesian servoing: TwistStamped for the arm, as MoveIt Servo takes it, and JointTrajectory for the gripper."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from builtin_interfaces.msg import Time
from geometry_msgs.msg import TwistStamped
from trajectory_msgs.msg import JointTrajectory

from reskill_core.errors import SpecError
from reskill_core.parameters import parameter
from reskill_core.spec import END_EFFECTOR_VELOCITY, GRIPPER_VELOCITY
from reskill_ros.drivers.adapters.base import STAMPS, Adapter, Channel
from reskill_ros.plumbing import convert


@dataclass(frozen=True)
class GripperOptions:
    """How the gripper is commanded."""

    topic: str = parameter("gripper/command", "topic of the gripper's JointTrajectory")
    mode: str = parameter(
        "velocity",
        "`velocity` of each finger (simulator); `open_close` between two widths (real grippers); `none`",
        choices=("velocity", "open_close", "none"),
    )
    joints: tuple[str, ...] = parameter(
        ("r_gripper_finger_joint", "l_gripper_finger_joint"), "finger joints, as the driver calls them"
    )
    stamp: str = parameter("zero", "stamp of the trajectory; zero makes a controller start at once", choices=STAMPS)
    open_position: float = parameter(0.05, "open_close: position of each finger when open [m]", low=-10.0, high=10.0)
    closed_position: float = parameter(0.0, "open_close: position of each finger when closed [m]", low=-10.0, high=10.0)
    threshold: float = parameter(
        0.2, "open_close: action beyond which the gripper opens (above) or closes (below minus) [-]", low=0.0, high=1.0
    )
    duration_s: float = parameter(0.5, "open_close: time to open or close in [s]", low=0.01, high=60.0)


@dataclass(frozen=True)
class ServoTwistOptions:
    """How the arm is commanded."""

    topic: str = parameter("command/twist", "topic of the arm's TwistStamped")
    frame_id: str = parameter("", "name of the base frame in the twist, if not the driver file's `base_frame`")
    stamp: str = parameter(
        "now", "stamp of the twist: MoveIt Servo needs `now`, lockstep `observation`", choices=STAMPS
    )
    unit_speed: float = parameter(
        1.0,
        "velocity that the driver takes as 1 [m/s]: 1 for metres per second, or Servo's scale.linear if its "
        "commands are unitless",
        low=1e-6,
        high=1e3,
    )
    gripper: GripperOptions = field(default_factory=GripperOptions)


class ServoTwistAdapter(Adapter):
    """Arm by velocity of the gripper frame, gripper by finger velocity or by opening and closing."""

    Options = ServoTwistOptions

    def __init__(self, channel: Channel, options: ServoTwistOptions) -> None:
        """Advertise the driver's topics.

        Raises:
            SpecError: the actions are not those of a gripper moved in space.
        """
        super().__init__(channel, options)
        if sorted(channel.task.action.quantities) != sorted((*END_EFFECTOR_VELOCITY, GRIPPER_VELOCITY)):
            raise SpecError(
                "servo_twist commands an end effector along x, y and z and a gripper; the task's actions are "
                f"{', '.join(channel.task.action.quantities)}"
            )
        self._finger = channel.task.action.quantities.index(GRIPPER_VELOCITY)
        self._options = options
        self._gripper = options.gripper
        frame_id = options.frame_id or channel.base_frame or "base_link"
        self._twist, self._still = TwistStamped(), TwistStamped()
        self._twist.header.frame_id = self._still.header.frame_id = frame_id
        self._twist_publisher = self._advertise(TwistStamped, options.topic)
        duration_s = channel.task.control_period_s
        if options.gripper.mode == "open_close":
            duration_s = options.gripper.duration_s
        self._trajectory = convert.trajectory_message(options.gripper.joints, duration_s)
        observed = map(self._sensing.joint, channel.task.obs.joints)
        signs = {source.name: source.sign for source in observed}
        self._signs = [signs.get(name, 1.0) for name in options.gripper.joints]
        self._is_open: bool | None = None
        if options.gripper.mode != "none":
            self._gripper_publisher = self._advertise(JointTrajectory, options.gripper.topic)

    @staticmethod
    def commanded_joints(options: ServoTwistOptions) -> Sequence[str]:
        """See :meth:`Adapter.commanded_joints`."""
        return () if options.gripper.mode == "none" else options.gripper.joints

    def send(self, action: Sequence[float], stamp: Time, feedback: Sequence[float] | None) -> None:
        """Command the arm, then the gripper."""
        velocities = self._velocities(action)
        linear, finger = [velocities[axis] for axis in self._actions.end_effector], velocities[self._finger]
        unit = self._options.unit_speed
        convert.set_twist(self._twist, linear if unit == 1.0 else [value / unit for value in linear])
        self._twist.header.stamp = self._stamp(self._options.stamp, stamp)
        self._twist_publisher.publish(self._twist)
        if self._gripper.mode == "velocity":
            self._send_finger_velocity(finger, self._stamp(self._gripper.stamp, stamp))
        elif self._gripper.mode == "open_close":
            self._open_or_close(action[self._finger], self._stamp(self._gripper.stamp, stamp))

    def hold(self, feedback: Sequence[float] | None) -> None:
        """Stop the arm and the fingers; a gripper that was told to close keeps its grip.

        The next command is told anew: meanwhile somebody may have opened the gripper, or started its driver again.
        """
        self._is_open = None
        now = self._node.get_clock().now().to_msg()
        self._still.header.stamp = self._stamp(self._options.stamp, now)
        self._twist_publisher.publish(self._still)
        if self._gripper.mode == "velocity":
            self._send_finger_velocity(0.0, self._stamp(self._gripper.stamp, now))

    def _send_finger_velocity(self, velocity: float, stamp: Time) -> None:
        self._trajectory.header.stamp = stamp
        self._trajectory.points[0].velocities = array("d", [sign * velocity for sign in self._signs])
        self._gripper_publisher.publish(self._trajectory)

    def _open_or_close(self, action: float, stamp: Time) -> None:
        # Between the thresholds the gripper stays as it is, so that it does not chatter around zero.
        wanted = self._is_open if abs(action) <= self._gripper.threshold else action > 0.0
        if wanted is self._is_open:
            return
        self._is_open = wanted
        position = self._gripper.open_position if wanted else self._gripper.closed_position
        self._trajectory.header.stamp = stamp
        self._trajectory.points[0].positions = array("d", [position] * len(self._gripper.joints))
        self._gripper_publisher.publish(self._trajectory)

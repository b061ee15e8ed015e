"""Gripper command as a JointTrajectory: finger velocity, or opening and closing."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from trajectory_msgs.msg import JointTrajectory

from reskill_core.commanded_place import moved_joints
from reskill_core.parameters import parameter
from reskill_core.spec import GRIPPER_VELOCITY
from reskill_ros.drivers.adapters.base import STAMPS, Adapter
from reskill_ros.plumbing import convert


@dataclass(frozen=True)
class GripperOptions:
    """Options of gripper commands."""

    topic: str = parameter("gripper/command", "topic of the gripper's JointTrajectory")
    mode: str = parameter(
        "velocity",
        "`velocity` of each finger (simulator); `open_close` between two widths (real grippers); `none`",
        choices=("velocity", "open_close", "none"),
    )
    joints: tuple[str, ...] = parameter((), "finger joints by the driver's names; empty: those of the observation")
    stamp: str = parameter("zero", "stamp of the trajectory; zero makes a controller start at once", choices=STAMPS)
    open_position: float = parameter(0.05, "open_close: position of each finger when open [m]", low=-10.0, high=10.0)
    closed_position: float = parameter(0.0, "open_close: position of each finger when closed [m]", low=-10.0, high=10.0)
    threshold: float = parameter(
        0.2, "open_close: action beyond which the gripper opens (above) or closes (below minus) [-]", low=0.0, high=1.0
    )
    duration_s: float = parameter(0.5, "open_close: time to open or close in [s]", low=0.01, high=60.0)


class GripperCommand:
    """Command of the component that moves the fingers."""

    def __init__(self, adapter: Adapter, options: GripperOptions) -> None:
        """Advertise the topic; requires a gripper component and a mode other than ``none``."""
        task, sensing = adapter.channel.task, adapter.channel.sensing
        self._adapter, self._options = adapter, options
        self._component = task.action.quantities.index(GRIPPER_VELOCITY)
        joints = options.joints or [sensing.joint(name).name for name in moved_joints(task)[self._component]]
        signs = {source.name: source.sign for source in map(sensing.joint, task.obs.joints)}
        self._signs = [signs.get(name, 1.0) for name in joints]
        open_close = options.mode == "open_close"
        self._trajectory = convert.trajectory_message(
            joints, options.duration_s if open_close else task.control_period_s
        )
        self._is_open: bool | None = None
        self._publisher = adapter.advertise(JointTrajectory, options.topic)

    def send(self, action: Sequence[float], commands: Sequence[float], stamp: Time) -> None:
        """Command the fingers.

        Args:
            action: one number per action component, in [-1, 1].
            commands: the same in the unit of each component.
            stamp: stamp of the observation that the action responds to.
        """
        stamp = self._adapter.stamp(self._options.stamp, stamp)
        if self._options.mode == "velocity":
            self._send_velocity(commands[self._component], stamp)
        else:
            self._open_or_close(action[self._component], stamp)

    def hold(self) -> None:
        """Stop the fingers; a gripper commanded to close keeps its grip.

        The next command is sent again even if unchanged, because the gripper may have been moved or its driver
        restarted in the meantime.
        """
        self._is_open = None
        if self._options.mode == "velocity":
            self._send_velocity(0.0, self._adapter.stamp(self._options.stamp, self._adapter.now()))

    def _send_velocity(self, velocity: float, stamp: Time) -> None:
        self._trajectory.header.stamp = stamp
        self._trajectory.points[0].velocities = array("d", [sign * velocity for sign in self._signs])
        self._publisher.publish(self._trajectory)

    def _open_or_close(self, action: float, stamp: Time) -> None:
        # Between the thresholds the gripper keeps its state, so that it does not chatter around zero.
        wanted = self._is_open if abs(action) <= self._options.threshold else action > 0.0
        if wanted is self._is_open:
            return
        self._is_open = wanted
        position = self._options.open_position if wanted else self._options.closed_position
        self._trajectory.header.stamp = stamp
        self._trajectory.points[0].positions = array("d", [position] * len(self._signs))
        self._publisher.publish(self._trajectory)

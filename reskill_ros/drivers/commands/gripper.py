"""Gripper command: finger velocity, or opening and closing, by topic or action."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builtin_interfaces.msg import Time
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from reskill_core.commanded_place import moved_joints
from reskill_core.errors import ConfigError
from reskill_core.parameters import parameter
from reskill_core.spec import GRIPPER_VELOCITY
from reskill_ros.drivers.adapters.base import STAMPS, Adapter
from reskill_ros.plumbing import convert

if TYPE_CHECKING:
    from rclpy.action import ActionClient

# Interfaces of grippers; the last two are actions.
INTERFACES = ("joint_trajectory", "array", "gripper_command", "parallel_gripper_command")


@dataclass(frozen=True)
class GripperOptions:
    """Options of gripper commands."""

    interface: str = parameter(
        "joint_trajectory",
        "`joint_trajectory` for a trajectory controller, `array` (Float64MultiArray) for a forward controller; actions "
        "of control_msgs: `gripper_command` (until Jazzy), `parallel_gripper_command` (from Jazzy on)",
        choices=INTERFACES,
    )
    topic: str = parameter("gripper/command", "topic, or name of the action")
    mode: str = parameter(
        "velocity",
        "`velocity` of each finger (simulator); `open_close` between two widths (real grippers); `none`",
        choices=("velocity", "open_close", "none"),
    )
    joints: tuple[str, ...] = parameter((), "finger joints by the driver's names; empty: those of the observation")
    stamp: str = parameter("zero", "stamp of the trajectory; zero makes a controller start at once", choices=STAMPS)
    open_position: float = parameter(
        0.05, "open_close: position of each finger when open, as the driver counts [m or rad]", low=-10.0, high=10.0
    )
    closed_position: float = parameter(
        0.0, "open_close: position of each finger when closed, likewise [m or rad]", low=-10.0, high=10.0
    )
    threshold: float = parameter(
        0.2, "open_close: action beyond which the gripper opens (above) or closes (below minus) [-]", low=0.0, high=1.0
    )
    duration_s: float = parameter(0.5, "open_close: time to open or close in [s]", low=0.01, high=60.0)
    max_effort: float = parameter(
        0.0, "actions: largest force of the fingers [N]; 0: that of the controller", low=0.0, high=1e4
    )

    def violations(self) -> list[str]:
        """Check that the interface can do what the mode needs."""
        if self.mode == "velocity" and self.interface.endswith("gripper_command"):
            return [f"mode: the action {self.interface} opens and closes only; use open_close"]
        return []


class GripperCommand:
    """Command of the component that moves the fingers.

    Attributes:
        output: how it is sent.
    """

    def __init__(self, adapter: Adapter, options: GripperOptions) -> None:
        """Advertise the topic or create the action client; requires a gripper component and a mode."""
        task, sensing = adapter.channel.task, adapter.channel.sensing
        self._adapter, self._options = adapter, options
        self._component = task.action.quantities.index(GRIPPER_VELOCITY)
        self._scale, self._stays_closed = task.action.scale[self._component], task.gripper_closed
        joints = options.joints or [sensing.joint(name).name for name in moved_joints(task)[self._component]]
        # Two fingers may be moved by one joint of the driver.
        joints = list(dict.fromkeys(joints))
        sources = {source.name: source for source in map(sensing.joint, task.obs.joints)}
        self._sources = [sources.get(name) for name in joints]
        self.output = _make_output(adapter, options, joints)
        self._is_open: bool | None = None

    @classmethod
    def of(cls, adapter: Adapter, options: GripperOptions) -> GripperCommand | None:
        """Create the command; None if the task has no gripper, or the driver none to be commanded."""
        has_gripper = GRIPPER_VELOCITY in adapter.channel.task.action.quantities and options.mode != "none"
        return cls(adapter, options) if has_gripper else None

    def send(self, action: Sequence[float], commands: Sequence[float], stamp: Time) -> None:
        """Command the fingers; in a task whose gripper stays closed, to close.

        Args:
            action: one number per action component, in [-1, 1].
            commands: the same in the unit of each component.
            stamp: stamp of the observation that the action responds to.
        """
        stamp = self._adapter.stamp(self._options.stamp, stamp)
        wanted, velocity = action[self._component], commands[self._component]
        if self._stays_closed:
            wanted, velocity = -1.0, -self._scale
        if self._options.mode == "velocity":
            self._send_velocity(velocity, stamp)
        else:
            self._open_or_close(wanted, stamp)

    def hold(self) -> None:
        """Stop the fingers; a gripper commanded to close keeps its grip.

        The next command is sent again even if unchanged, because the gripper may have been moved or its driver
        restarted in the meantime.
        """
        self._is_open = None
        if self._options.mode == "velocity":
            self._send_velocity(0.0, self._adapter.stamp(self._options.stamp, self._adapter.now()))

    def _send_velocity(self, velocity: float, stamp: Time) -> None:
        self.output.velocities(
            [velocity if source is None else source.velocity_to_driver(velocity) for source in self._sources], stamp
        )

    def _open_or_close(self, action: float, stamp: Time) -> None:
        wanted = wants_open(action, self._is_open, self._options.threshold)
        if wanted is self._is_open:
            return
        self._is_open = wanted
        position = self._options.open_position if wanted else self._options.closed_position
        self.output.positions([position] * len(self._sources), stamp)


def wants_open(action: float, is_open: bool | None, threshold: float) -> bool | None:
    """Return whether an action wants the gripper open; up to the threshold as it is, so that it does not chatter."""
    return is_open if abs(action) <= threshold else action > 0.0


class GripperOutput(ABC):
    """Interface by which finger commands are sent."""

    @abstractmethod
    def positions(self, values: Sequence[float], stamp: Time) -> None:
        """Move the fingers to positions, as the driver counts [m or rad]."""

    @abstractmethod
    def velocities(self, values: Sequence[float], stamp: Time) -> None:
        """Move the fingers at velocities, as the driver counts [m/s or rad/s]."""

    def missing(self) -> str:
        """Return what the driver lacks, for messages; empty if nothing. Missing subscribers are known elsewhere."""
        return ""


class _TrajectoryOutput(GripperOutput):
    def __init__(self, adapter: Adapter, options: GripperOptions, joints: Sequence[str]) -> None:
        period_s = options.duration_s if options.mode == "open_close" else adapter.channel.task.control_period_s
        self._message = convert.trajectory_message(joints, period_s)
        self._publisher = adapter.advertise(JointTrajectory, options.topic)

    def positions(self, values: Sequence[float], stamp: Time) -> None:
        self._message.points[0].positions = array("d", values)
        self._publish(stamp)

    def velocities(self, values: Sequence[float], stamp: Time) -> None:
        self._message.points[0].velocities = array("d", values)
        self._publish(stamp)

    def _publish(self, stamp: Time) -> None:
        self._message.header.stamp = stamp
        self._publisher.publish(self._message)


class _ArrayOutput(GripperOutput):
    def __init__(self, adapter: Adapter, options: GripperOptions, joints: Sequence[str]) -> None:
        self._message = convert.labelled_array(joints)
        self._publisher = adapter.advertise(Float64MultiArray, options.topic)

    def positions(self, values: Sequence[float], stamp: Time) -> None:
        self._message.data = array("d", values)
        self._publisher.publish(self._message)

    velocities = positions


class _ActionOutput(GripperOutput):
    """Goals are sent without waiting for their results: the next one replaces them."""

    def __init__(self, adapter: Adapter, options: GripperOptions, joints: Sequence[str]) -> None:
        # control_msgs cannot be installed everywhere.
        try:
            from control_msgs import action as actions
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"gripper interface {options.interface}: control_msgs is not installed: "
                "apt install ros-$ROS_DISTRO-control-msgs; or use joint_trajectory or array"
            ) from error
        from rclpy.action import ActionClient

        kind = {"gripper_command": "GripperCommand", "parallel_gripper_command": "ParallelGripperCommand"}
        name = kind[options.interface]
        if not hasattr(actions, name):
            raise ConfigError(f"gripper interface {options.interface}: the installed control_msgs have no {name}")
        self._type, self._joints, self._effort = getattr(actions, name), list(joints), options.max_effort
        self._is_parallel = options.interface == "parallel_gripper_command"
        self._client: ActionClient[Any, Any, Any] = ActionClient(
            adapter.channel.node, self._type, adapter.channel.topic(options.topic)
        )
        self._name, self._is_dry = options.topic, adapter.channel.dry_run
        adapter.on_close(self._client.destroy)

    def positions(self, values: Sequence[float], stamp: Time) -> None:
        goal = self._type.Goal()
        if self._is_parallel:
            goal.command.name, goal.command.position = self._joints, array("d", values)
            if self._effort:
                goal.command.effort = array("d", [self._effort] * len(values))
        else:
            goal.command.position, goal.command.max_effort = float(values[0]), self._effort
        self._client.send_goal_async(goal)

    def velocities(self, values: Sequence[float], stamp: Time) -> None:
        raise NotImplementedError("an action has no velocities; its options say so")

    def missing(self) -> str:
        return "" if self._is_dry or self._client.server_is_ready() else f"action server {self._name}"


_OUTPUTS: dict[str, type[_TrajectoryOutput | _ArrayOutput | _ActionOutput]] = {
    "joint_trajectory": _TrajectoryOutput,
    "array": _ArrayOutput,
    "gripper_command": _ActionOutput,
    "parallel_gripper_command": _ActionOutput,
}


def _make_output(adapter: Adapter, options: GripperOptions, joints: Sequence[str]) -> GripperOutput:
    return _OUTPUTS[options.interface](adapter, options, joints)

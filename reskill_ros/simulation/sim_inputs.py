"""Inputs of a simulated robot: the command topics of a real arm, and acknowledgements of its states in lockstep."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray, Header
from trajectory_msgs.msg import JointTrajectory

from reskill_core.commanded_place import moved_joints
from reskill_core.sensing import MessageError
from reskill_core.spec import (
    END_EFFECTOR_VELOCITY,
    GRIPPER_VELOCITY,
    JOINT_POSITION,
    VELOCITIES,
    ActionSpec,
    TaskSpec,
)
from reskill_ros.plumbing import convert, qos
from reskill_ros.plumbing.diagnostics import Diagnostics, Report
from reskill_ros.plumbing.inputs import Inputs
from reskill_ros.plumbing.interfaces import message_class
from reskill_ros.plumbing.params import Parameters
from reskill_ros.plumbing.refusals import Refusals
from reskill_ros.plumbing.topics import SIMULATOR_COMMANDS
from reskill_ros.simulation.command_buffer import Command, CommandBuffer, Setpoint
from reskill_ros.simulation.sim_parameters import SimParameters


class SimInputs:
    """Newest commands and acknowledgements.

    Attributes:
        commands: the newest commands.
    """

    def __init__(
        self,
        node: Node,
        config: Parameters[SimParameters],
        task: Callable[[], TaskSpec],
        diagnostics: Diagnostics,
        on_input: Callable[[], None],
    ) -> None:
        """Start listening.

        Args:
            node: the node that owns the subscriptions.
            config: its parameters.
            task: says which task runs, and so what may be commanded.
            diagnostics: where refused messages are counted.
            on_input: called when something new has come.
        """
        self.commands = CommandBuffer()
        self._config, self._task = config, task
        self._refusals = Refusals(node.get_logger(), diagnostics.counters)
        self._on_input = on_input
        self._acknowledged = dict.fromkeys(config.values.acknowledge_topics, 0)
        self._inputs = Inputs(node, diagnostics.publish)
        takers = {
            "command/twist": self._on_twist,
            "gripper/command": self._on_gripper,
            "command/setpoints": self._on_setpoints,
            "command/positions": self._on_positions,
        }
        for topic, type_name in SIMULATOR_COMMANDS.items():
            self._inputs.listen(message_class(type_name), topic, takers[topic], qos.COMMAND)
        for topic in self._acknowledged:
            self._inputs.listen(Header, topic, partial(self._on_acknowledge, topic), qos.NEWEST)

    def report(self, report: Report) -> None:
        """Add command publishers with incompatible QoS."""
        self._inputs.report(report)

    def unacknowledged(self, stamp_ns: int) -> list[str]:
        """Return the topics on which the state of a stamp has not been acknowledged yet."""
        return [topic for topic, newest_ns in self._acknowledged.items() if newest_ns != stamp_ns]

    def _on_twist(self, message: TwistStamped) -> None:
        with self._taking("command/twist"):
            velocity = convert.twist_velocity(message)
            self._take(_twist_setpoints(self._task().action, velocity), convert.stamp_to_ns(message.header.stamp))

    def _on_gripper(self, message: JointTrajectory) -> None:
        with self._taking("gripper/command"):
            point = convert.trajectory_point(message)
            self._take(_finger_setpoints(self._task(), *point), convert.stamp_to_ns(message.header.stamp))

    def _on_setpoints(self, message: Float64MultiArray) -> None:
        with self._taking("command/setpoints"):
            self._take_array(message, by_place=False)

    def _on_positions(self, message: Float64MultiArray) -> None:
        with self._taking("command/positions"):
            self._take_array(message, by_place=self._config.values.array_command == "position")

    def _take_array(self, message: Float64MultiArray, by_place: bool) -> None:
        action = self._task().action
        setpoints = {}
        for name, value in convert.array_values(message, action.names).items():
            quantity = action.quantities[action.names.index(name)]
            is_place = quantity == JOINT_POSITION or (by_place and quantity in VELOCITIES)
            setpoints[name] = Setpoint(value, is_place)
        self._take(setpoints, convert.array_stamp_ns(message))

    def _take(self, setpoints: Command, stamp_ns: int) -> None:
        self.commands.take(setpoints, stamp_ns, time.monotonic())

    def _on_acknowledge(self, topic: str, message: Header) -> None:
        self._acknowledged[topic] = convert.stamp_to_ns(message.stamp)
        self._on_input()

    @contextmanager
    def _taking(self, topic: str) -> Iterator[None]:
        """Process a message, or count and report its refusal."""
        try:
            yield
        except MessageError as error:
            self._refusals.add(topic, error.reason, str(error))
        else:
            self._refusals.accept(topic)
            self._on_input()


def _twist_setpoints(action: ActionSpec, velocity: Sequence[float]) -> Command:
    """Return the setpoints of a twist for the axes with an action component."""
    axes = dict(zip(END_EFFECTOR_VELOCITY, velocity, strict=True))
    setpoints = {item.name: Setpoint(axes[item.quantity]) for item in action.components if item.quantity in axes}
    if not setpoints:
        raise MessageError("unknown_component", f"a twist commands none of {', '.join(action.names)}")
    return setpoints


def _finger_setpoints(task: TaskSpec, positions: Mapping[str, float], velocities: Mapping[str, float]) -> Command:
    """What a trajectory commands the fingers, which always move alike: a velocity if it has one, else a position.

    Raises:
        MessageError: ``unknown_joint``: it commands no finger.
    """
    setpoints = {}
    grippers = zip(task.action.components, moved_joints(task), strict=True)
    for fingers, name in ((joints, item.name) for item, joints in grippers if item.quantity == GRIPPER_VELOCITY):
        for joint in fingers:
            if joint in velocities:
                setpoints[name] = Setpoint(velocities[joint])
                break
            if joint in positions:
                setpoints[name] = Setpoint(positions[joint], is_place=True)
                break
    if not setpoints:
        named = ", ".join({**positions, **velocities}) or "none"
        raise MessageError("unknown_joint", f"gripper command names no finger of task {task.name}, but {named}")
    return setpoints

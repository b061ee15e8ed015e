"""What a simulated robot is told: the command topics of a real arm, and confirmations of its states in lockstep."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray, Header
from trajectory_msgs.msg import JointTrajectory

from reskill_core.sensing import MessageError
from reskill_ros.nodes.sim_parameters import SimParameters
from reskill_ros.plumbing import convert, qos
from reskill_ros.plumbing.diagnostics import Diagnostics, Report
from reskill_ros.plumbing.inputs import Inputs
from reskill_ros.plumbing.params import Parameters
from reskill_ros.plumbing.refusals import Refusals
from reskill_ros.simulation.command_buffer import CommandBuffer, finger_setpoint
from reskill_ros.simulation.sim_session import Setpoint


class SimInputs:
    """Keeps the newest of everything.

    Attributes:
        commands: the newest commands.
    """

    def __init__(
        self, node: Node, config: Parameters[SimParameters], diagnostics: Diagnostics, on_input: Callable[[], None]
    ) -> None:
        """Start listening.

        Args:
            node: the node that owns the subscriptions.
            config: its parameters.
            diagnostics: where refused messages are counted.
            on_input: called when something new has come.
        """
        self.commands = CommandBuffer()
        self._config = config
        self._refusals = Refusals(node.get_logger(), diagnostics.counters)
        self._on_input = on_input
        self._acknowledged = dict.fromkeys(config.values.acknowledge_topics, 0)
        self._inputs = Inputs(node, diagnostics.publish)
        self._inputs.listen(TwistStamped, "command/twist", self._on_twist, qos.COMMAND)
        self._inputs.listen(JointTrajectory, "gripper/command", self._on_gripper, qos.COMMAND)
        self._inputs.listen(Float64MultiArray, "command/positions", self._on_array, qos.COMMAND)
        for topic in self._acknowledged:
            self._inputs.listen(Header, topic, partial(self._on_acknowledge, topic), qos.NEWEST)

    def report(self, report: Report) -> None:
        """Add who commands but is not heard."""
        self._inputs.report(report)

    def unacknowledged(self, stamp_ns: int) -> list[str]:
        """Topics on which the state of that stamp has not been acknowledged yet."""
        return [topic for topic, newest_ns in self._acknowledged.items() if newest_ns != stamp_ns]

    def _on_twist(self, message: TwistStamped) -> None:
        with self._taking("command/twist"):
            velocity = Setpoint(convert.twist_velocity(message))
            self.commands.set_arm(velocity, convert.stamp_to_ns(message.header.stamp), time.monotonic())

    def _on_gripper(self, message: JointTrajectory) -> None:
        with self._taking("gripper/command"):
            fingers = finger_setpoint(*convert.trajectory_point(message))
            self.commands.set_fingers(fingers, convert.stamp_to_ns(message.header.stamp), time.monotonic())

    def _on_array(self, message: Float64MultiArray) -> None:
        with self._taking("command/positions"):
            values = list(convert.array_values(message, ("x", "y", "z", "gripper")).values())
            is_position = self._config.values.array_command == "position"
            self.commands.set_arm(Setpoint(tuple(values[:3]), is_position), 0, time.monotonic())
            self.commands.set_fingers(Setpoint(tuple(values[3:]), is_position), 0, time.monotonic())

    def _on_acknowledge(self, topic: str, message: Header) -> None:
        self._acknowledged[topic] = convert.stamp_to_ns(message.stamp)
        self._on_input()

    @contextmanager
    def _taking(self, topic: str) -> Iterator[None]:
        """Take a message, or count it and say why it must not be used."""
        try:
            yield
        except MessageError as error:
            self._refusals.add(topic, error.reason, str(error))
        else:
            self._refusals.accept(topic)
            self._on_input()

"""Base class of driver adapters."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher

from reskill_core.kinematics import KinematicsConfig
from reskill_core.sensing import SensingConfig
from reskill_core.spec import TaskSpec
from reskill_ros.plumbing import qos
from reskill_ros.plumbing.inputs import Inputs

STAMPS = ("observation", "now", "zero")
_ZERO = Time()
# Limit for a driver that does not acknowledge; launchers kill after a multiple of it.
_ACKNOWLEDGE_TIMEOUT_S = 3.0
_ACKNOWLEDGE_PERIOD_S = 0.002
_NOW = Duration()


@dataclass(frozen=True)
class Channel:
    """Node, task and driver of an adapter.

    Attributes:
        node: node that owns the publishers.
        task: task specification that defines the actions.
        sensing: sensing configuration, with the driver's base frame and the signs and offsets of its joints.
        base_frame: name of the driver's base frame, if it has one.
        dry_run: publish below ``shadow/`` instead, without effect on the driver.
        kinematics: kinematic model of the arm.
        joint_states: topic of the driver's joint states.
        inputs: subscriptions of the node, for adapters that need sensors of their own.
    """

    node: Node
    task: TaskSpec
    sensing: SensingConfig = field(default_factory=SensingConfig)
    base_frame: str = ""
    dry_run: bool = False
    kinematics: KinematicsConfig = field(default_factory=KinematicsConfig)
    joint_states: str = "joint_states"
    inputs: Inputs | None = None

    def topic(self, name: str) -> str:
        """Return the topic to publish on: the given one or, in a dry run, its shadow."""
        return f"shadow/{name.lstrip('/')}" if self.dry_run else name


class Adapter(ABC):
    """Conversion of actions to the commands of one kind of driver.

    A subclass has an options dataclass and is created from a channel and an instance of it. Most subclasses combine
    parts such as :class:`~reskill_ros.drivers.commands.twist.TwistCommand`, each of which commands some components of
    the action on one topic.

    Attributes:
        Options: options dataclass.
        channel: node, task and driver of the adapter.
        publishers: publishers of driver topics.
        needs_feedback: whether commands depend on the measured positions in observations.
        counters: numbers of refused messages, by reason, for diagnostics.
    """

    Options: ClassVar[type[Any]]
    needs_feedback = False

    def __init__(self, channel: Channel, options: Any) -> None:
        """Create the adapter without publishers."""
        self.channel = channel
        self.publishers: list[Publisher[Any]] = []
        self.counters: Counter[str] = Counter()
        self._closing: list[Callable[[], object]] = []

    @staticmethod
    def commanded_joints(options: Any) -> Sequence[str]:
        """Return the joints commanded by name, by the driver's names."""
        return ()

    @abstractmethod
    def send(self, action: Sequence[float], stamp: Time, feedback: Sequence[float] | None) -> None:
        """Command an action.

        Args:
            action: one number per action component, in [-1, 1].
            stamp: stamp of the observation that the action responds to.
            feedback: measured position of each component [m or rad] in the task's world frame, if known.
        """

    @abstractmethod
    def hold(self, feedback: Sequence[float] | None) -> None:
        """Send the safe command of this kind of driver, which stops the robot, and reset the command state."""

    def missing(self, steady_s: float) -> str:
        """Return what commands need and the driver does not provide, for messages; empty if nothing.

        Args:
            steady_s: current time on a steady clock.
        """
        return ""

    def on_close(self, release: Callable[[], object]) -> None:
        """Register a function to call when the adapter is closed."""
        self._closing.append(release)

    def commands(self, action: Sequence[float]) -> list[float]:
        """Scale an action to the unit of each component, in the task's world frame."""
        # Python floats are float64, so the product of a float32 action and its scale is exact.
        return [value * scale for value, scale in zip(action, self.channel.task.action.scale, strict=True)]

    def advertise(self, message_type: type[Any], topic: str) -> Publisher[Any]:
        """Create the publisher of one of the driver's topics."""
        publisher: Publisher[Any] = self.channel.node.create_publisher(
            message_type, self.channel.topic(topic), qos.COMMAND
        )
        self.publishers.append(publisher)
        return publisher

    def stamp(self, kind: str, observed: Time) -> Time:
        """Return the stamp of a command for one of the ``STAMPS``."""
        if kind == "observation":
            return observed
        return self.now() if kind == "now" else _ZERO

    def now(self) -> Time:
        """Return the node's time."""
        now: Time = self.channel.node.get_clock().now().to_msg()
        return now

    def flush(self) -> None:
        """Wait until the driver has acknowledged all commands, at most ``_ACKNOWLEDGE_TIMEOUT_S``."""
        end_s = time.monotonic() + _ACKNOWLEDGE_TIMEOUT_S
        # Polled, because a single long wait would hold the GIL. Acknowledgements arrive within milliseconds, because
        # with a queue of one message each message requests its acknowledgement.
        while not all(publisher.wait_for_all_acked(_NOW) for publisher in self.publishers):
            if time.monotonic() > end_s:
                return
            time.sleep(_ACKNOWLEDGE_PERIOD_S)

    def close(self) -> None:
        """Destroy the publishers after the driver has acknowledged the last command."""
        self.flush()
        for publisher in self.publishers:
            self.channel.node.destroy_publisher(publisher)
        self.publishers.clear()
        while self._closing:
            self._closing.pop()()

"""What all driver adapters have in common."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher

from reskill_core.sensing import SensingConfig
from reskill_core.spec import TaskSpec
from reskill_ros.plumbing import qos

STAMPS = ("observation", "now", "zero")
_ZERO = Time()
# A driver that hangs acknowledges nothing; launchers kill after several times this.
_ACKNOWLEDGE_TIMEOUT_S = 3.0
_ACKNOWLEDGE_PERIOD_S = 0.002
_NOW = Duration()


@dataclass(frozen=True)
class Channel:
    """Where an adapter publishes.

    Attributes:
        node: the node that owns the publishers.
        task: what the actions mean.
        sensing: how the driver measures, and so how it is commanded: where its base frame is, which way its joints go.
        base_frame: name of the driver's base frame, if it has one.
        dry_run: publish below ``shadow/`` instead, where no driver listens.
    """

    node: Node
    task: TaskSpec
    sensing: SensingConfig = field(default_factory=SensingConfig)
    base_frame: str = ""
    dry_run: bool = False

    def topic(self, name: str) -> str:
        """Where to publish what is meant for a topic."""
        return f"shadow/{name.lstrip('/')}" if self.dry_run else name


class Adapter(ABC):
    """Turns actions into the commands of one kind of driver.

    A subclass has an options dataclass and is built from a channel and an instance of it. Most are put together from
    :class:`~reskill_ros.drivers.adapters.twist.TwistCommand` and its like, each of which commands some components of
    the action on one topic.

    Attributes:
        Options: the class of its options.
        channel: where it publishes.
        publishers: the publishers of driver topics.
        needs_feedback: whether commands depend on the measured state.
    """

    Options: ClassVar[type[Any]]
    needs_feedback = False

    def __init__(self, channel: Channel, options: Any) -> None:
        """Set up without publishers yet."""
        self.channel = channel
        self.publishers: list[Publisher[Any]] = []

    @staticmethod
    def commanded_joints(options: Any) -> Sequence[str]:
        """The joints that it commands by name, as the driver calls them."""
        return ()

    @abstractmethod
    def send(self, action: Sequence[float], stamp: Time, feedback: Sequence[float] | None) -> None:
        """Command an action.

        Args:
            action: one number per action component, in [-1, 1].
            stamp: stamp of the observation that the action answers.
            feedback: measured value of what each component moves [m or rad], in the task's world, if known.
        """

    @abstractmethod
    def hold(self, feedback: Sequence[float] | None) -> None:
        """Send the safe command of this kind of driver, and forget what was commanded: the robot stands still."""

    def commands(self, action: Sequence[float]) -> list[float]:
        """What each component of an action commands, in its own unit and in the task's world."""
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
        """The stamp of a command, of one of the ``STAMPS``."""
        if kind == "observation":
            return observed
        return self.now() if kind == "now" else _ZERO

    def now(self) -> Time:
        """The node's time."""
        now: Time = self.channel.node.get_clock().now().to_msg()
        return now

    def flush(self) -> None:
        """Wait until the driver has what was sent, or does not take it in reasonable time."""
        end_s = time.monotonic() + _ACKNOWLEDGE_TIMEOUT_S
        # Asked again and again: a single long wait would keep all other threads from running Python. The answer comes
        # within milliseconds, because a queue of one message makes each ask for its acknowledgement.
        while not all(publisher.wait_for_all_acked(_NOW) for publisher in self.publishers):
            if time.monotonic() > end_s:
                return
            time.sleep(_ACKNOWLEDGE_PERIOD_S)

    def close(self) -> None:
        """Destroy the publishers, once the driver has the last command."""
        self.flush()
        for publisher in self.publishers:
            self.channel.node.destroy_publisher(publisher)
        self.publishers.clear()

"""What all driver adapters have in common."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher

from reskill_core.spec import TaskSpec
from reskill_ros import qos

STAMPS = ("observation", "now", "zero")
_ZERO = Time()
# A driver that hangs acknowledges nothing; launchers kill after several times this.
_ACKNOWLEDGE_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Channel:
    """Where an adapter publishes.

    Attributes:
        node: the node that owns the publishers.
        task: what the actions mean.
        dry_run: publish below ``shadow/`` instead, where no driver listens.
    """

    node: Node
    task: TaskSpec
    dry_run: bool = False

    def topic(self, name: str) -> str:
        """Where to publish what is meant for a topic."""
        return f"shadow/{name.lstrip('/')}" if self.dry_run else name


class Adapter(ABC):
    """Turns actions into the commands of one kind of driver.

    A subclass has an options dataclass and is built from a channel and an instance of it.

    Attributes:
        Options: the class of its options.
        publishers: the publishers of driver topics.
        needs_feedback: whether commands depend on the measured state.
    """

    Options: ClassVar[type[Any]]
    needs_feedback = False

    def __init__(self, channel: Channel, options: Any) -> None:
        self._node = channel.node
        self._topic = channel.topic
        self._scale = channel.task.action.velocity_scale
        self.publishers: list[Publisher[Any]] = []

    @abstractmethod
    def send(self, action: Sequence[float], stamp: Time, feedback: Sequence[float] | None) -> None:
        """Command an action.

        Args:
            action: one number per action component, in [-1, 1].
            stamp: stamp of the observation that the action answers.
            feedback: measured value of what each component moves [m], if known.
        """

    @abstractmethod
    def hold(self, feedback: Sequence[float] | None) -> None:
        """Send the safe command of this kind of driver: the robot stands still."""

    def flush(self) -> None:
        """Wait until the driver has what was sent, or does not take it in reasonable time."""
        end_s = time.monotonic() + _ACKNOWLEDGE_TIMEOUT_S
        for publisher in self.publishers:
            publisher.wait_for_all_acked(Duration(seconds=max(end_s - time.monotonic(), 0.0)))

    def close(self) -> None:
        """Destroy the publishers, once the driver has the last command."""
        self.flush()
        for publisher in self.publishers:
            self._node.destroy_publisher(publisher)
        self.publishers.clear()

    def _advertise(self, message_type: type[Any], topic: str) -> Publisher[Any]:
        publisher: Publisher[Any] = self._node.create_publisher(message_type, self._topic(topic), qos.COMMAND)
        self.publishers.append(publisher)
        return publisher

    def _velocities(self, action: Sequence[float]) -> list[float]:
        # Python floats are float64, so the product of a float32 action and its scale is exact.
        return [value * scale for value, scale in zip(action, self._scale, strict=True)]

    def _stamp(self, kind: str, observed: Time) -> Time:
        if kind == "observation":
            return observed
        return self._node.get_clock().now().to_msg() if kind == "now" else _ZERO

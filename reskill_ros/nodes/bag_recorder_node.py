"""bag_recorder_node: records the messages of all topics, unchanged, in a bag that survives a crash."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take long
    from reskill_core.process import start

    start("reskill_ros.nodes.bag_recorder_node")

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from std_msgs.msg import Header

from reskill_core.errors import GraphError
from reskill_core.parameters import parameter
from reskill_ros.plumbing import convert, qos
from reskill_ros.plumbing.clock import now_ns
from reskill_ros.plumbing.diagnostics import Diagnostics, Report
from reskill_ros.plumbing.executor import serve_waiting_messages
from reskill_ros.plumbing.interfaces import message_class
from reskill_ros.plumbing.node_process import run
from reskill_ros.plumbing.params import Parameters
from reskill_ros.plumbing.served_task import task_spec
from reskill_ros.plumbing.topics import BAG_ACKNOWLEDGE, SIMULATOR_COMMANDS, observed_image
from reskill_ros.recording.bag import BagWriter

_DISCOVERY_PERIOD_S = 0.2
# Subscribed to from the start, so that the first message is not missed.
_OWN_TOPICS = {
    "observation": "reskill_ros/msg/Observation",
    "skill_action": "reskill_ros/msg/SkillAction",
    "executed_action": "reskill_ros/msg/SkillAction",
    "episode": "reskill_ros/msg/EpisodeState",
}


@dataclass(frozen=True)
class BagRecorderParameters:
    """Parameters of bag_recorder_node."""

    bag: str = parameter("runs/bag", "Folder of the new bag.", read_only=True)
    task: str = parameter(
        "",
        "Task whose observed images are recorded from the start and acknowledged as well; may be empty.",
        read_only=True,
    )
    skills: str = parameter("", "Checkpoint whose task is used instead; needs no simulator.", read_only=True)
    topics: tuple[str, ...] = parameter((), "Topics to record; empty: all.", read_only=True)
    exclude: str = parameter(
        "/acknowledge$|^/parameter_events$", "Regular expression of excluded topics.", read_only=True
    )
    acknowledge: bool = parameter(
        False,
        "Acknowledge each stamp once all its messages are written, for a simulator in lockstep.",
        read_only=True,
    )

    def violations(self) -> list[str]:
        """List an invalid regular expression."""
        try:
            re.compile(self.exclude)
        except re.error as error:
            return [f"exclude: {self.exclude!r} is not a regular expression: {error}"]
        return []


class BagRecorderNode(Node):
    """Bag recorder that discovers topics and reads nothing of a message except its stamp.

    Attributes:
        writer: writer of the bag.
    """

    _is_up = False

    def __init__(self) -> None:
        super().__init__("bag_recorder_node")
        values = Parameters(self, BagRecorderParameters()).values
        self._exclude = re.compile(values.exclude)
        self._wanted = {self.resolve_topic_name(name) for name in values.topics}
        self.writer = BagWriter(Path(values.bag))
        self._recorded: set[str] = set()
        self._lost: Counter[str] = Counter()
        self._failure = ""
        self._written: dict[int, set[str]] = {}
        self._acknowledge = self.create_publisher(Header, BAG_ACKNOWLEDGE, qos.STATE) if values.acknowledge else None
        images = task_spec(values.task, values.skills).obs.images if values.task or values.skills else ()
        frames = {observed_image(feature.name): "sensor_msgs/msg/Image" for feature in images}
        own = {**_OWN_TOPICS, **frames}
        # A node that was discovered publishes to its subscribers in the order in which they came up. So whoever sends
        # the actions of the first stamp sends their commands here, too, and no acknowledged command is missed.
        commands = SIMULATOR_COMMANDS if values.acknowledge else {}
        for name, type_name in {**commands, **own}.items():
            self._record(self.resolve_topic_name(name), type_name, qos.RECORD)
        self._own = self._recorded & {self.resolve_topic_name(name) for name in own}
        self.create_timer(_DISCOVERY_PERIOD_S, self._discover, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.diagnostics = Diagnostics(self, self._report, "bag_recorder/status")
        self._is_up = True

    def _discover(self) -> None:
        for topic, type_names in self.get_topic_names_and_types():
            publishers = self.get_publishers_info_by_topic(topic)
            if topic not in self._recorded and publishers:
                self._record(topic, type_names[0], qos.matching(publishers))

    def _record(self, topic: str, type_name: str, profile: QoSProfile) -> None:
        if (self._wanted and topic not in self._wanted) or self._exclude.search(topic):
            return
        self._recorded.add(topic)
        try:
            kind = message_class(type_name)
            self.writer.add_topic(topic, type_name)
        except GraphError as error:
            self.get_logger().warning(f"{topic} is not recorded: {error}")
            return
        events = SubscriptionEventCallbacks(
            message_lost=lambda event: self._lost.update({topic: event.total_count_change})
        )
        self.create_subscription(kind, topic, partial(self._write, topic), profile, raw=True, event_callbacks=events)

    def _write(self, topic: str, data: bytes) -> None:
        try:
            if not self._failure:
                self.writer.write(topic, data, now_ns(self))
        except OSError as error:
            # Nodes that wait for acknowledgements, such as the simulator, must not be blocked.
            self._failure = f"bag {self.writer.folder} cannot be written any more: {error.strerror}"
            self.get_logger().error(self._failure)
        if self._acknowledge is not None and topic in self._own:
            self._confirm(self._acknowledge, topic, convert.serialised_stamp_ns(data))

    def _confirm(self, publisher: Publisher, topic: str, stamp_ns: int) -> None:
        written = self._written.setdefault(stamp_ns, set())
        written.add(topic)
        if written == self._own:
            publisher.publish(Header(stamp=convert.ns_to_stamp(stamp_ns)))
            # Older stamps will not be completed.
            self._written = {stamp: topics for stamp, topics in self._written.items() if stamp >= stamp_ns}

    def _report(self, report: Report) -> None:
        report.state = "recording"
        if self._failure:
            report.error(self._failure)
        report.values = {"messages": self.writer.message_count, "topics": len(self._recorded)}
        report.values |= {f"lost{topic}": count for topic, count in self._lost.items()}
        if self._lost:
            report.warn(f"the middleware lost: {self._describe_lost()}")

    def destroy_node(self) -> None:
        """Write all received messages and finish the bag."""
        if self._is_up:
            serve_waiting_messages(self)
            try:
                self.writer.close()
            except OSError as error:
                self._failure = self._failure or f"bag {self.writer.folder} could not be closed: {error.strerror}"
            if self._failure:
                self.get_logger().error(f"{self._failure}; what was written before can be read")
            self.get_logger().info(f"{self.writer.message_count} messages in bag {self.writer.folder}")
            if self._lost:
                self.get_logger().warning(f"the middleware lost: {self._describe_lost()}")
        super().destroy_node()

    def _describe_lost(self) -> str:
        return ", ".join(f"{count} of {topic}" for topic, count in self._lost.items())

    @property
    def exit_code(self) -> int:
        """Exit code; 1 if the bag could not be written."""
        return int(bool(self._failure))


def main(args: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run(BagRecorderNode, args=args)

"""What a robot publishes: one probe per sensor topic."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState

from reskill_core.sensing import MessageError
from reskill_ros.plumbing import convert, qos
from reskill_ros.plumbing.clock import now_ns
from reskill_ros.plumbing.diagnostics import Level
from reskill_ros.plumbing.endpoints import full_name, full_names
from reskill_ros.tools.doctor.findings import Finding

SECTION = "Sensors"
_NS = 1e9
# Tolerance of stamps in the future.
_FUTURE_S = 0.1


@dataclass(frozen=True)
class Expected:
    """What is expected of the readings of a source.

    Attributes:
        rate_hz: lowest rate [Hz].
        timeout_s: highest age [s].
        is_static: whether one may have been published once, long ago.
    """

    rate_hz: float
    timeout_s: float
    is_static: bool = False


@dataclass
class Readings:
    """Readings of a source as they were heard.

    Attributes:
        ages_s: age of each at reception, by its stamp [s].
        faults: texts of what was wrong with others.
    """

    ages_s: list[float] = field(default_factory=list)
    faults: set[str] = field(default_factory=set)
    _first_s: float = 0.0
    _last_s: float = 0.0

    def add(self, node: Node, stamp_ns: int) -> None:
        """Note a reading that has just come."""
        received_s = time.monotonic()
        self._first_s, self._last_s = self._first_s or received_s, received_s
        self.ages_s.append((now_ns(node) - stamp_ns) / _NS)

    def findings(self, source: str, expected: Expected) -> Iterator[Finding]:
        """Judge faults, ages and rate.

        Args:
            source: where they came from, for the texts.
            expected: what is expected of them.
        """
        for fault in sorted(self.faults):
            yield Finding(SECTION, Level.ERROR, f"{source}: {fault}")
        if self.ages_s:
            yield self._timing(source, expected)

    def _timing(self, source: str, expected: Expected) -> Finding:
        count = len(self.ages_s)
        if expected.is_static:
            return Finding(SECTION, Level.OK, f"{source}: {count} messages, static")
        span_s = self._last_s - self._first_s
        rate_hz = (count - 1) / span_s if span_s > 0 else 0.0
        mean_s, worst_s = sum(self.ages_s) / count, max(self.ages_s, key=abs)
        text = f"{source}: {rate_hz:.1f} Hz, age {1e3 * mean_s:.1f} ms, at most {1e3 * worst_s:.1f} ms"
        remedy = "synchronise the clocks, stamp measurements when they are taken; simulated time needs use_sim_time"
        limit = f"{text}; sensing.timeout_s is {expected.timeout_s:g} s"
        if not -_FUTURE_S <= mean_s <= expected.timeout_s:
            return Finding(SECTION, Level.ERROR, limit, remedy)
        if worst_s > expected.timeout_s:
            return Finding(SECTION, Level.WARN, limit, "some messages are late: the machine or the network is busy")
        if rate_hz < 0.9 * expected.rate_hz:
            return Finding(SECTION, Level.WARN, f"{text}; the task needs {expected.rate_hz:g} Hz")
        return Finding(SECTION, Level.OK, text)


@dataclass
class Probe:
    """Listener on one topic.

    Attributes:
        topic: full name of the topic.
        kind: message class.
        profiles: subscriptions of the node that needs it.
        expected: what is expected of its messages.
        readings: its messages.
        positions: newest position of each joint [m or rad], for joint states.
    """

    topic: str
    kind: type[Any]
    profiles: tuple[QoSProfile, ...]
    expected: Expected
    readings: Readings = field(default_factory=Readings)
    positions: dict[str, float] = field(default_factory=dict)

    def listen(self, node: Node) -> None:
        """Subscribe."""
        node.create_subscription(self.kind, self.topic, lambda message: self._take(node, message), qos.SENSOR)

    def findings(self, node: Node) -> Iterator[Finding]:
        """Judge what was heard."""
        faults = list(publisher_faults(node, self.topic, self.kind, self.profiles))
        yield from faults
        names = full_names(node.get_publishers_info_by_topic(self.topic))
        if not faults and not self.readings.ages_s:
            yield Finding(SECTION, Level.ERROR, f"{self.topic}: {names} published nothing")
        yield from self.readings.findings(f"{self.topic} from {names}", self.expected)

    def _take(self, node: Node, message: Any) -> None:
        self.readings.add(node, convert.stamp_to_ns(message.header.stamp))
        if isinstance(message, JointState):
            try:
                self.positions |= convert.joint_positions(message)
            except MessageError as error:
                self.readings.faults.add(str(error))


def publisher_faults(node: Node, topic: str, kind: type[Any], profiles: Sequence[QoSProfile]) -> Iterator[Finding]:
    """Judge the publishers of a topic: whether there are any, of the right type, and heard.

    Args:
        node: the node that looks.
        topic: full name of the topic.
        kind: the right message class.
        profiles: subscriptions of observation_node; one of them has to be compatible.
    """
    publishers = node.get_publishers_info_by_topic(topic)
    wanted = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
    if not publishers:
        remedy = f"it should be a {wanted}; or change the driver file's topics"
        yield Finding(SECTION, Level.ERROR, f"{topic}: nobody publishes it", remedy)
    elif wrong := {item.topic_type for item in publishers} - {wanted}:
        text = f"{topic}: {full_names(publishers)} publishes {', '.join(wrong)}, expected {wanted}"
        yield Finding(SECTION, Level.ERROR, text)
    else:
        for publisher in publishers:
            reasons = [qos.mismatch(publisher.qos_profile, profile) for profile in profiles]
            if all(reasons):
                text = f"{topic}: observation_node does not hear {full_name(publisher)} ({reasons[0]})"
                yield Finding(SECTION, Level.ERROR, text, "change the QoS of the publisher, or reliable_sensors")


def missing_joints(names: Mapping[str, str], positions: Mapping[str, float]) -> Iterator[Finding]:
    """Compare the needed joints with those that were heard.

    Args:
        names: the driver's names of the needed joints, each with what it is needed for.
        positions: newest positions by the driver's names.
    """
    missing = [f"{name} ({purpose})" for name, purpose in names.items() if name not in positions]
    if missing:
        heard = ", ".join(sorted(positions)) or "none"
        remedy = f"published are {heard}; sensing.joints maps names"
        yield Finding("Joints", Level.ERROR, f"not published: {', '.join(missing)}", remedy)
    elif names:
        yield Finding("Joints", Level.OK, f"all {len(names)} needed joints are published")

"""What a robot publishes: one probe per sensor topic."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
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

_NS = 1e9
# Tolerance of stamps in the future.
_FUTURE_S = 0.1


@dataclass(frozen=True)
class Expected:
    """What is expected of a topic.

    Attributes:
        kind: message class.
        is_static: whether it may have been published once, long ago.
        rate_hz: lowest rate [Hz].
        timeout_s: highest age [s].
        frame: required frame; empty for any.
        qos: subscriptions of the node that needs it.
    """

    kind: type[Any]
    is_static: bool
    rate_hz: float
    timeout_s: float
    frame: str
    qos: tuple[QoSProfile, ...]


@dataclass
class Probe:
    """Listener on one topic.

    Attributes:
        topic: full name of the topic.
        expected: what is expected of it.
        received: number of messages.
        ages_s: ages at reception, by stamp [s].
        frames: frames of headers.
        positions: newest position of each joint [m or rad], for joint states.
        faults: texts of what was wrong with messages.
    """

    topic: str
    expected: Expected
    received: int = 0
    ages_s: list[float] = field(default_factory=list)
    frames: set[str] = field(default_factory=set)
    positions: dict[str, float] = field(default_factory=dict)
    faults: set[str] = field(default_factory=set)
    _first_s: float = 0.0
    _last_s: float = 0.0

    def listen(self, node: Node) -> None:
        """Subscribe."""
        profiles = (qos.SENSOR, qos.KEPT) if self.expected.is_static else (qos.SENSOR,)
        for profile in profiles:
            node.create_subscription(self.expected.kind, self.topic, lambda message: self._take(node, message), profile)

    def findings(self, node: Node) -> Iterator[Finding]:
        """Judge what was heard."""
        section, expected = "Sensors", self.expected
        publishers = node.get_publishers_info_by_topic(self.topic)
        wanted = f"{expected.kind.__module__.split('.')[0]}/msg/{expected.kind.__name__}"
        if not publishers:
            remedy = f"it should be a {wanted}; or change the driver file's topics"
            yield Finding(section, Level.ERROR, f"{self.topic}: nobody publishes it", remedy)
            return
        names = full_names(publishers)
        if wrong := {item.topic_type for item in publishers} - {wanted}:
            text = f"{self.topic}: {names} publishes {', '.join(wrong)}, expected {wanted}"
            yield Finding(section, Level.ERROR, text)
            return
        for publisher in publishers:
            reasons = [qos.mismatch(publisher.qos_profile, profile) for profile in expected.qos]
            if all(reasons):
                text = f"{self.topic}: observation_node does not hear {full_name(publisher)} ({reasons[0]})"
                yield Finding(section, Level.ERROR, text, "change the QoS of the publisher, or reliable_sensors")
        if not self.received:
            yield Finding(section, Level.ERROR, f"{self.topic}: {names} published nothing")
            return
        for fault in sorted(self.faults):
            yield Finding(section, Level.ERROR, f"{self.topic}: {fault}")
        if expected.frame and (others := self.frames - {expected.frame}):
            text = f"{self.topic}: in frame {', '.join(map(ascii, sorted(others)))}, base_frame is {expected.frame!r}"
            yield Finding(section, Level.ERROR, text, "publish in the base frame, or change base_frame")
        yield self._timing(names)

    def _timing(self, names: str) -> Finding:
        expected, section = self.expected, "Sensors"
        if expected.is_static:
            return Finding(section, Level.OK, f"{self.topic} from {names}: {self.received} messages, static")
        span_s = self._last_s - self._first_s
        rate_hz = (self.received - 1) / span_s if span_s > 0 else 0.0
        mean_s, worst_s = sum(self.ages_s) / len(self.ages_s), max(self.ages_s, key=abs)
        text = f"{self.topic} from {names}: {rate_hz:.1f} Hz, age {1e3 * mean_s:.1f} ms, at most {1e3 * worst_s:.1f} ms"
        remedy = "synchronise the clocks, stamp measurements when they are taken; simulated time needs use_sim_time"
        limit = f"{text}; sensing.timeout_s is {expected.timeout_s:g} s"
        if not -_FUTURE_S <= mean_s <= expected.timeout_s:
            return Finding(section, Level.ERROR, limit, remedy)
        if worst_s > expected.timeout_s:
            return Finding(section, Level.WARN, limit, "some messages are late: the machine or the network is busy")
        if rate_hz < 0.9 * expected.rate_hz:
            return Finding(section, Level.WARN, f"{text}; the task needs {expected.rate_hz:g} Hz")
        return Finding(section, Level.OK, text)

    def _take(self, node: Node, message: Any) -> None:
        received_s = time.monotonic()
        self._first_s, self._last_s = self._first_s or received_s, received_s
        self.received += 1
        self.frames.add(message.header.frame_id)
        self.ages_s.append((now_ns(node) - convert.stamp_to_ns(message.header.stamp)) / _NS)
        if isinstance(message, JointState):
            try:
                self.positions |= convert.joint_positions(message)
            except MessageError as error:
                self.faults.add(str(error))
        elif hasattr(message, "pose"):
            try:
                convert.pose(message)
            except MessageError as error:
                self.faults.add(str(error))


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

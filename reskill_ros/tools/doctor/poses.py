"""Poses that a robot's sources have for the frames of a task."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from rclpy.node import Node

from reskill_core.errors import alternatives
from reskill_core.sensing import MessageError
from reskill_ros.drivers.driver_file import DriverConfig
from reskill_ros.drivers.poses import Poses, PoseTopic, StampedPose, TransformError
from reskill_ros.plumbing.clock import now_ns
from reskill_ros.plumbing.diagnostics import Level
from reskill_ros.plumbing.endpoints import full_names
from reskill_ros.plumbing.inputs import Inputs
from reskill_ros.tools.doctor.findings import Finding
from reskill_ros.tools.doctor.listening import SECTION, Expected, Readings, publisher_faults


class PoseProbe:
    """Listener on the poses of all frames, from the same sources as observation_node's."""

    def __init__(self, node: Node, driver: DriverConfig, frames: Sequence[str], rate_hz: float) -> None:
        """Listen.

        Args:
            node: the node that listens.
            driver: the driver file.
            frames: the frames.
            rate_hz: lowest rate of poses [Hz].

        Raises:
            ConfigError: a package that a source needs is not installed.
        """
        self._node, self._driver, self._frames = node, driver, frames
        self._rate_hz, self._is_settled = rate_hz, False
        self._readings = {frame: Readings() for frame in frames}
        self._newest_ns: dict[str, int] = {}
        self._arrays: Counter[str] = Counter()
        self._detected: defaultdict[str, set[str]] = defaultdict(set)
        self._inputs = Inputs(node, lambda: None)
        self._poses = Poses(driver, frames, self._inputs, self._take, self._newest, partial(now_ns, node))
        for topic in self._poses.topics:
            if topic.array is not None:
                node.create_subscription(topic.kind, topic.name, partial(self._note, topic), topic.profiles[0])
        node.create_timer(1.0 / rate_hz, self._poses.poll)

    def settle(self) -> None:
        """From now on a missing transform is a fault; before, they come in any order."""
        self._is_settled = True

    def findings(self) -> Iterator[Finding]:
        """Judge what was heard."""
        unobserved = [frame for frame in self._driver.poses if frame not in self._frames]
        for frame in unobserved:
            text = f"poses.{frame} is not used: {alternatives(frame, self._frames)}"
            yield Finding(SECTION, Level.WARN, text, "fine, if the driver file serves other tasks, too")
        for topic in self._poses.topics:
            yield from self._of_topic(topic)
        if self._poses.uses_tf:
            yield from self._of_tf()

    def _of_topic(self, topic: PoseTopic) -> Iterator[Finding]:
        name = self._node.resolve_topic_name(topic.name)
        faults = list(publisher_faults(self._node, name, topic.kind, topic.profiles))
        yield from faults
        publishers = full_names(self._node.get_publishers_info_by_topic(name))
        for frame, config in topic.frames.items():
            readings = self._readings[frame]
            source = f"{name} from {publishers}" + (f", {config.name!r} ({frame})" if topic.array else "")
            if not faults and not readings.ages_s and not readings.faults:
                yield self._silence(topic, name, publishers, frame)
            yield from readings.findings(source, self._expected(frame))

    def _silence(self, topic: PoseTopic, name: str, publishers: str, frame: str) -> Finding:
        if topic.array is None or not self._arrays[topic.name]:
            return Finding(SECTION, Level.ERROR, f"{name}: {publishers} published nothing")
        detected = ", ".join(ascii(found[:60]) for found in sorted(self._detected[topic.name])[:20]) or "nothing"
        text = f"{name}: {publishers} detected no {topic.frames[frame].name!r} ({frame})"
        return Finding(SECTION, Level.ERROR, text, f"detected: {detected}; poses.{frame}.name says what to look for")

    def _of_tf(self) -> Iterator[Finding]:
        topics = [
            self._node.resolve_topic_name(name) for name in (self._driver.topics.tf, self._driver.topics.tf_static)
        ]
        if not any(map(self._node.count_publishers, topics)):
            text = f"{' and '.join(topics)}: nobody publishes them"
            yield Finding(SECTION, Level.ERROR, text, "start robot_state_publisher, and what detects the objects")
            return
        for topic, publishers in self._inputs.unheard().items():
            if self._node.resolve_topic_name(topic) in topics:
                text = f"{topic}: observation_node does not hear {', '.join(publishers)}"
                yield Finding(SECTION, Level.ERROR, text, "change the QoS of the publisher")
        if self._poses.looked_up is None:
            return
        for frame, config in self._poses.looked_up.frames.items():
            source = f"tf from {self._driver.base_frame!r} to {config.name!r} ({frame})"
            yield from self._readings[frame].findings(source, self._expected(frame))

    def _expected(self, frame: str) -> Expected:
        sensing = self._driver.sensing
        return Expected(self._rate_hz, sensing.timeout_s, frame in sensing.static_frames)

    def _take(self, frame: str, read: Callable[[], StampedPose | None]) -> None:
        readings = self._readings[frame]
        try:
            found = read()
        except MessageError as error:
            if self._is_settled or not isinstance(error, TransformError):
                readings.faults.add(str(error))
            return
        if found is not None:
            readings.add(self._node, found.stamp_ns)
            self._newest_ns[frame] = max(self._newest(frame), found.stamp_ns)

    def _newest(self, frame: str) -> int:
        return self._newest_ns.get(frame, -1)

    def _note(self, topic: PoseTopic, message: Any) -> None:
        assert topic.array is not None
        self._arrays[topic.name] += 1
        for names, _ in topic.array.detections(message):
            self._detected[topic.name] |= names

"""Sensor diagnostics of observation_node: rate and age of each source, and faults."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from typing import Any

from rclpy.node import Node

from reskill_core.sensing import Sensing, named
from reskill_ros.plumbing import convert
from reskill_ros.plumbing.clock import now_ns
from reskill_ros.plumbing.diagnostics import Rates, Report
from reskill_ros.plumbing.endpoints import publisher_names

# Ratio of a source's rate to the control rate below which a warning is reported.
_SLOW = 0.9


class SensorReport:
    """Report of missing, outdated, slow, unmatched and conflicting readings."""

    def __init__(self, node: Node, sensing: Sensing, joint_topic: str, control_rate_hz: float) -> None:
        """Start to report on ``sensing``; ``joint_topic`` is the topic of the joint states."""
        self._node = node
        self._sensing = sensing
        self._joint_topic = joint_topic
        self._control_rate_hz = control_rate_hz
        self._synchronised = sensing.config.trigger == "synchronised"
        self._rates = Rates()
        # Sets of joints of one message, for middlewares that do not identify the publisher.
        self._joint_sets: set[Hashable] = set()

    def publisher(self, names: list[str], info: Mapping[str, Any]) -> Hashable:
        """Return an identifier of the publisher of a joint state.

        Args:
            names: joint names of the message; used if the middleware does not identify the publisher.
            info: message info of the middleware.
        """
        publisher = convert.publisher_id(info)
        if publisher is not None:
            return publisher
        joints = tuple(names)
        self._joint_sets.add(joints)
        return joints

    def fill(self, report: Report, rate_hz: float, repeated: int) -> None:
        """Add rates, ages and faults of all sources.

        Args:
            report: report to extend.
            rate_hz: rate of the observations.
            repeated: number of repeated observations, which wait for a response.
        """
        sensing, moment = self._sensing, (time.monotonic(), now_ns(self._node))
        rates_hz = self._rates.read_hz(sensing.counts)
        for source in sensing.sources:
            key, age_s = source.replace(" ", "_"), sensing.age_s(source, *moment)
            report.values[f"{key}_rate_hz"] = rates_hz.get(source, 0.0)
            report.values[f"{key}_age_ms"] = "" if age_s is None else round(1e3 * age_s, 1)
        outdated = sensing.outdated(*moment)
        if outdated:
            ages = [f"{name} ({'never came' if age is None else f'{age:.2f} s old'})" for name, age in outdated.items()]
            report.error(f"no fresh reading of {', '.join(ages)}; nothing is observed")
        elif not self._synchronised and rate_hz < _SLOW * self._control_rate_hz:
            slow = [f"{name} at {rates_hz.get(name, 0.0):g} Hz" for name in sensing.leading]
            rate = f"{rate_hz:g} observations per second instead of {self._control_rate_hz:g}"
            report.warn(f"{rate}; they need {named(slow)}")
        elif self._synchronised and rate_hz == repeated == 0 and any(rates_hz.values()) and sensing.unmatched():
            report.error(f"no reading of {named(sensing.unmatched())} with the others' stamp; nothing is observed")
        self._report_rivals(report, moment[0])

    def _report_rivals(self, report: Report, steady_s: float) -> None:
        topic = self._joint_topic
        for publishers, sources in self._sensing.rivals(steady_s).items():
            names = publisher_names(self._node, topic, publishers)
            report.warn(f"{topic} has {len(publishers)} sources of {named(sources)}: {names}")
        count = self._node.count_publishers(topic)
        if 0 < len(self._joint_sets) < count:
            names = publisher_names(self._node, topic, ())
            report.warn(f"{topic} has {count} publishers of {len(self._joint_sets)} sets of joints: {names}")
        self._joint_sets.clear()

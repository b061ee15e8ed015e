"""What a node tells about itself: a DiagnosticStatus on /diagnostics once a second, and a latched status topic."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from reskill_ros.plumbing import qos
from reskill_ros.plumbing.endpoints import rival_publishers

_WINDOW = 1000


class Level(IntEnum):
    """Severity, numbered as in diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass
class Report:
    """Diagnostic report of a node: the worst level, all messages, and values to plot.

    Attributes:
        state: state of the node, which is the message if there are no warnings and errors.
    """

    state: str = ""
    level: Level = Level.OK
    messages: list[str] = field(default_factory=list)
    values: dict[str, object] = field(default_factory=dict)

    def warn(self, message: str) -> None:
        """Add a warning."""
        self._add(Level.WARN, message)

    def error(self, message: str) -> None:
        """Add an error."""
        self._add(Level.ERROR, message)

    def _add(self, level: Level, message: str) -> None:
        self.level = max(self.level, level)
        self.messages.append(message)


class Latency:
    """Statistics of the last 1000 durations."""

    def __init__(self) -> None:
        self._durations_s: deque[float] = deque(maxlen=_WINDOW)

    def add(self, duration_s: float) -> None:
        """Add a duration [s]."""
        self._durations_s.append(duration_s)

    def summary(self, name: str) -> dict[str, object]:
        """Return median, 99th percentile and maximum [ms], with keys that start with ``name``; empty without data."""
        ordered = sorted(self._durations_s)
        if not ordered:
            return {}
        last = len(ordered) - 1
        quantiles = {
            "p50": ordered[round(0.5 * last)],
            "p99": ordered[round(0.99 * last)],
            "max": ordered[last],
        }
        return {f"{name}_{key}_ms": round(1e3 * value, 3) for key, value in quantiles.items()}


class Rate:
    """Rate of an event, measured between reports on the steady clock."""

    def __init__(self) -> None:
        self._count = 0
        self._since = time.monotonic()

    def tick(self) -> None:
        """Count an event."""
        self._count += 1

    def read_hz(self) -> float:
        """Return the mean rate since the last call [Hz]."""
        now = time.monotonic()
        rate = self._count / max(now - self._since, 1e-9)
        self._count, self._since = 0, now
        return round(rate, 2)


class Rates:
    """Rates of several events, measured between reports on the steady clock."""

    def __init__(self) -> None:
        self._counts: Mapping[str, int] = {}
        self._since = time.monotonic()

    def read_hz(self, counts: Mapping[str, int]) -> dict[str, float]:
        """Return the mean rates since the last call [Hz], given the total counts."""
        now = time.monotonic()
        elapsed_s = max(now - self._since, 1e-9)
        rates = {name: round((count - self._counts.get(name, 0)) / elapsed_s, 2) for name, count in counts.items()}
        self._counts, self._since = dict(counts), now
        return rates


class Diagnostics:
    """Publisher of a node's reports, at a steady 1 Hz independent of simulated time, and on request.

    Every report warns of the node's topics with more than one publisher.
    """

    def __init__(
        self,
        node: Node,
        report: Callable[[Report], None],
        status_topic: str | None = None,
        period_s: float = 1.0,
        shared: Collection[str] = (),
    ) -> None:
        """Start reporting.

        Args:
            node: the node that reports.
            report: fills in a report; it runs in the node's executor.
            status_topic: transient-local topic of the latest report, for late joiners.
            period_s: time between reports [s].
            shared: topics of the node that may have several publishers.
        """
        self.counters: Counter[str] = Counter()
        self._reported: Counter[str] = Counter()
        self._node = node
        self._report = report
        self._name = node.get_fully_qualified_name().lstrip("/")
        self._array_publisher = node.create_publisher(DiagnosticArray, "/diagnostics", qos.STATE)
        self._status_publisher = (
            node.create_publisher(DiagnosticStatus, status_topic, qos.LATCHED) if status_topic else None
        )
        self._shared = frozenset(map(node.resolve_topic_name, shared))
        self._rivals: list[str] = []
        self._timer = node.create_timer(period_s, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def growth(self, counter: str) -> int:
        """Return the increase of a counter since the last report."""
        return self.counters[counter] - self._reported[counter]

    def publish(self) -> None:
        """Publish a report now."""
        report = Report()
        self._report(report)
        for fault in self._rivals:
            report.warn(fault)
        status = DiagnosticStatus(
            level=bytes([report.level]),
            name=self._name,
            message="; ".join(report.messages) or report.state or "ok",
            hardware_id=self._node.get_namespace(),
            values=[
                KeyValue(key=key, value=str(value))
                for key, value in {"state": report.state, **report.values, **self.counters}.items()
            ],
        )
        self._reported = Counter(self.counters)
        array = DiagnosticArray(status=[status])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._array_publisher.publish(array)
        if self._status_publisher is not None:
            self._status_publisher.publish(status)

    def _on_timer(self) -> None:
        # Only on the timer, because inspecting the graph is too slow for reports within a control step.
        self._rivals = rival_publishers(self._node, self._shared)
        self.publish()

    def close(self) -> None:
        """Stop reporting."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._array_publisher)
        if self._status_publisher is not None:
            self._node.destroy_publisher(self._status_publisher)

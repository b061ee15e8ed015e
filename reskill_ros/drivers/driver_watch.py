"""Detection of subscribed drivers and of their restarts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from rclpy.node import Node
from rclpy.publisher import Publisher

from reskill_ros.plumbing import qos

# Nodes that record or display commands are no drivers. Hidden nodes, as of `ros2 topic echo`, start with `_`.
_OBSERVERS = ("bag_recorder_node", "rosbag2_recorder", "foxglove_bridge")
_UNNAMED = "_NODE_NAME_UNKNOWN_"
# The middleware reports a subscriber's node name some time after the connection, and never for subscribers without one.
_NAMING_TIMEOUT_S = 1.0


class Driver(NamedTuple):
    """State of the subscriptions to the command topics.

    Attributes:
        absent: command topics without a subscribed driver, as text; empty if each topic has one.
        unknown: a new subscriber is not identified yet.
        returned: since the last check, a driver has subscribed under the name of an earlier one.
    """

    absent: str
    unknown: bool
    returned: bool


class DriverWatch:
    """Monitor of the subscribers to command topics.

    The end of a driver is detected immediately. A killed or disconnected driver is detected when its liveliness lease
    expires (20 s with Fast DDS) or when it restarts under the same name.
    """

    def __init__(self, node: Node, publishers: Sequence[Publisher[Any]]) -> None:
        """Start the monitor.

        Args:
            node: node that owns the publishers.
            publishers: publishers of the command topics.
        """
        self._node = node
        self._publishers = publishers
        self._counts: list[int] = []
        self._changed_s = 0.0
        self._known: dict[tuple[str, str], set[bytes]] = {}
        self._last = Driver("", unknown=False, returned=False)

    def look(self) -> Driver:
        """Return the current state; cheap while the number of subscribers is constant."""
        counts = [publisher.get_subscription_count() for publisher in self._publishers]
        changed = counts != self._counts
        if changed:
            self._counts, self._changed_s = counts, time.monotonic()
        if changed or self._last.absent or self._last.unknown:
            patient = time.monotonic() - self._changed_s < _NAMING_TIMEOUT_S
            looks = [self._look(*topic, patient) for topic in zip(self._publishers, counts, strict=True)]
            self._last = Driver(
                ", ".join(look.absent for look in looks if look.absent),
                any(look.unknown for look in looks),
                any(look.returned for look in looks),
            )
            return self._last
        return self._last._replace(returned=False)

    def unheard(self) -> list[str]:
        """List subscribers with incompatible QoS, each with the reason."""
        return [
            f"{endpoint.node_name} does not hear {publisher.topic_name} ({reason})"
            for publisher in self._publishers
            for endpoint in self._node.get_subscriptions_info_by_topic(publisher.topic_name)
            if (reason := qos.mismatch(publisher.qos_profile, endpoint.qos_profile))
        ]

    def _look(self, publisher: Publisher[Any], count: int, patient: bool) -> Driver:
        """Check one publisher that is connected to ``count`` subscriptions."""
        endpoints = [
            endpoint
            for endpoint in self._node.get_subscriptions_info_by_topic(publisher.topic_name)
            if not qos.mismatch(publisher.qos_profile, endpoint.qos_profile)
        ]
        drivers = [endpoint for endpoint in endpoints if not self.observes(endpoint.node_name)]
        absent = "" if drivers and count else publisher.topic_name
        # Subscribers may be announced but not connected yet, or vice versa.
        if patient and (len(endpoints) != count or any(endpoint.node_name == _UNNAMED for endpoint in drivers)):
            return Driver(absent, unknown=True, returned=False)
        returned = False
        for endpoint in drivers:
            key = (publisher.topic_name, f"{endpoint.node_namespace}/{endpoint.node_name}")
            known, gid = self._known.setdefault(key, set()), bytes(endpoint.endpoint_gid)
            returned |= bool(known) and gid not in known
            known.add(gid)
        return Driver(absent, unknown=False, returned=returned)

    @staticmethod
    def observes(node_name: str) -> bool:
        """Whether a node of that name records or displays commands, and is no driver."""
        return node_name in _OBSERVERS or (node_name.startswith("_") and node_name != _UNNAMED)

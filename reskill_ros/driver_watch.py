"""Whether a driver listens to its commands, and whether it is still the same one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher

from reskill_ros import qos

# What writes down or shows commands moves nothing. Hidden nodes, such as those of `ros2 topic echo`, start with `_`.
_OBSERVERS = ("bag_recorder_node", "rosbag2_recorder", "foxglove_bridge")
_UNNAMED = "_NODE_NAME_UNKNOWN_"


class DriverWatch:
    """Looks at who subscribes to command topics.

    A driver that ends is missed at once; one that is killed or cut off only when the middleware gives up on it (with
    Fast DDS after 20 s), or when it is started again under the same name.
    """

    def __init__(self, node: Node, publishers: Sequence[Publisher[Any]]) -> None:
        """Start to look.

        Args:
            node: the node that owns the publishers.
            publishers: the publishers of the command topics.
        """
        self._node = node
        self._publishers = publishers
        self._counts: list[int] = []
        self._unnamed = False
        self._known: dict[tuple[str, str], set[bytes]] = {}
        self._absent = ""

    def look(self) -> tuple[str, bool]:
        """The topics on which no driver listens, for people, and whether one has come back since the last look."""
        counts = [publisher.get_subscription_count() for publisher in self._publishers]
        # Who it is that has come, the middleware may tell a moment after it has connected both ends.
        if counts == self._counts and not self._absent and not self._unnamed:
            return "", False
        self._counts, self._unnamed = counts, False
        absent, returned = [], False
        for publisher, count in zip(self._publishers, counts, strict=True):
            listens, is_new = self._drivers(publisher)
            returned |= is_new
            if not (listens and count):
                absent.append(publisher.topic_name)
        self._absent = ", ".join(absent)
        return self._absent, returned

    def unheard(self) -> list[str]:
        """Drivers that subscribe to a command topic but hear nothing, each with the reason."""
        return [
            f"{endpoint.node_name} does not hear {publisher.topic_name} ({reason})"
            for publisher in self._publishers
            for endpoint in self._node.get_subscriptions_info_by_topic(publisher.topic_name)
            if (reason := qos.mismatch(publisher.qos_profile, endpoint.qos_profile))
        ]

    def _drivers(self, publisher: Publisher[Any]) -> tuple[bool, bool]:
        """Whether a driver listens to a publisher, and whether it has the name of one that listened before."""
        listens = returned = False
        for endpoint in self._node.get_subscriptions_info_by_topic(publisher.topic_name):
            name = endpoint.node_name
            if name == _UNNAMED:
                # The middleware learns a node's name after its subscriptions.
                self._unnamed = listens = True
            elif not (name.startswith("_") or name in _OBSERVERS):
                if qos.mismatch(publisher.qos_profile, endpoint.qos_profile):
                    continue
                listens = True
                key, gid = (publisher.topic_name, f"{endpoint.node_namespace}/{name}"), bytes(endpoint.endpoint_gid)
                known = self._known.setdefault(key, set())
                returned |= bool(known) and gid not in known
                known.add(gid)
        return listens, returned

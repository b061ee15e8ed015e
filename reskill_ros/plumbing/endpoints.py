"""Who publishes on a node's topics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable

from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo

# Topics that every node publishes on.
_COMMON = frozenset({"/diagnostics", "/parameter_events", "/rosout"})


def full_name(publisher: TopicEndpointInfo) -> str:
    """Namespace and name of the node that a publisher belongs to."""
    return f"{publisher.node_namespace.rstrip('/')}/{publisher.node_name}"


def full_names(publishers: Iterable[TopicEndpointInfo]) -> str:
    """The full names of several, for people; one that there is more than once is counted."""
    counts = sorted(Counter(map(full_name, publishers)).items())
    return ", ".join(name if count == 1 else f"{name} ({count} times)" for name, count in counts)


def publisher_names(node: Node, topic: str, identities: Collection[Hashable]) -> str:
    """The full names of a topic's publishers with these ``endpoint_gid``.

    Where the middleware does not tell who a message came from, and the identities are something else, of all of them.
    """
    publishers = node.get_publishers_info_by_topic(topic)
    return full_names([item for item in publishers if bytes(item.endpoint_gid) in identities] or publishers)


def rival_publishers(node: Node, shared: Collection[str] = ()) -> list[str]:
    """A sentence for each topic, among those a node publishes or listens to, with more than one publisher.

    Args:
        node: whose topics. Those that it only passes on unread do not count.
        shared: full names of topics that several may publish on.
    """
    topics = {publisher.topic_name for publisher in node.publishers}
    topics |= {subscription.topic_name for subscription in node.subscriptions if not subscription.raw}
    crowded = [topic for topic in sorted(topics - _COMMON - {*shared}) if node.count_publishers(topic) > 1]
    found = ((topic, node.get_publishers_info_by_topic(topic)) for topic in crowded)
    return [f"{topic} has {len(publishers)} publishers: {full_names(publishers)}" for topic, publishers in found]

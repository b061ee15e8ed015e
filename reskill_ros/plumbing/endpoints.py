"""Publishers of a node's topics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable

from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo

# Topics that every node publishes on.
_COMMON = frozenset({"/diagnostics", "/parameter_events", "/rosout"})


def full_name(publisher: TopicEndpointInfo) -> str:
    """Return namespace and name of a publisher's node."""
    return f"{publisher.node_namespace.rstrip('/')}/{publisher.node_name}"


def full_names(publishers: Iterable[TopicEndpointInfo]) -> str:
    """Format the full names of publishers, with counts of repeated ones."""
    counts = sorted(Counter(map(full_name, publishers)).items())
    return ", ".join(name if count == 1 else f"{name} ({count} times)" for name, count in counts)


def publisher_names(node: Node, topic: str, identities: Collection[Hashable]) -> str:
    """Format the full names of a topic's publishers with these ``endpoint_gid``.

    If the middleware does not identify the publishers of messages, all publishers of the topic are listed.
    """
    publishers = node.get_publishers_info_by_topic(topic)
    return full_names([item for item in publishers if bytes(item.endpoint_gid) in identities] or publishers)


def rival_publishers(node: Node, shared: Collection[str] = ()) -> list[str]:
    """Return a sentence for each topic of a node with more than one publisher.

    Args:
        node: the node. Raw subscriptions are not considered.
        shared: full names of topics that may have several publishers.
    """
    topics = {publisher.topic_name for publisher in node.publishers}
    topics |= {subscription.topic_name for subscription in node.subscriptions if not subscription.raw}
    crowded = [topic for topic in sorted(topics - _COMMON - {*shared}) if node.count_publishers(topic) > 1]
    found = ((topic, node.get_publishers_info_by_topic(topic)) for topic in crowded)
    return [f"{topic} has {len(publishers)} publishers: {full_names(publishers)}" for topic, publishers in found]

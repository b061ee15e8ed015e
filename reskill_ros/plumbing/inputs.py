"""Subscriptions of a node, with detection of publishers with incompatible QoS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

from reskill_ros.plumbing import qos
from reskill_ros.plumbing.diagnostics import Report
from reskill_ros.plumbing.endpoints import full_name
from reskill_ros.plumbing.exchange import Exchange


class Inputs:
    """Subscriptions of a node that report publishers with incompatible QoS.

    The middleware does not connect a subscription to a publisher that offers less than requested, and by default does
    not report it.
    """

    def __init__(self, node: Node, on_mismatch: Callable[[], None], exchange: Exchange | None = None) -> None:
        """Start without any.

        Args:
            node: the node that owns the subscriptions.
            on_mismatch: called when an incompatible publisher has appeared; :meth:`report` lists it.
            exchange: if given, messages are handed on within the process, and there are no subscriptions.
        """
        self._node = node
        self._on_mismatch = on_mismatch
        self._subscriptions: dict[str, list[Subscription[Any]]] = {}
        self._exchange = exchange
        self._ends: list[Callable[[], None]] = []

    def listen(self, kind: type, topic: str, callback: Callable[..., None], *profiles: QoSProfile) -> None:
        """Subscribe to a topic.

        Args:
            kind: message class.
            topic: name of the topic.
            callback: called with each message.
            profiles: QoS profiles, one subscription each; with several a message may arrive more than once.
        """
        if self._exchange is not None:
            self._ends.append(self._exchange.receive(self._node.resolve_topic_name(topic), callback))
            return
        events = SubscriptionEventCallbacks(incompatible_qos=lambda _: self._on_event(topic))
        self._subscriptions.setdefault(topic, []).extend(
            self._node.create_subscription(kind, topic, callback, profile, event_callbacks=events)
            for profile in profiles
        )

    def unheard(self) -> dict[str, list[str]]:
        """Return the incompatible publishers by topic, each with the reason."""
        found = {topic: self._unheard(subscriptions) for topic, subscriptions in self._subscriptions.items()}
        return {topic: publishers for topic, publishers in found.items() if publishers}

    def report(self, report: Report) -> None:
        """Add an error for each topic with incompatible publishers."""
        for topic, publishers in self.unheard().items():
            report.error(f"{topic} is not heard from {', '.join(publishers)}; change the QoS of its publisher")

    def close(self) -> None:
        """Destroy the subscriptions, and receive nothing more."""
        for end in self._ends:
            end()
        self._ends.clear()
        for subscriptions in self._subscriptions.values():
            for subscription in subscriptions:
                self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def _on_event(self, topic: str) -> None:
        # One of several subscriptions to a topic may be incompatible if another one is compatible.
        if self._unheard(self._subscriptions.get(topic, ())):
            self._on_mismatch()

    def _unheard(self, subscriptions: Sequence[Subscription[Any]]) -> list[str]:
        if not subscriptions:
            return []
        found = []
        for publisher in self._node.get_publishers_info_by_topic(subscriptions[0].topic_name):
            reasons = [qos.mismatch(publisher.qos_profile, s.qos_profile) for s in subscriptions]
            if all(reasons):
                found.append(f"{full_name(publisher)} ({reasons[0]})")
        return sorted(found)

"""Low-latency executor of one node, which passes messages directly from the middleware to their callbacks.

rclpy's own executors wrap each callback in a coroutine, a task and two guard conditions, and iterate over all entities
of the node before and after. That is a large part of the latency between an observation and its command.
"""

from __future__ import annotations

import inspect
from collections import Counter
from contextlib import ExitStack
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

from rclpy.executors import SingleThreadedExecutor

# The wait set that rclpy.wait_for_message uses, too.
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.node import Node
from rclpy.task import Future

from reskill_ros.plumbing.refusals import Refusals

_FOREVER_NS = -1


def serve_waiting_messages(node: Node) -> None:
    """Run the callbacks of all messages that have arrived at a node, so that none is lost when it ends.

    Topics are served in turns, one message each, as in normal operation, so that messages of one step stay together.
    """
    waiting = list(node.subscriptions)
    # At most as many as a queue holds, since new messages may arrive faster than this loop.
    for _ in range(max((subscription.qos_profile.depth for subscription in waiting), default=0)):
        waiting = [subscription for subscription in waiting if _serve_one(subscription)]
        if not waiting:
            return


def _serve_one(subscription: Any) -> bool:
    with subscription.handle:
        taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
    if taken is not None:
        subscription.callback(taken[0])
    return taken is not None


class DirectExecutor:
    """Executor of a node's callbacks in the calling thread.

    Subscriptions are served here, once each per round; a callback with two parameters receives the message info too.
    Undecodable messages are dropped and reported once. Timers, services, clients, events and tasks are served by
    rclpy's executor. A node's own guard conditions are not served.
    """

    def __init__(self, node: Node, stop: Future) -> None:
        """Take over a node.

        Args:
            node: the node to spin.
            stop: spinning ends when it has a result, which any thread may set.
        """
        self._node = node
        self._stop = stop
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        counters = node.diagnostics.counters if hasattr(node, "diagnostics") else Counter()
        self._refusals = Refusals(node.get_logger(), counters)
        self._takes_info: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
        stop.add_done_callback(lambda _: self._executor.wake())

    def spin(self) -> None:
        """Run callbacks until ``stop`` has a result; exceptions of callbacks propagate."""
        while not self._stop.done() and self._node.context.ok():
            if self._wait_and_serve_messages():
                self._serve_others()

    def shutdown(self) -> None:
        """Release the node."""
        self._executor.shutdown()

    def _serve_others(self) -> None:
        # Tasks run in order: when this one has run, so have all that were waiting before it.
        marker = self._executor.create_task(lambda: None)
        while not marker.done():
            self._executor.spin_once(timeout_sec=0)

    def _wait_and_serve_messages(self) -> bool:
        """Wait until an entity is ready and serve the messages; returns whether other entities are ready."""
        node = self._node
        subscriptions: list[Any] = list(node.subscriptions)
        waitables: list[Any] = list(node.waitables)
        others: dict[str, list[Any]] = {
            "timer": list(node.timers),
            "service": list(node.services),
            "client": list(node.clients),
            # Triggered when the executor is woken or has a task to continue.
            "guard_condition": [self._executor._guard],
        }
        with ExitStack() as stack:
            # An entity destroyed by a callback stays valid until the end of this round.
            for entity in chain(subscriptions, *others.values()):
                stack.enter_context(entity.handle)
            for waitable in waitables:
                stack.enter_context(waitable)
            wait_set = self._wait_set(subscriptions, others, waitables)
            wait_set.wait(_FOREVER_NS)
            ready = wait_set.get_ready_entities("subscription")
            for subscription in subscriptions:
                if subscription.handle.pointer in ready:
                    self._serve_message(subscription)
            return any(wait_set.get_ready_entities(kind) for kind in others) or any(
                waitable.is_ready(wait_set) for waitable in waitables
            )

    def _serve_message(self, subscription: Any) -> None:
        try:
            taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
        except _rclpy.RCLError:
            taken = None
        # Some middlewares raise an exception, others return nothing although a message was announced.
        if taken is None:
            kind = subscription.msg_type.__name__
            self._refusals.add(subscription.topic_name, "undecodable", f"the bytes sent are no {kind}")
            return
        takes_info = self._takes_info.get(subscription)
        if takes_info is None:
            takes_info = self._takes_info[subscription] = _takes_two(subscription.callback)
        subscription.callback(*taken) if takes_info else subscription.callback(taken[0])
        if self._refusals.any:
            self._refusals.accept(subscription.topic_name)

    def _wait_set(self, subscriptions: list[Any], others: dict[str, list[Any]], waitables: list[Any]) -> Any:
        counts = [waitable.get_num_entities() for waitable in waitables]
        context: Any = self._node.context
        with context.handle:
            wait_set = _rclpy.WaitSet(
                len(subscriptions) + sum(count.num_subscriptions for count in counts),
                len(others["guard_condition"]) + sum(count.num_guard_conditions for count in counts),
                len(others["timer"]) + sum(count.num_timers for count in counts),
                len(others["client"]) + sum(count.num_clients for count in counts),
                len(others["service"]) + sum(count.num_services for count in counts),
                sum(count.num_events for count in counts),
                context.handle,
            )
        wait_set.clear_entities()
        for subscription in subscriptions:
            wait_set.add_subscription(subscription.handle)
        for kind, entities in others.items():
            add = getattr(wait_set, f"add_{kind}")
            for entity in entities:
                add(entity.handle)
        for waitable in waitables:
            waitable.add_to_wait_set(wait_set)
        return wait_set


def _takes_two(callback: Any) -> bool:
    """Whether a callback takes two arguments; rclpy decides it in the same way."""
    try:
        inspect.signature(callback).bind(object())
    except TypeError:
        return True
    return False

"""Spins one node with messages first: they go from the middleware to their callbacks without a detour.

rclpy's own executors wrap each callback in a coroutine, a task and two guard conditions, and look through all
entities of the node before and after. That is a good part of the time between an observation and its command.
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
    """Call back with every message that has arrived at a node, so that none is lost when it ends.

    One of each topic after the other, as while it runs: what belongs together comes together.
    """
    waiting = list(node.subscriptions)
    # No more than a queue holds: somebody may publish faster than this takes.
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
    """Runs a node's callbacks in the calling thread.

    Subscriptions are served here, once each per round; a callback with two parameters gets what the middleware says
    about the message too. Bytes that are no message of their type are dropped, and that is told once. Timers, services,
    clients, events and tasks are left to rclpy's executor. A node's own guard conditions are not served.
    """

    def __init__(self, node: Node, stop: Future) -> None:
        """Take over a node.

        Args:
            node: the node to spin.
            stop: spinning ends when it is done; any thread may set its result.
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
        """Run callbacks until the end is asked for; an exception in a callback comes out of here."""
        while not self._stop.done() and self._node.context.ok():
            if self._wait_and_serve_messages():
                self._serve_others()

    def shutdown(self) -> None:
        """Let go of the node."""
        self._executor.shutdown()

    def _serve_others(self) -> None:
        # Tasks are run in order: when this one has been, so has all that was waiting before it.
        marker = self._executor.create_task(lambda: None)
        while not marker.done():
            self._executor.spin_once(timeout_sec=0)

    def _wait_and_serve_messages(self) -> bool:
        """Wait until anything is ready and serve the messages; returns whether there is more than those."""
        node = self._node
        subscriptions: list[Any] = list(node.subscriptions)
        waitables: list[Any] = list(node.waitables)
        others: dict[str, list[Any]] = {
            "timer": list(node.timers),
            "service": list(node.services),
            "client": list(node.clients),
            # Triggered when the executor is woken or has a task to go on with.
            "guard_condition": [self._executor._guard],
        }
        with ExitStack() as stack:
            # An entity that is destroyed by a callback stays valid until its turn in this round is over.
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
        # Of some middlewares an exception, of others nothing where something was said to be.
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
    """Whether a callback must be given two arguments; rclpy decides it in the same way where it can."""
    try:
        inspect.signature(callback).bind(object())
    except TypeError:
        return True
    return False

"""Low-latency executor of a process's nodes, which passes messages directly from the middleware to their callbacks.

rclpy's own executors wrap each callback in a coroutine, a task and two guard conditions, and iterate over all entities
of a node before and after. That is a large part of the latency between an observation and its command.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import Any

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
    """Executor of the callbacks of one or more nodes in the calling thread.

    Messages and timers are served here, once each per round; a subscription's callback with two parameters receives
    the message info too. Undecodable messages are dropped and reported once. Services, clients, events and tasks are
    served by rclpy's executor. Guard conditions of the nodes are not served.
    """

    def __init__(self, *nodes: Node) -> None:
        """Take over nodes, which share a context."""
        self._nodes = nodes
        self._executor = SingleThreadedExecutor(context=nodes[0].context)
        for node in nodes:
            self._executor.add_node(node)
        self._entities: _Entities | None = None
        self._refusals = [Refusals(node.get_logger(), _counters(node)) for node in nodes]

    def spin(self, stop: Future) -> None:
        """Run callbacks until ``stop`` has a result, which any thread may set; exceptions of callbacks propagate."""
        stop.add_done_callback(lambda _: self._executor.wake())
        context = self._nodes[0].context
        try:
            while not stop.done() and context.ok():
                self._serve_round()
        finally:
            self._forget_entities()

    def shutdown(self) -> None:
        """Release the nodes."""
        self._executor.shutdown()

    def _serve_round(self) -> None:
        """Wait until an entity is ready and serve those that are."""
        if self._entities is None:
            self._entities = _Entities(self._nodes, self._refusals, self._executor._guard)
        entities = self._entities
        entities.wait()
        for reader in entities.ready_readers():
            reader.serve()
        for timer in entities.ready_timers():
            _serve_timer(timer)
        if entities.is_guard_ready():
            # The executor is woken when entities come or go, and when a task has to continue.
            self._forget_entities()
            self._serve_others()
        elif entities.are_others_ready():
            self._serve_others()

    def _serve_others(self) -> None:
        # Tasks run in order: when this one has run, so have all that were waiting before it.
        marker = self._executor.create_task(lambda: None)
        while not marker.done():
            self._executor.spin_once(timeout_sec=0)

    def _forget_entities(self) -> None:
        if self._entities is not None:
            self._entities.close()
            self._entities = None


class _Reader:
    """Subscription with everything that serving a message needs."""

    def __init__(self, subscription: Any, refusals: Refusals) -> None:
        self.handle = subscription.handle
        self.pointer = self.handle.pointer
        self._subscription = subscription
        self._kind, self._raw = subscription.msg_type, subscription.raw
        self._takes_info = _takes_two(subscription.callback)
        self._refusals = refusals

    def serve(self) -> None:
        """Run the callback with the next message, unless the subscription has been destroyed."""
        try:
            with self.handle:
                taken = self.handle.take_message(self._kind, self._raw)
        except _rclpy.InvalidHandle:
            return
        except _rclpy.RCLError:
            taken = None
        topic = self._subscription.topic_name
        # Some middlewares raise an exception, others return nothing although a message was announced.
        if taken is None:
            self._refusals.add(topic, "undecodable", f"the bytes sent are no {self._kind.__name__}")
            return
        if self._takes_info:
            self._subscription.callback(*taken)
        else:
            self._subscription.callback(taken[0])
        if self._refusals.any:
            self._refusals.accept(topic)


def _serve_timer(timer: Any) -> None:
    """Run the callback of a timer, unless it has been cancelled or destroyed."""
    try:
        with timer.handle:
            if not timer.handle.is_timer_ready():
                return
            timer.handle.call_timer()
    except _rclpy.InvalidHandle:
        return
    timer.callback()


class _Entities:
    """What nodes have at one time, with a wait set for it; stays valid until it is closed, even if destroyed."""

    def __init__(self, nodes: Sequence[Node], refusals: Sequence[Refusals], guard: Any) -> None:
        self._readers = [
            _Reader(subscription, refused)
            for node, refused in zip(nodes, refusals, strict=True)
            for subscription in node.subscriptions
        ]
        self._timers = [timer for node in nodes for timer in node.timers]
        self._waitables = [waitable for node in nodes for waitable in node.waitables]
        handles = {
            "subscription": [reader.handle for reader in self._readers],
            "timer": [timer.handle for timer in self._timers],
            "service": [service.handle for node in nodes for service in node.services],
            "client": [client.handle for node in nodes for client in node.clients],
            "guard_condition": [guard.handle],
        }
        context: Any = nodes[0].context
        with ExitStack() as stack:
            for handle in (*chain.from_iterable(handles.values()), *self._waitables, context.handle):
                stack.enter_context(handle)
            self._wait_set = _wait_set(handles, self._waitables, context)
            self._held = stack.pop_all()
        self._additions = [
            (getattr(self._wait_set, f"add_{kind}"), handle) for kind, those in handles.items() for handle in those
        ]

    def close(self) -> None:
        """Let go of the entities."""
        self._held.close()

    def wait(self) -> None:
        """Wait until an entity is ready."""
        wait_set = self._wait_set
        wait_set.clear_entities()
        for add, handle in self._additions:
            add(handle)
        for waitable in self._waitables:
            waitable.add_to_wait_set(wait_set)
        wait_set.wait(_FOREVER_NS)

    def ready_readers(self) -> list[_Reader]:
        """Subscriptions that have a message."""
        ready = self._wait_set.get_ready_entities("subscription")
        return [reader for reader in self._readers if reader.pointer in ready] if ready else []

    def ready_timers(self) -> list[Any]:
        """Timers that are due."""
        ready = self._wait_set.get_ready_entities("timer")
        return [timer for timer in self._timers if timer.handle.pointer in ready] if ready else []

    def is_guard_ready(self) -> bool:
        """Whether the executor has been woken."""
        return bool(self._wait_set.get_ready_entities("guard_condition"))

    def are_others_ready(self) -> bool:
        """Whether a service, a client or an event is ready."""
        return any(self._wait_set.get_ready_entities(kind) for kind in ("service", "client")) or any(
            waitable.is_ready(self._wait_set) for waitable in self._waitables
        )


def _wait_set(handles: Mapping[str, Sequence[Any]], waitables: Sequence[Any], context: Any) -> Any:
    counts = [waitable.get_num_entities() for waitable in waitables]
    return _rclpy.WaitSet(
        len(handles["subscription"]) + sum(count.num_subscriptions for count in counts),
        len(handles["guard_condition"]) + sum(count.num_guard_conditions for count in counts),
        len(handles["timer"]) + sum(count.num_timers for count in counts),
        len(handles["client"]) + sum(count.num_clients for count in counts),
        len(handles["service"]) + sum(count.num_services for count in counts),
        sum(count.num_events for count in counts),
        context.handle,
    )


def _counters(node: Any) -> Counter[str]:
    return node.diagnostics.counters if hasattr(node, "diagnostics") else Counter()


def _takes_two(callback: Any) -> bool:
    """Whether a callback takes two arguments; rclpy decides it in the same way."""
    try:
        inspect.signature(callback).bind(object())
    except TypeError:
        return True
    return False

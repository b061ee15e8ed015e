"""DirectExecutor, and several nodes of one process: what is served, in which order, and what an error stops."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from rclpy.node import Node
from rclpy.task import Future
from ros_graph import MakeGraph
from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from reskill_core.errors import GraphError
from reskill_ros.nodes.composed_node import node_arguments
from reskill_ros.plumbing import qos
from reskill_ros.plumbing.exchange import Exchange
from reskill_ros.plumbing.executor import DirectExecutor
from reskill_ros.plumbing.inputs import Inputs

TIMEOUT_S = 100.0


class Busy(Node):
    """Has one of everything an executor serves."""

    def __init__(self) -> None:
        super().__init__("busy")
        self.log: list[str] = []
        self.timer = self.create_timer(0.005, self._on_timer)
        self.create_service(Trigger, "work", self._on_call)
        self.client: Any = self.create_client(Trigger, "work")
        self.publisher = self.create_publisher(Empty, "first", qos.STATE)
        self.create_subscription(Empty, "first", self._on_first, qos.STATE)

    def _on_timer(self) -> None:
        if self.client.service_is_ready() and self.publisher.get_subscription_count():
            self.timer.cancel()
            self.client.call_async(Trigger.Request()).add_done_callback(self._on_answer)

    def _on_call(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.log.append("called")
        return response

    def _on_answer(self, future: Future) -> None:
        self.log.append("answered")
        self.publisher.publish(Empty())

    def _on_first(self, message: Empty) -> None:
        self.log.append("first")
        # What is created while spinning is served as well.
        self.create_subscription(Empty, "second", self._on_second, qos.LATCHED)
        self.create_publisher(Empty, "second", qos.LATCHED).publish(Empty())

    def _on_second(self, message: Empty) -> None:
        self.log.append("second")
        raise RuntimeError("tripped")


def spin_until(condition: Callable[[], object], *nodes: Node) -> None:
    """Spin nodes until a condition holds, which a timer of the first one checks."""
    stop: Future = Future()
    timer = nodes[0].create_timer(0.005, lambda: stop.set_result(None) if condition() and not stop.done() else None)
    late = threading.Timer(TIMEOUT_S, lambda: stop.done() or stop.set_result(None))  # type: ignore[func-returns-value]
    late.start()
    executor = DirectExecutor(*nodes)
    try:
        executor.spin(stop)
    finally:
        late.cancel()
        executor.shutdown()
        nodes[0].destroy_timer(timer)
    assert condition()


def test_all_kinds_of_callbacks_are_served(make_graph: MakeGraph) -> None:
    """Timer, service, client, task and messages, in the order in which one leads to the next."""
    make_graph()
    node = Busy()
    with pytest.raises(RuntimeError, match="tripped"):
        spin_until(lambda: False, node)
    assert node.log == ["called", "answered", "first", "second"]
    node.destroy_node()


def test_several_nodes_are_served(make_graph: MakeGraph) -> None:
    make_graph()
    nodes = [Node(name) for name in ("left", "right")]
    heard: list[str] = []

    def hear(name: str, message: Empty) -> None:
        heard.append(name)

    publishers = []
    for node in nodes:
        node.create_subscription(Empty, "all", partial(hear, node.get_name()), qos.LATCHED)
        publishers.append(node.create_publisher(Empty, "all", qos.LATCHED))
    publishers[0].publish(Empty())
    spin_until(lambda: len(heard) == 2, *nodes)
    assert sorted(heard) == ["left", "right"]
    for node in nodes:
        node.destroy_node()


def test_what_a_callback_destroys_is_not_served_in_the_same_round(make_graph: MakeGraph) -> None:
    """Two messages wait; whichever callback comes first destroys both subscriptions."""
    make_graph()
    node = Node("busy")
    served: list[str] = []
    entities: list[Any] = []

    def serve(name: str) -> None:
        served.append(name)
        for entity in entities:
            node.destroy_subscription(entity)

    publisher = node.create_publisher(Empty, "both", qos.LATCHED)
    for name in ("first", "second"):
        entities.append(node.create_subscription(Empty, "both", lambda _, name=name: serve(name), qos.LATCHED))
    publisher.publish(Empty())
    # Both messages wait when the node is spun first: all have arrived once a third subscription has its own.
    probe = node.create_subscription(Empty, "both", lambda _: None, qos.LATCHED)
    while probe.handle.take_message(Empty, False) is None:
        time.sleep(0.001)
    spin_until(lambda: served, node)
    assert len(served) == 1, served
    node.destroy_node()


def test_messages_are_handed_on_within_a_process(make_graph: MakeGraph) -> None:
    """By their resolved topic, without a subscription, until the inputs are closed."""
    graph = make_graph()
    exchange = Exchange()
    heard: list[Empty] = []
    inputs = Inputs(graph.probe, lambda: None, exchange)
    inputs.listen(Empty, "topic", heard.append, qos.NEWEST)
    assert "/topic" not in dict(graph.probe.get_topic_names_and_types())
    message = Empty()
    exchange.hand_on("/other", message)
    exchange.hand_on("/topic", message)
    assert heard == [message]
    assert heard[0] is message
    inputs.close()
    exchange.hand_on("/topic", message)
    assert len(heard) == 1


def test_a_composed_process_gives_each_node_its_arguments() -> None:
    words = ["observation_node", "-p", "task:=block", "policy_node", "-p", "skills:=a", "-r", "x:=y"]
    assert node_arguments(words) == {
        "observation_node": ["--ros-args", "-p", "task:=block"],
        "policy_node": ["--ros-args", "-p", "skills:=a", "-r", "x:=y"],
    }
    assert node_arguments([]) == {}
    with pytest.raises(GraphError, match="observation_node or policy_node; got 'sim_node' first"):
        node_arguments(["sim_node", "-p", "x:=1"])
    with pytest.raises(GraphError, match="policy_node is given twice"):
        node_arguments(["policy_node", "policy_node"])


TWO_NODES = """
import sys
from rclpy.node import Node
from rclpy.task import Future
from reskill_ros.plumbing.node_process import run

class Failing(Node):
    def __init__(self):
        super().__init__("failing")
        self.timer = self.create_timer(0.01, self.fail)

    def fail(self):
        self.timer.cancel()
        raise ValueError("torn")

    def on_callback_error(self, error):
        print("stopped by", error, flush=True)
        counting.start()

class Counting(Node):
    def __init__(self):
        super().__init__("counting")
        self.done = Future()
        global counting
        counting = self

    def start(self):
        self.create_timer(0.01, lambda: self.done.done() or self.done.set_result(3))

sys.exit(run(Failing, Counting, args=[]))
"""


def test_an_error_in_one_node_leaves_the_process_alive() -> None:
    found = subprocess.run([sys.executable, "-c", TWO_NODES], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert found.returncode == 3, found.stderr
    assert "stopped by torn" in found.stdout

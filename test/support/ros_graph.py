"""Nodes of a test in one executor, with a probe that publishes, listens and calls; conditions instead of sleeps."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile

from reskill_ros.plumbing import qos

N = TypeVar("N", bound=Node)
# Builds the test's graph, see the fixture ``make_graph``.
MakeGraph = Callable[..., "Graph"]
# Only a failing test waits this long; the machine may be busy.
TIMEOUT_S = 60.0


def shut_down() -> None:
    """Shuts ROS down, and frees its DDS participant.

    The participant lives as long as anything of its context does, and nodes with a life cycle refer to themselves.
    Several participants in one process hand each other discovery messages under their locks, which now and then ends in
    a deadlock, so a test's is freed before the next test has its own.
    """
    rclpy.try_shutdown()
    gc.collect()


class Graph:
    """A ROS graph inside the test's process."""

    def __init__(
        self, folder: Path, parameters: Mapping[str, Mapping[str, Any]], global_arguments: tuple[str, ...] = ()
    ):
        """Initialise ROS.

        Args:
            folder: where to write the parameter file.
            parameters: ROS parameters by node name.
            global_arguments: further ROS arguments, such as remappings.
        """
        path = folder / "parameters.yaml"
        path.write_text(yaml.safe_dump({name: {"ros__parameters": dict(p)} for name, p in parameters.items()}))
        given = ["--params-file", str(path)] if parameters else []
        rclpy.init(args=["test", "--ros-args", "--log-level", "fatal", *given, *global_arguments])
        self.executor = SingleThreadedExecutor()
        self.nodes: list[Node] = []
        self.probe = self.add(Node("probe"))

    def add(self, node: N) -> N:
        """Let a node run; it is destroyed with the graph."""
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def remove(self, node: Node) -> None:
        """End a node as its process would."""
        self.executor.remove_node(node)
        self.nodes.remove(node)
        node.destroy_node()

    def close(self) -> None:
        """End everything: first what waits for the nodes, then they."""
        self.executor.shutdown()
        for node in reversed(self.nodes):
            node.destroy_node()
        self.nodes.clear()
        shut_down()

    def spin_until(
        self, condition: Callable[[], Any], what: str = "the condition", timeout_s: float = TIMEOUT_S
    ) -> None:
        """Run callbacks until something is true."""
        end_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end_s, f"waited {timeout_s:g} s for {what}"
            self.executor.spin_once(timeout_sec=0.05)

    def spin_for(self, duration_s: float) -> None:
        """Run callbacks for a while, to see that something does not happen."""
        end_s = time.monotonic() + duration_s
        # With another timeout each time, rclpy would begin with the first topic each time, and not come to the last.
        while time.monotonic() < end_s:
            self.executor.spin_once(timeout_sec=0.005)

    def listen(self, kind: type, topic: str, profile: QoSProfile = qos.STATE) -> list[Any]:
        """Every message on a topic from now on, in order."""
        messages: list[Any] = []
        self.probe.create_subscription(kind, topic, messages.append, profile)
        return messages

    def publisher(self, kind: type, topic: str, profile: QoSProfile = qos.STATE) -> Any:
        """A publisher that has found its subscribers."""
        publisher: Any = self.probe.create_publisher(kind, topic, profile)
        self.spin_until(lambda: publisher.get_subscription_count() > 0, f"a subscriber of {topic}")
        return publisher

    def call(self, kind: Any, name: str, **fields: Any) -> Any:
        """Call a service."""
        client: Any = self.probe.create_client(kind, name)
        self.spin_until(client.service_is_ready, f"service {name}")
        future = client.call_async(kind.Request(**fields))
        self.spin_until(future.done, f"the answer of {name}")
        self.probe.destroy_client(client)
        return future.result()

    def stamp(self) -> Any:
        """Now."""
        return self.probe.get_clock().now().to_msg()


def text(status: DiagnosticStatus, key: str) -> str:
    """A value of a status, empty if it has none of that name."""
    return next((item.value for item in status.values if item.key == key), "")

"""ROS clock of a node, in integer nanoseconds, and its jumps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node


def now_ns(node: Node) -> int:
    """Return the node's time [ns]; simulated time if ``use_sim_time`` is set."""
    return node.get_clock().now().nanoseconds


def watch_clock(node: Node, on_jump: Callable[[], None], stack: ExitStack) -> None:
    """Call ``on_jump`` when the node's clock jumps back or changes its source, for as long as ``stack`` lives."""
    threshold = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
    handle = node.get_clock().create_jump_callback(threshold, post_callback=lambda jump: on_jump())
    stack.callback(handle.unregister)

"""What node tests rest on."""

from __future__ import annotations

from pathlib import Path

from rclpy.lifecycle import LifecycleNode
from ros_graph import Graph
from std_msgs.msg import String


def test_a_topic_that_always_has_something_to_do_holds_up_no_other(tmp_path: Path) -> None:
    graph = Graph(tmp_path, {})
    try:
        restless = graph.probe.create_publisher(String, "restless", 10)

        def again(_: String) -> None:
            restless.publish(String())
            restless.publish(String())

        for _ in range(3):
            graph.probe.create_subscription(String, "restless", again, 10)
        heard = graph.listen(String, "quiet")
        quiet = graph.publisher(String, "quiet")
        graph.spin_until(lambda: restless.get_subscription_count() == 3)
        restless.publish(String())
        quiet.publish(String())
        graph.spin_for(0.5)
        assert heard
    finally:
        graph.close()


def dds_threads() -> int:
    """Threads of the DDS participants in this process."""
    names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    return sum(name.startswith(("dds.udp", "dds.ev", "dds.asyn")) for name in names)


def test_a_closed_graph_leaves_no_participant(tmp_path: Path) -> None:
    """A node with a life cycle refers to itself: without a garbage collection, it lives on."""
    before = dds_threads()
    graph = Graph(tmp_path, {})
    graph.add(LifecycleNode("circular"))
    graph.spin_for(0.05)
    assert dds_threads() > before
    graph.close()
    assert dds_threads() == before

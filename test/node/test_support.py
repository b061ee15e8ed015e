"""What node tests rest on."""

from __future__ import annotations

from pathlib import Path

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

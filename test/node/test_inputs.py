"""What a node cannot hear because the quality of service does not fit is told, with topic and publisher."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from command_bench import Bench, write_driver
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from ros_graph import Graph, MakeGraph, text
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from reskill_ros.msg import Observation, SkillAction
from reskill_ros.nodes.command_node import CommandNode
from reskill_ros.nodes.policy_node import PolicyNode
from reskill_ros.nodes.sim_node import SimNode
from reskill_ros.plumbing import qos

OFFERS = {
    f"{reliability.name}-{durability.name}".lower(): QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=1, reliability=reliability, durability=durability
    )
    for reliability, durability in product(
        (ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE),
        (DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL),
    )
}
BEST_EFFORT = OFFERS["best_effort-volatile"]


def statuses_of_the_gate(graph: Graph) -> list[DiagnosticStatus]:
    statuses = graph.listen(DiagnosticStatus, "command/status", qos.LATCHED)
    graph.add(CommandNode())
    return statuses


@pytest.mark.parametrize("kind", OFFERS)
def test_f37_the_estop_hears_every_publisher(make_graph: MakeGraph, tmp_path: Path, kind: str) -> None:
    """Best effort or reliable, volatile or kept: pressed is stopped, and nothing is said to be wrong with its QoS."""
    bench = Bench(make_graph(command_node={"driver": write_driver(tmp_path), "auto_arm": True}))
    bench.move(0.5, 0, 0, 0)
    button = bench.graph.publisher(Bool, "estop", OFFERS[kind])
    bench.graph.spin_until(lambda: button.get_subscription_count() == heard_by(kind), "all that can hear it")
    button.publish(Bool(data=True))
    status = bench.wait_for("estopped")
    assert "not heard" not in status.message
    assert "still pressed" in bench.graph.call(Trigger, "command_node/reset").message


def heard_by(kind: str) -> int:
    """How many of the gate's subscriptions a publisher matches: what it offers less, fewer ask for."""
    return {
        "best_effort-volatile": 1,
        "best_effort-transient_local": 1,
        "reliable-volatile": 2,
        "reliable-transient_local": 3,
    }[kind]


def test_f37_an_estop_pressed_once_before_the_gate_started_is_heard(make_graph: MakeGraph, tmp_path: Path) -> None:
    """Kept by its publisher for late joiners: without it the gate would arm."""
    graph = make_graph(command_node={"driver": write_driver(tmp_path), "auto_arm": True})
    button = graph.probe.create_publisher(Bool, "estop", OFFERS["reliable-transient_local"])
    button.publish(Bool(data=True))
    statuses = statuses_of_the_gate(graph)
    graph.spin_until(lambda: statuses and text(statuses[-1], "state") == "estopped", "the e-stop")


def test_f37_a_press_is_not_overwritten_by_what_follows_at_once(make_graph: MakeGraph, tmp_path: Path) -> None:
    """Two publishers, one that says pressed and one that says released: whatever the order, it stops."""
    bench = Bench(make_graph(command_node={"driver": write_driver(tmp_path), "auto_arm": True}))
    bench.move(0.5, 0, 0, 0)
    pressed, released = (bench.graph.publisher(Bool, "estop") for _ in range(2))
    pressed.publish(Bool(data=True))
    for _ in range(3):
        released.publish(Bool(data=False))
    bench.wait_for("estopped")
    assert bench.graph.call(SetBool, "command_node/estop", data=False).success


@pytest.mark.parametrize(("kind", "topic"), [(SkillAction, "skill_action"), (Observation, "observation")])
def test_f15_a_publisher_that_is_not_heard_is_an_error_that_names_it(
    make_graph: MakeGraph, tmp_path: Path, kind: type, topic: str
) -> None:
    """On every input of the gate; once it is gone, so is the error."""
    driver = write_driver(tmp_path, workspace_low=[1.0, 0.5, 0.4], workspace_high=[1.5, 1.0, 0.8])
    graph = make_graph(command_node={"driver": driver})
    statuses = statuses_of_the_gate(graph)
    graph.spin_until(lambda: statuses)
    assert "not heard" not in statuses[-1].message
    publisher: Any = graph.probe.create_publisher(kind, topic, BEST_EFFORT)
    graph.spin_until(lambda: f"{topic} is not heard from /probe" in statuses[-1].message, "the mismatch")
    assert statuses[-1].level == DiagnosticStatus.ERROR
    assert "Best effort publisher and reliable subscription" in statuses[-1].message
    graph.probe.destroy_publisher(publisher)
    graph.spin_until(lambda: "not heard" not in statuses[-1].message, "its end")


@pytest.mark.parametrize(
    ("make_node", "topic", "kind", "input_topic"),
    [
        (SimNode, "sim/status", TwistStamped, "command/twist"),
        (PolicyNode, "policy/status", Observation, "observation"),
    ],
    ids=["sim_node", "policy_node"],
)
def test_f15_the_other_nodes_of_the_loop_name_whom_they_do_not_hear(
    make_graph: MakeGraph, skills: Path, make_node: Callable[[], Node], topic: str, kind: type, input_topic: str
) -> None:
    graph = make_graph(policy_node={"skills": str(skills)})
    statuses = graph.listen(DiagnosticStatus, topic, qos.LATCHED)
    graph.add(make_node())
    other = graph.add(Node("driver", namespace="/other"))
    other.create_publisher(kind, f"/{input_topic}", BEST_EFFORT)
    expected = f"{input_topic} is not heard from /other/driver (Best effort publisher and reliable subscription)"
    graph.spin_until(lambda: statuses and expected in statuses[-1].message, "the mismatch")
    assert statuses[-1].level == DiagnosticStatus.ERROR

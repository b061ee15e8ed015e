"""command_node and its drivers: what each kind is told, and files that do not fit."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest
from command_bench import Bench, write_driver
from described_arms import describe
from geometry_msgs.msg import TwistStamped
from ros_graph import MakeGraph
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from reskill_core.resources import config_folder
from reskill_ros.msg import Observation, SkillAction
from reskill_ros.nodes.command_node import CommandNode


@pytest.mark.parametrize("path", sorted((config_folder() / "drivers").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_drivers_configure_and_start_disarmed(make_graph: MakeGraph, path: Path) -> None:
    task = {"franka": "kitchen", "planar_base": "maze"}.get(path.stem, "block")
    graph = make_graph(command_node={"driver": path.stem, "task": task})
    describe(graph.probe, path.stem)
    node = graph.add(CommandNode())
    assert node.stage == "active"
    assert node.gate.state.value == "disarmed"


def test_dry_run_never_reaches_the_driver(make_graph: MakeGraph, tmp_path: Path) -> None:
    graph = make_graph(command_node={"driver": write_driver(tmp_path), "auto_arm": True, "dry_run": True})
    shadows = graph.listen(TwistStamped, "shadow/command/twist")
    ears = graph.listen(JointTrajectory, "shadow/gripper/command")
    passed = graph.listen(SkillAction, "shadow/executed_action")
    twists = graph.listen(TwistStamped, "command/twist")
    executed = graph.listen(SkillAction, "executed_action")
    node = graph.add(CommandNode())
    publisher = graph.publisher(SkillAction, "skill_action")
    graph.spin_until(lambda: all(p.get_subscription_count() for p in node.adapter.publishers))
    message = SkillAction(action=array("f", [1.0, 0, 0, 0]))
    message.header.stamp = graph.stamp()
    publisher.publish(message)
    graph.spin_until(lambda: shadows and ears and passed)
    assert not twists
    assert not executed


def test_f19_the_workspace_box_uses_the_observed_position(make_graph: MakeGraph, tmp_path: Path) -> None:
    driver = write_driver(tmp_path, workspace_low=[1.0, 0.5, 0.4], workspace_high=[1.5, 1.0, 0.8])
    bench = Bench(make_graph(command_node={"driver": driver, "auto_arm": True}))
    bench.act(1.0, 0, 0, 0)
    bench.wait_count("refused_position_unknown", 1)
    observation = Observation(task="block", values=array("d", [1.5, 0.75, 0.5, *[0.0] * 22]))
    observation.header.stamp = bench.graph.stamp()
    bench.graph.publisher(Observation, "observation").publish(observation)
    bench.graph.spin_until(lambda: bench.node.measured is not None)
    assert bench.move(1.0, 1.0, 0, 0) == [0, 1.25, 0]


def test_forward_adapter_commands_positions_from_where_the_robot_is(make_graph: MakeGraph, tmp_path: Path) -> None:
    driver = write_driver(
        tmp_path,
        "cartesian_forward",
        {"adapter": "cartesian_forward", "options": {"topic": "command/positions", "quantity": "position"}},
        speed_scale=1.0,
        max_step=[2.0],
        workspace_low=[],
        workspace_high=[],
    )
    graph = make_graph(command_node={"driver": driver, "auto_arm": True})
    arrays = graph.listen(Float64MultiArray, "command/positions")
    node = graph.add(CommandNode())
    actions = graph.publisher(SkillAction, "skill_action")
    observation = Observation(task="block", values=array("d", [1.0, 2.0, 3.0, 0.03, 0.01, *[0.0] * 20]))
    observation.header.stamp = graph.stamp()
    graph.publisher(Observation, "observation").publish(observation)
    graph.spin_until(lambda: node.measured is not None and not node.gate.absent_driver)
    action = SkillAction(action=array("f", [1.0, -1.0, 0.5, 0.0]))
    action.header.stamp = observation.header.stamp
    actions.publish(action)
    graph.spin_until(lambda: arrays)
    assert list(arrays[-1].data) == pytest.approx([1.05, 1.95, 3.025, 0.02])
    assert [dim.label for dim in arrays[-1].layout.dim] == ["x", "y", "z", "gripper"]
    node.trigger_deactivate()
    graph.spin_until(lambda: len(arrays) == 2)
    assert list(arrays[-1].data) == pytest.approx([1.0, 2.0, 3.0, 0.02])


def test_open_close_gripper_has_hysteresis(make_graph: MakeGraph, tmp_path: Path) -> None:
    """A real gripper is told to open or close once, and keeps its grip when the robot is stopped."""
    options = {"gripper": {"mode": "open_close", "threshold": 0.2, "open_position": 0.05}}
    driver = write_driver(tmp_path, command={"adapter": "servo_twist", "options": options})
    bench = Bench(make_graph(command_node={"driver": driver, "auto_arm": True}))
    for finger in (0.1, 0.5, 0.1, -0.1, -0.5, -1.0):
        bench.move(0, 0, 0, finger)
    bench.node.trigger_deactivate()
    bench.graph.spin_until(lambda: len(bench.fingers) == 2)
    assert [list(m.points[-1].positions) for m in bench.fingers] == [[0.05, 0.05], [0.0, 0.0]]
    assert bench.twists[-1].header.stamp.sec > 0


@pytest.mark.parametrize("mode", ["open_close", "velocity"])
def test_a_gripper_stays_closed_where_the_task_says_so(make_graph: MakeGraph, tmp_path: Path, mode: str) -> None:
    """What an agent says about fingers that it could never move means nothing."""
    driver = write_driver(tmp_path, command={"adapter": "servo_twist", "options": {"gripper": {"mode": mode}}})
    bench = Bench(make_graph(command_node={"driver": driver, "auto_arm": True, "task": "slippery_push"}))
    for finger in (1.0, 0.0, 0.5):
        bench.move(0, 0, 0, finger)
    bench.graph.spin_until(lambda: bool(bench.fingers))
    points = [message.points[-1] for message in bench.fingers]
    assert [list(p.positions if mode == "open_close" else p.velocities) for p in points] == (
        [[0.0, 0.0]] if mode == "open_close" else [[-25.0, -25.0]] * len(points)
    )


def test_an_invalid_driver_file_is_refused_with_all_its_faults(make_graph: MakeGraph, tmp_path: Path) -> None:
    from reskill_core.errors import ConfigError

    path = tmp_path / "bad.yaml"
    path.write_text("gate: {speed_scal: 2}\ncommand: {adapter: servo_twist, options: {topc: x}}\n")
    make_graph(command_node={"driver": str(path)})
    with pytest.raises(ConfigError) as caught:
        CommandNode()
    assert "gate.speed_scal: unknown key; did you mean gate.speed_scale?" in str(caught.value)

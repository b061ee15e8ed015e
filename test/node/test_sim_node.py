"""sim_node: a clock that only advances, a robot that waits or follows the wall clock, and what it survives."""

from __future__ import annotations

import itertools
import json
import math
from array import array
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from ros_graph import MakeGraph, text
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, JointState
from sim_bench import PERIOD_NS, Bench
from std_msgs.msg import Float64MultiArray, Header, String

from reskill_core.errors import GraphError, SimulationError
from reskill_core.kinematics import KinematicsConfig
from reskill_ros.nodes.sim_node import SimNode
from reskill_ros.plumbing import convert, qos
from reskill_ros.plumbing.robot_description import load_described_arm
from reskill_ros.srv import ResetEpisode, StepSimulation
from reskill_sim.engine.simulator import Simulator
from reskill_sim.fetch.constants import JOINT_NAMES
from reskill_sim.fetch.family import FETCH
from reskill_sim.fetch.tasks import get_task

LOCKSTEP = {"pacing": "lockstep"}


@pytest.fixture
def bench(make_graph: MakeGraph) -> Bench:
    """A simulator in lockstep."""
    return Bench(make_graph(sim_node=LOCKSTEP))


def actions(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, 4)).astype(np.float32)


def test_one_state_is_published_on_all_topics_with_one_stamp(make_graph: MakeGraph) -> None:
    """The Fetch's own joint names, poses in a named frame, and a stamp that is not zero."""
    graph = make_graph(sim_node={**LOCKSTEP, "task": "hook", "frame_id": "map"})
    joints = graph.listen(JointState, "joint_states")
    topics = ("ee_pose", "goal_pose", "objects/hook/pose", "objects/object/pose")
    poses = {topic: graph.listen(PoseStamped, topic) for topic in topics}
    bench = Bench(graph)
    graph.spin_until(lambda: joints and all(poses.values()), "all topics")
    assert tuple(joints[-1].name) == JOINT_NAMES
    assert len(joints[-1].position) == len(joints[-1].velocity) == len(JOINT_NAMES)
    stamps = {convert.stamp_to_ns(message[-1].header.stamp) for message in (joints, *poses.values(), bench.states)}
    assert stamps == {convert.stamp_to_ns(bench.clocks[-1].clock)} == {PERIOD_NS}
    assert {message[-1].header.frame_id for message in poses.values()} == {"map"}
    frame = Simulator(get_task("hook")).frame
    measured = bench.node.robot.poses
    assert convert.pose(poses["ee_pose"][-1].pose)[0] == tuple(measured["gripper"][0]) == tuple(frame.frame_pos_w[0, 0])
    assert bench.state.profile == "exact"
    assert bench.state.step == 0
    assert bench.state.valid


def test_late_subscribers_receive_a_description_of_the_robot(make_graph: MakeGraph) -> None:
    """Its joints are those of the joint states, its root is the frame of the poses; a new task has another robot."""
    graph = make_graph(sim_node={**LOCKSTEP, "task": "maze", "frame_id": "map"})
    joints = graph.listen(JointState, "joint_states")
    bench = Bench(graph)
    descriptions = graph.listen(String, "robot_description", qos.LATCHED)
    graph.spin_until(lambda: descriptions and joints, "the description")
    robot = ElementTree.fromstring(descriptions[-1].data)
    moving = [joint.attrib["name"] for joint in robot.iter("joint") if joint.attrib["type"] != "fixed"]
    assert moving == list(joints[-1].name)
    assert robot.find("link").attrib["name"] == "map"  # type: ignore[union-attr]
    assert graph.call(ResetEpisode, "sim_node/reset", task="block", seed=-1).success
    graph.spin_until(lambda: len(descriptions) == 2, "the Fetch's description")
    gripper = KinematicsConfig(model="topic", end_effector="gripper_link", tool_position=(0.02, 0.0, 0.0))
    arm = load_described_arm(graph.probe, "block", gripper)
    measured = dict(zip(*bench.node.robot.joints[:2], strict=True))
    position, _ = arm.pose(np.array([measured[name] for name in arm.joints]))
    np.testing.assert_allclose(position, bench.node.robot.poses["gripper"][0], atol=1e-4)


def test_lockstep_waits_for_both_parts_of_the_answer_to_its_own_state(bench: Bench) -> None:
    """Half an answer, or one to another state, moves nothing; the same answer twice moves once."""
    first = bench.state.header.stamp
    bench.command([1, 0, 0, 0], parts="arm")
    repeated = len(bench.states)
    bench.graph.spin_until(lambda: len(bench.states) > repeated, "the same state again")
    assert set(bench.stamps()) == {PERIOD_NS}
    bench.command([1, 0, 0, 0], parts="fingers")
    bench.wait_for_stamp(2 * PERIOD_NS)
    assert bench.state.step == 1
    bench.command([1, 0, 0, 0], stamp=first)
    repeated = len(bench.states)
    bench.graph.spin_until(lambda: len(bench.states) > repeated, "the second state again")
    assert set(bench.stamps()) == {PERIOD_NS, 2 * PERIOD_NS}


@pytest.mark.parametrize("task", ["block", "hook"])
def test_lockstep_is_the_simulator_to_the_last_bit(make_graph: MakeGraph, task: str) -> None:
    bench = Bench(make_graph(sim_node={**LOCKSTEP, "task": task, "seed": 5}))
    simulator = Simulator(get_task(task))
    simulator.reset([5])
    assert np.array(bench.state.sim_state).tobytes() == simulator.state()[0].tobytes()
    for action in actions(8):
        result = simulator.step(action[None])
        state = bench.act(action)
        assert np.array(state.sim_state).tobytes() == simulator.state()[0].tobytes()
        assert (state.reward, state.success) == (result.reward[0], result.success[0])


def test_the_clock_never_goes_back_over_resets(bench: Bench) -> None:
    for seed in range(20):
        assert bench.reset(seed=seed % 3).success
    stamps = bench.stamps()
    assert all(later > earlier for earlier, later in itertools.pairwise(stamps) if later != earlier)
    assert len(set(stamps)) == 21
    clocks = [convert.stamp_to_ns(message.clock) for message in bench.clocks]
    assert clocks == sorted(clocks)
    assert clocks[0] > 0


def test_a_seed_gives_the_same_trajectory_again(bench: Bench) -> None:
    trajectories = []
    for _ in range(2):
        response = bench.reset(seed=7)
        assert response.success
        assert response.episode_id == bench.state.episode_id
        assert bench.state.seed == 7
        trajectories.append([bytes(bench.act(action).sim_state) for action in actions(4)])
    assert trajectories[0] == trajectories[1]
    assert bench.reset(seed=-1).success
    assert bench.state.seed == 8


def test_reset_changes_the_task_or_says_why_not(bench: Bench) -> None:
    refused = bench.reset(task="juggle", seed=-1)
    assert not refused.success
    assert "block" in refused.message
    assert "hook" in refused.message
    assert not bench.reset(seed=-3).success
    assert bench.reset(task="hook", seed=0).success
    assert bench.state.task == "hook"
    assert len(bench.state.sim_state) == Simulator(get_task("hook")).state_dim


def test_only_a_paused_simulation_can_be_stepped(bench: Bench) -> None:
    """Steps nobody asked the policy about make the episode invalid."""
    refused = bench.graph.call(StepSimulation, "sim_node/step", steps=1)
    assert not refused.success
    assert "pause" in refused.message
    bench.pause()
    assert not bench.graph.call(StepSimulation, "sim_node/step", steps=0).success
    assert bench.graph.call(StepSimulation, "sim_node/step", steps=3).success
    bench.wait_for_stamp(4 * PERIOD_NS)
    assert (bench.state.step, bench.state.valid) == (3, False)
    too_far = bench.graph.call(StepSimulation, "sim_node/step", steps=100)
    assert not too_far.success
    assert "47 of 100" in too_far.message


def test_a_paused_simulation_waits_and_goes_on_with_the_answer_it_got(bench: Bench) -> None:
    bench.pause()
    bench.wait_for_status("paused")
    bench.command([1, 0, 0, 0])
    repeated = len(bench.states)
    bench.graph.spin_until(lambda: len(bench.states) > repeated, "the same state again")
    assert bench.node.robot.step == 0
    bench.pause(False)
    bench.wait_for_stamp(2 * PERIOD_NS)
    assert bench.state.valid


def test_stepping_takes_the_answer_that_is_there(bench: Bench) -> None:
    bench.pause()
    bench.command([1, 0, 0, 0])
    bench.graph.spin_until(lambda: bench.node._inputs.commands.components == ("x", "y", "z", "gripper"), "the command")
    assert bench.graph.call(StepSimulation, "sim_node/step", steps=1).success
    bench.wait_for_stamp(2 * PERIOD_NS)
    assert bench.state.valid


def test_f39_diverging_physics_stops_the_robot_until_a_reset(bench: Bench) -> None:
    """The episode is marked invalid, diagnostics say ERROR, and nothing goes on by itself."""
    bench.act([0.1, 0, 0, 0])
    make_diverge(bench.node)
    bench.command([0, 0, 0, 0])
    bench.graph.spin_until(lambda: not bench.state.valid, "an invalid state")
    assert bench.wait_for_status("diverged").level == DiagnosticStatus.ERROR
    episode = bench.state.episode_id
    bench.command([0, 0, 0, 0])
    repeated = len(bench.states)
    bench.graph.spin_until(lambda: len(bench.states) > repeated, "the same state again")
    assert (bench.state.episode_id, bench.state.valid) == (episode, False)
    assert bench.reset(seed=-1).success
    assert bench.state.valid
    bench.act([0.1, 0, 0, 0])


def test_f39_resets_by_itself_if_asked_to(make_graph: MakeGraph) -> None:
    bench = Bench(make_graph(sim_node={**LOCKSTEP, "reset_on_divergence": True}))
    make_diverge(bench.node)
    bench.command([0, 0, 0, 0])
    bench.graph.spin_until(lambda: bench.state.episode_id == 2, "the next episode")
    assert [state.valid for state in bench.states if state.episode_id == 1][-1] is False
    assert bench.state.valid


def make_diverge(node: SimNode) -> None:
    """Put the robot into a state that physics cannot go on from."""
    rows = node.robot.env.state()
    rows[0, 3:20] = 1e9
    node.robot.env.set_state(rows)


def test_f40_commands_from_before_a_reset_do_not_move_the_new_episode(make_graph: MakeGraph) -> None:
    """A reset under a running policy: fresh state, new episode, and old commands are ignored."""
    bench = Bench(make_graph(sim_node={"pacing": "realtime", "real_time_factor": 2.0}))
    old = bench.state.header.stamp
    bench.command([1, 0, 0, 0])
    start = gripper_x(bench)
    bench.graph.spin_until(lambda: gripper_x(bench) > start + 0.01, "motion")
    response = bench.reset(seed=1)
    assert bench.episode(response.episode_id)[0].step == 0
    fresh = gripper_x(bench)
    step = bench.node.robot.step
    while bench.node.robot.step < step + 5:
        bench.command([1, 0, 0, 0], stamp=old)
        bench.graph.spin_until(lambda: True)
        bench.graph.executor.spin_once(timeout_sec=0.02)
    assert abs(gripper_x(bench) - fresh) < 1e-3

    def moves_again() -> bool:
        bench.command([1, 0, 0, 0])
        return gripper_x(bench) > fresh + 0.01

    bench.graph.spin_until(moves_again, "motion again")


def gripper_x(bench: Bench) -> float:
    return float(bench.node.robot.poses["gripper"][0][0])


def test_in_real_time_a_command_that_is_not_renewed_goes_stale(make_graph: MakeGraph) -> None:
    bench = Bench(make_graph(sim_node={"pacing": "realtime", "real_time_factor": 2.0}))
    bench.command([1, 0, 0, 0])
    start = gripper_x(bench)
    bench.graph.spin_until(lambda: gripper_x(bench) > start + 0.01, "motion")

    def still() -> bool:
        before, step = gripper_x(bench), bench.node.robot.step
        bench.graph.spin_until(lambda: bench.node.robot.step >= step + 3 or bench.node.robot.step < step)
        return abs(gripper_x(bench) - before) < 1e-3

    bench.graph.spin_until(still, "standstill")


def test_f41_a_real_time_factor_out_of_reach_is_reported(make_graph: MakeGraph) -> None:
    bench = Bench(make_graph(sim_node={"pacing": "realtime", "real_time_factor": 1000.0}))
    status = bench.wait_for_status("slower than asked for")
    assert status.level == DiagnosticStatus.WARN
    assert 0 < float(text(status, "real_time_factor")) < 1000


def test_the_real_time_factor_is_kept_and_can_be_changed(make_graph: MakeGraph) -> None:
    bench = Bench(make_graph(sim_node={"pacing": "realtime", "real_time_factor": 0.5}))
    factors = [float(text(bench.wait_for_status("running"), "real_time_factor"))]
    change = Parameter("real_time_factor", value=1.5).to_parameter_msg()
    assert bench.graph.call(SetParameters, "sim_node/set_parameters", parameters=[change]).results[0].successful
    bench.graph.spin_until(lambda: float(text(bench.statuses[-1], "real_time_factor")) > 1.0, "the new factor")
    assert factors[0] < 0.8
    bad = Parameter("real_time_factor", value=-1.0).to_parameter_msg()
    refused = bench.graph.call(SetParameters, "sim_node/set_parameters", parameters=[bad]).results[0]
    assert not refused.successful
    assert "real_time_factor" in refused.reason


def test_f14_another_source_of_the_clock_or_the_joints_is_named(bench: Bench) -> None:
    """In full: the other simulator may well have the same name in another namespace."""
    other = bench.graph.add(Node("sim_node", namespace="/other"))
    for kind, topic in ((Clock, "/clock"), (JointState, "/joint_states")):
        publisher = other.create_publisher(kind, topic, qos.STATE)
        status = bench.wait_for_status(f"{topic} has 2 publishers: /other/sim_node, /sim_node")
        assert status.level == DiagnosticStatus.WARN
        other.destroy_publisher(publisher)
        bench.graph.spin_until(lambda: "publishers" not in bench.statuses[-1].message, "the end of the warning")


def test_holds_until_the_first_state_is_answered_and_acknowledged(make_graph: MakeGraph) -> None:
    graph = make_graph(
        sim_node={"pacing": "realtime", "hold_until_ready": True, "acknowledge_topics": ["recorder/acknowledge"]}
    )
    bench = Bench(graph)
    acknowledge = graph.publisher(Header, "recorder/acknowledge")
    bench.command([0, 0, 0, 0])
    bench.wait_for_status("waiting for the first answer")
    assert bench.node.robot.step == 0
    acknowledge.publish(Header(stamp=bench.state.header.stamp))
    bench.wait_for_stamp(4 * PERIOD_NS)


def test_lockstep_names_who_keeps_it_waiting(make_graph: MakeGraph) -> None:
    bench = Bench(make_graph(sim_node={**LOCKSTEP, "acknowledge_topics": ["recorder/acknowledge"]}))
    bench.command([0, 0, 0, 0])
    assert bench.wait_for_status("waiting for recorder/acknowledge").level == DiagnosticStatus.WARN


def test_bad_commands_are_refused_and_counted(bench: Bench) -> None:
    bench.command([math.nan, 0, 0, 0], parts="arm")
    bench.fingers.publish(convert.trajectory_message(["elbow"], 0.04))
    array_command = bench.graph.publisher(Float64MultiArray, "command/positions", qos.COMMAND)
    array_command.publish(Float64MultiArray(data=[1.0, 2.0]))
    counters = bench.node.diagnostics.counters
    reasons = ("refused_non_finite", "refused_unknown_joint", "refused_length_mismatch")
    bench.graph.spin_until(lambda: all(counters[reason] == 1 for reason in reasons), "the counts")
    assert bench.node.robot.step == 0


@pytest.mark.parametrize("quantity", ["velocity", "position"])
def test_takes_arrays_of_velocities_or_positions(make_graph: MakeGraph, quantity: str) -> None:
    bench = Bench(make_graph(sim_node={**LOCKSTEP, "array_command": quantity}))
    publisher = bench.graph.publisher(Float64MultiArray, "command/positions", qos.COMMAND)
    message = convert.labelled_array(("x", "y", "z", "gripper"))
    start = bench.node.robot.poses["gripper"][0]
    wanted = [0.5, 0.0, 0.0, 0.0] if quantity == "velocity" else [start[0] + 0.02, start[1], start[2], 0.0]
    message.data = array("d", wanted)
    publisher.publish(message)
    bench.wait_for_stamp(2 * PERIOD_NS)
    simulator = Simulator(get_task("block"))
    simulator.reset([0])
    simulator.step(np.array([[0.4, 0, 0, 0]], np.float32))
    assert bench.node.robot.poses["gripper"][0] == pytest.approx(simulator.frame.frame_pos_w[0, 0], abs=1e-6)


def test_ends_after_the_episodes_asked_for_and_reports_them(make_graph: MakeGraph, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    bench = Bench(make_graph(sim_node={**LOCKSTEP, "episodes": 2, "seed": 3, "report": str(report)}))
    while not bench.node.done.done():
        bench.command([0, 0, 0, 0])
        before = bench.node.robot.stamp_ns
        bench.graph.spin_until(lambda: bench.node.robot.stamp_ns > before or bench.node.done.done())  # noqa: B023
        bench.wait_for_stamp(bench.node.robot.stamp_ns)
    assert bench.node.done.result() == 0
    assert bench.state.episode_id == 2
    assert bench.state.truncated
    bench.graph.remove(bench.node)
    document = json.loads(report.read_text())
    assert document["episodes"] == 2
    assert document["success_rate"] == 0.0
    assert [(row["seed"], row["steps"], row["episode_return"]) for row in document["results"]] == [
        (3, 50, -50.0),
        (4, 50, -50.0),
    ]


def test_without_auto_reset_it_stands_at_the_end(make_graph: MakeGraph) -> None:
    bench = Bench(make_graph(sim_node={**LOCKSTEP, "auto_reset": False}))
    bench.pause()
    assert bench.graph.call(StepSimulation, "sim_node/step", steps=50).success
    bench.pause(False)
    bench.wait_for_stamp(51 * PERIOD_NS)
    bench.command([0, 0, 0, 0])
    repeated = len(bench.states)
    bench.graph.spin_until(lambda: len(bench.states) > repeated, "the last state again")
    assert bench.state.episode_id == 1
    assert bench.state.truncated
    assert bench.reset(seed=-1).success
    bench.act([0, 0, 0, 0])


def test_refuses_to_live_by_the_clock_it_publishes(make_graph: MakeGraph) -> None:
    make_graph(sim_node={"use_sim_time": True})
    with pytest.raises(GraphError, match="use_sim_time"):
        SimNode()


def test_publishes_pictures_if_asked_to(make_graph: MakeGraph) -> None:
    try:
        FETCH.make_renderer(get_task("block"), 64, 48).close()
    except SimulationError as error:
        pytest.skip(str(error))
    graph = make_graph(sim_node={**LOCKSTEP, "camera": True, "camera_width": 64, "camera_height": 48})
    pictures = graph.listen(CompressedImage, "camera/image/compressed")
    bench = Bench(graph)
    graph.spin_until(lambda: pictures, "a picture")
    assert bytes(pictures[-1].data[:2]) == b"\xff\xd8"
    assert pictures[-1].header.stamp == bench.state.header.stamp
    assert pictures[-1].header.frame_id

"""observation_node: sensor messages in, observations out, and what it refuses."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from observation_bench import FINGERS, POSES, TASK, UPRIGHT, Robot, write_driver
from ros_graph import MakeGraph, text
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from reskill_core.sensing import MessageError
from reskill_ros.drivers.driver_file import load_driver
from reskill_ros.msg import EpisodeState, Observation
from reskill_ros.nodes.observation_node import ObservationNode
from reskill_ros.plumbing import convert, qos
from reskill_sim.engine.simulator import Simulator
from reskill_sim.fetch.constants import JOINT_NAMES
from reskill_sim.fetch.tasks import get_task


@pytest.fixture
def robot(make_graph: MakeGraph, tmp_path: Path) -> Robot:
    return Robot(make_graph(observation_node={"driver": write_driver(tmp_path)}))


def test_sensors_become_the_tasks_observation(robot: Robot) -> None:
    values = robot.observe()
    message = robot.observations[-1]
    assert values[TASK.obs.slice("gripper_position")] == pytest.approx(POSES["ee_pose"])
    assert values[TASK.obs.slice("finger_position")] == pytest.approx([0.01, 0.02])
    assert values[TASK.obs.slice("goal_position")] == pytest.approx(POSES["goal_pose"])
    assert message.task == "block"
    assert message.header.frame_id == "world"
    assert (message.episode_id, message.episode_seed, message.episode_step) == (0, -1, 0)
    assert robot.observe()[TASK.obs.slice("finger_displacement")] == pytest.approx([0, 0])
    assert robot.observations[-1].episode_step == 1


def test_observations_equal_the_simulators_bit_for_bit(make_graph: MakeGraph, tmp_path: Path) -> None:
    """One conversion, used twice: from messages and in process."""
    robot = Robot(make_graph(observation_node={"driver": write_driver(tmp_path, episodes=True)}))
    episodes = robot.graph.publisher(EpisodeState, "episode")
    simulator = Simulator(get_task("block"))
    expected = simulator.reset([7])
    rng = np.random.default_rng(0)
    # In the recent past: steps of one clock, none ahead of it.
    first_ns = time.time_ns() - 200_000_000
    for step in range(4):
        frame, stamp = simulator.frame, convert.ns_to_stamp(first_ns + step * 40_000_000)
        robot.joints(frame.joint_pos[0], FINGERS, stamp)
        for name, publisher in zip(TASK.obs.frames, robot.pose_publishers.values(), strict=True):
            index = TASK.obs.frames.index(name)
            pose = frame.frame_pos_w[0, index], frame.frame_quat_wxyz[0, index]
            publisher.publish(convert.pose_message(stamp, "world", *pose))
        message = EpisodeState(episode_id=3, seed=7, step=step)
        message.header.stamp = stamp
        episodes.publish(message)
        robot.wait(step + 1)
        np.testing.assert_array_equal(convert.observation_values(robot.observations[-1]), expected)
        assert robot.observations[-1].episode_seed == 7
        expected = simulator.step(rng.uniform(-1, 1, (1, 4)).astype(np.float32)).observation


def test_f01_without_fresh_sensors_nothing_is_observed_and_it_is_an_error(
    make_graph: MakeGraph, tmp_path: Path
) -> None:
    """joint_states stops: no observation on old data, ERROR that names the source, and back when it comes back."""
    driver = write_driver(tmp_path, trigger="timer", timeout_s=0.3)
    robot = Robot(make_graph(observation_node={"driver": driver}))

    while not robot.observations:
        robot.all()
        robot.graph.spin_for(0.02)
    robot.status(DiagnosticStatus.ERROR, "no fresh reading of", *(f"joint {name}" for name in FINGERS), " s old")
    count = len(robot.observations)
    robot.graph.spin_for(0.2)
    assert len(robot.observations) == count
    while len(robot.observations) == count:
        robot.all()
        robot.graph.spin_for(0.02)


def test_f03_one_bad_joint_refuses_the_message_whole(robot: Robot) -> None:
    """NaN or Inf in one joint, needed or not: nothing is observed, the counter goes up, nothing counts as fresh."""
    for count, bad in enumerate((math.nan, math.inf), start=1):
        robot.all((0.01, 0.02, bad), (*FINGERS, "head_pan_joint"))
        robot.refused("non_finite", count)
    assert not robot.observations
    robot.status(DiagnosticStatus.ERROR, f"joint {FINGERS[0]} (never came), joint {FINGERS[1]} (never came)")
    robot.observe()


def test_f04_joint_order_does_not_matter(robot: Robot) -> None:
    """Permuted names give the identical observation."""
    names = (*JOINT_NAMES,)
    positions = [0.01 * index for index in range(len(names))]
    expected = robot.observe(positions, names)
    robot.graph.call(Trigger, "observation_node/reset")
    order = np.random.default_rng(0).permutation(len(names))
    shuffled = robot.observe([positions[i] for i in order], [names[i] for i in order])
    np.testing.assert_array_equal(shuffled, expected)


def test_f05_a_missing_joint_is_named_and_an_extra_one_ignored(robot: Robot) -> None:
    """Missing: nothing is observed, and its name is said. Extra: no difference."""
    robot.all((0.01,), FINGERS[:1])
    robot.status(DiagnosticStatus.ERROR, f"no fresh reading of joint {FINGERS[1]} (never came); nothing is observed")
    assert not robot.observations
    values = robot.observe((0.01, 9.0, 0.02), (FINGERS[0], "bellows_joint", FINGERS[1]))
    assert values[TASK.obs.slice("finger_position")] == pytest.approx([0.01, 0.02])


def test_f06_without_velocities_nothing_changes(robot: Robot) -> None:
    """Displacements are differences of positions: velocities are not read, there or not, of any length."""
    expected = robot.observe()
    for velocities in ((), (0.5, -0.5), (7.0,), (math.nan, math.inf)):
        robot.graph.call(Trigger, "observation_node/reset")
        stamp, count = robot.graph.stamp(), len(robot.observations)
        robot.poses(stamp)
        message = convert.joint_state_message(stamp, FINGERS, (0.01, 0.02), velocities)
        robot.joint_publisher.publish(message)
        robot.wait(count + 1)
        np.testing.assert_array_equal(convert.observation_values(robot.observations[-1])[0], expected)


def test_f07_duplicate_names_and_length_mismatches_are_refused(robot: Robot) -> None:
    """Both are counted, neither is observed."""
    robot.all((0.01, 0.02, 0.03), (*FINGERS, FINGERS[0]))
    robot.refused("duplicate_names")
    robot.all((0.01,), FINGERS)
    robot.refused("length_mismatch")
    assert not robot.observations


def test_f07_many_duplicates_are_refused_at_once(robot: Robot) -> None:
    """What a hostile message names is neither searched for ever nor logged as it is."""
    robot.joints([0.0] * 40_000, ["\x1b[31m" + str(index // 2) for index in range(40_000)])
    robot.refused("duplicate_names")
    with pytest.raises(MessageError) as caught:
        convert.joint_positions(JointState(name=["\x1b[2J" + "x" * 500] * 8, position=[0.0] * 8))
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_f08_a_zero_stamp_is_refused_unless_the_driver_file_allows_it(make_graph: MakeGraph, tmp_path: Path) -> None:
    """Allowed, it is the time of reception."""
    robot = Robot(make_graph(observation_node={"driver": write_driver(tmp_path)}))
    robot.joints(stamp=Time())
    robot.refused("zero_stamp")
    robot.status(DiagnosticStatus.ERROR, f"joint {FINGERS[0]} (never came)")
    robot.graph.remove(robot.node)
    Path(write_driver(tmp_path, trigger="timer", zero_stamp="receive_time"))
    lenient = Robot(robot.graph)
    before_ns = time.time_ns()
    while not lenient.observations:
        lenient.joints(stamp=Time())
        lenient.poses(Time())
        lenient.graph.spin_for(0.02)
    assert before_ns <= convert.stamp_to_ns(lenient.observations[0].header.stamp) <= time.time_ns()


def test_f10_reordered_messages_are_dropped(robot: Robot) -> None:
    """A stamp older than the newest is dropped and counted."""
    early = robot.graph.stamp()
    robot.observe()
    robot.joints(stamp=early)
    robot.refused("reordered")
    assert len(robot.observations) == 1


def test_f09_messages_from_the_future_are_refused(robot: Robot) -> None:
    robot.joints(stamp=convert.ns_to_stamp(time.time_ns() + 1000 * 10**9))
    robot.refused("future")


def test_poses_in_another_frame_or_no_rotation_are_refused(robot: Robot) -> None:
    robot.pose("ee_pose", robot.graph.stamp(), frame_id="odom")
    robot.refused("wrong_frame")
    robot.pose("goal_pose", robot.graph.stamp(), quat=(0.0, 0.0, 0.0, 0.0))
    robot.refused("bad_quaternion")


def test_a_repeated_stamp_repeats_the_observation(robot: Robot) -> None:
    """A driver that waits for its answer asks again; the observation is the same to the last bit."""
    stamp = robot.all()
    robot.wait(1)
    robot.joints(stamp=stamp)
    robot.wait(2)
    assert robot.observations[0] == robot.observations[1]


def test_kinematics_replace_the_gripper_topic(make_graph: MakeGraph, tmp_path: Path) -> None:
    """The gripper's pose from joint positions and the base's is the simulator's to a micrometre."""
    simulator = Simulator(get_task("block"))
    simulator.reset([3])
    driver = write_driver(tmp_path, gripper="kinematics", base_position_w=load_driver("fetch").sensing.base_position_w)
    graph = make_graph(observation_node={"driver": driver})
    observations = graph.listen(Observation, "observation")
    graph.add(ObservationNode())
    stamp = graph.stamp()
    for topic in ("objects/block/pose", "goal_pose"):
        graph.publisher(PoseStamped, topic).publish(convert.pose_message(stamp, "world", POSES[topic], UPRIGHT))
    positions = simulator.joint_positions(0)
    graph.publisher(JointState, "joint_states").publish(convert.joint_state_message(stamp, JOINT_NAMES, positions))
    graph.spin_until(lambda: observations, "an observation")
    gripper = convert.observation_values(observations[0])[0, TASK.obs.slice("gripper_position")]
    np.testing.assert_allclose(gripper, simulator.frame.frame_pos_w[0, 0], atol=1e-6)


def test_f11_the_clock_may_jump_back(make_graph: MakeGraph, tmp_path: Path) -> None:
    """As when a bag starts over: earlier stamps count again, and the next observation is the first of an episode."""
    graph = make_graph(observation_node={"driver": write_driver(tmp_path), "use_sim_time": True})
    robot = Robot(graph)
    clock = graph.publisher(Clock, "/clock", qos.CLOCK)
    finger = TASK.obs.slice("finger_displacement")
    for time_s, position, step, displacement in ((100.0, 0.01, 0, 0), (100.04, 0.02, 1, 0.01), (50.0, 0.03, 0, 0)):
        stamp = convert.ns_to_stamp(round(time_s * 1e9))
        clock.publish(Clock(clock=stamp))
        graph.spin_until(lambda: robot.node.get_clock().now().to_msg() == stamp, "the time")  # noqa: B023
        robot.joints((position, 0.02), FINGERS, stamp)
        robot.poses(stamp)
        graph.spin_until(lambda: robot.observations and robot.observations[-1].header.stamp == stamp)  # noqa: B023
        assert robot.observations[-1].episode_step == step
        assert convert.observation_values(robot.observations[-1])[0, finger][0] == pytest.approx(displacement)
    assert robot.node.diagnostics.counters["refused_reordered"] == 0


def test_f12_time_from_a_clock_that_nobody_publishes_is_an_error(make_graph: MakeGraph, tmp_path: Path) -> None:
    """Said again with each report; and nothing is observed."""
    robot = Robot(make_graph(observation_node={"driver": write_driver(tmp_path), "use_sim_time": True}))
    robot.all()
    robot.refused("future", 4)
    for _ in range(2):
        status = robot.status(DiagnosticStatus.ERROR, "use_sim_time is true but nothing is published on /clock")
    assert text(status, "task") == "block"
    assert not robot.observations

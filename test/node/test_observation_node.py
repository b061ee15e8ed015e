"""observation_node: sensor messages in, observations out, and what it refuses."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from ros_graph import Graph, MakeGraph, text
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from reskill_core.config import config_to_dict
from reskill_ros import convert, qos
from reskill_ros.driver import load_driver
from reskill_ros.msg import EpisodeState, Observation
from reskill_ros.observation_node import ObservationNode
from reskill_sim.constants import JOINT_NAMES
from reskill_sim.simulator import Simulator
from reskill_sim.tasks import get_task

TASK = get_task("block").spec
FINGERS = TASK.obs.joints
UPRIGHT = (1.0, 0.0, 0.0, 0.0)
POSES = {"ee_pose": (1.3, 0.7, 0.5), "objects/block/pose": (1.2, 0.8, 0.425), "goal_pose": (1.4, 0.9, 0.425)}


def write_driver(folder: Path, **sensing: Any) -> str:
    """A driver with sensors like a robot's, and a time-out that a busy machine keeps."""
    document = config_to_dict(load_driver("sim"))
    document["base_frame"] = "world"
    document["sensing"] = {"trigger": "synchronised", "gripper": "topic", "timeout_s": 5.0, **sensing}
    path = folder / "driver.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)


class Robot:
    """Publishes what a driver would, and hears the observations."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.observations = graph.listen(Observation, "observation")
        self.diagnostics = graph.listen(DiagnosticArray, "/diagnostics")
        self.node = graph.add(ObservationNode())
        self._joints = graph.publisher(JointState, "joint_states")
        self._poses = {topic: graph.publisher(PoseStamped, topic) for topic in POSES}

    def joints(
        self, positions: Sequence[float] = (0.01, 0.02), names: Sequence[str] = FINGERS, stamp: Any = None
    ) -> None:
        self._joints.publish(convert.joint_state_message(stamp or self.graph.stamp(), names, positions))

    def pose(self, topic: str, stamp: Any, frame_id: str = "world", quat: Sequence[float] = UPRIGHT) -> None:
        self._poses[topic].publish(convert.pose_message(stamp, frame_id, POSES[topic], quat))

    def all(self, positions: Sequence[float] = (0.01, 0.02), names: Sequence[str] = FINGERS) -> Any:
        stamp = self.graph.stamp()
        self.joints(positions, names, stamp)
        for topic in POSES:
            self.pose(topic, stamp)
        return stamp

    def wait(self, count: int) -> None:
        self.graph.spin_until(lambda: len(self.observations) >= count, f"{count} observations")

    def observe(self, *args: Any) -> np.ndarray:
        """Publish everything and wait for the observation."""
        count = len(self.observations)
        self.all(*args)
        self.wait(count + 1)
        return convert.observation_values(self.observations[-1])[0]

    def refused(self, reason: str, count: int = 1) -> None:
        """Wait until something was refused for a reason."""
        counters = self.node._diagnostics.counters
        self.graph.spin_until(lambda: counters[f"refused_{reason}"] >= count, f"a refusal: {reason}")


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
        for name, publisher in zip(TASK.obs.frames, robot._poses.values(), strict=True):
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

    def error() -> str:
        statuses = [s for a in robot.diagnostics for s in a.status if s.name == "observation_node"]
        return statuses[-1].message if statuses and statuses[-1].level == b"\x02" else ""

    while not robot.observations:
        robot.all()
        robot.graph.spin_for(0.02)
    robot.graph.spin_until(lambda: "no fresh reading of" in error(), "the error")
    assert "joint_states" in error()
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
    assert "joint_states" not in robot.node._sensing._readings
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
    """Missing: refused with the name. Extra: no difference."""
    robot.all((0.01,), FINGERS[:1])
    robot.refused("missing_joint")
    assert not robot.observations
    values = robot.observe((0.01, 9.0, 0.02), (FINGERS[0], "bellows_joint", FINGERS[1]))
    assert values[TASK.obs.slice("finger_position")] == pytest.approx([0.01, 0.02])


def test_f07_duplicate_names_and_length_mismatches_are_refused(robot: Robot) -> None:
    """Both are counted, neither is observed."""
    robot.all((0.01, 0.02, 0.03), (*FINGERS, FINGERS[0]))
    robot.refused("duplicate_names")
    robot.all((0.01,), FINGERS)
    robot.refused("length_mismatch")
    assert not robot.observations


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


def test_time_from_a_clock_that_nobody_publishes_is_reported(make_graph: MakeGraph, tmp_path: Path) -> None:
    graph = make_graph(observation_node={"driver": write_driver(tmp_path), "use_sim_time": True})
    diagnostics = graph.listen(DiagnosticArray, "/diagnostics", qos.STATE)
    graph.add(ObservationNode())
    graph.spin_until(lambda: any("/clock" in s.message for a in diagnostics for s in a.status), "the report")
    assert text(diagnostics[-1].status[0], "task") == "block"

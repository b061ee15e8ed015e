"""observation_node and those who publish to it: in pieces, twice, once before it started, unheard, or garbage."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from observation_bench import FINGERS, POSES, TASK, UPRIGHT, Driver, Robot, write_driver
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from ros_graph import Graph, MakeGraph, text
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from reskill_core.sensing import Sensing, SensingConfig
from reskill_ros.drivers.driver_file import load_driver
from reskill_ros.msg import EpisodeState, Observation, SkillAction
from reskill_ros.nodes.sensor_report import SensorReport
from reskill_ros.plumbing import convert, qos
from reskill_ros.plumbing.diagnostics import Report
from reskill_sim.engine.simulator import Simulator
from reskill_sim.fetch.constants import ARM_JOINTS, JOINT_NAMES
from reskill_sim.fetch.tasks import get_task

ARM = ARM_JOINTS
RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
VOLATILE, KEPT = DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL


MOVING = ("ee_pose", "objects/block/pose")
GOAL = TASK.obs.slice("goal_position")


def profile(reliability: ReliabilityPolicy, durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=reliability, durability=durability)


class Pieces:
    """Arm and gripper by two controllers, on one topic, beside a third one of joints that nobody needs."""

    def __init__(self, graph: Graph) -> None:
        self.simulator = Simulator(get_task("block"))
        self.simulator.reset([3])
        self.positions = dict(zip(JOINT_NAMES, self.simulator.joint_positions(0).tolist(), strict=True))
        self.observations = graph.listen(Observation, "observation")
        self.robot = Robot(graph, ("objects/block/pose", "goal_pose"))
        spaces = {"/arm": ARM, "/gripper": FINGERS, "/head": ("neck",)}
        self.nodes = {space: graph.add(Node("controller", namespace=space)) for space in spaces}
        self._publishers: dict[str, Any] = {
            space: (node.create_publisher(JointState, "/joint_states", qos.STATE), spaces[space])
            for space, node in self.nodes.items()
        }

    def publish(self, *spaces: str) -> None:
        for space in spaces:
            publisher, names = self._publishers[space]
            positions = [self.positions.get(name, 0.0) for name in names]
            publisher.publish(convert.joint_state_message(self.robot.graph.stamp(), names, positions))
        self.robot.poses(self.robot.graph.stamp())
        self.robot.graph.spin_for(0.02)

    def publish_until(self, done: Any, *spaces: str) -> None:
        end_s = time.monotonic() + 60.0
        while not done():
            assert time.monotonic() < end_s
            self.publish(*spaces)


@pytest.fixture
def pieces(make_graph: MakeGraph, tmp_path: Path) -> Pieces:
    base = load_driver("fetch").sensing.base_position_w
    driver = write_driver(tmp_path, trigger="timer", gripper="kinematics", timeout_s=2.0, base_position_w=base)
    return Pieces(make_graph(observation_node={"driver": driver}))


def test_joint_states_in_pieces_are_merged(pieces: Pieces) -> None:
    """The observation is that of a whole message; a piece that stops is named, joint by joint, and nothing more."""
    pieces.publish_until(lambda: pieces.observations, "/arm", "/gripper", "/head")
    values = convert.observation_values(pieces.observations[-1])[0]
    frame = pieces.simulator.frame
    np.testing.assert_allclose(values[TASK.obs.slice("gripper_position")], frame.frame_pos_w[0, 0], atol=1e-6)
    assert values[TASK.obs.slice("finger_position")].tolist() == frame.joint_pos[0].tolist()
    assert not [name for name in pieces.robot.node.diagnostics.counters if name.startswith("refused")]
    pieces.publish_until(lambda: pieces.robot.last_status(DiagnosticStatus.ERROR), "/arm", "/head")
    message = pieces.robot.last_status(DiagnosticStatus.ERROR).message
    stale = re.findall(r"(\S+) \(\d\.\d+ s old\)", message)
    assert sorted(stale) == sorted(FINGERS)
    count = len(pieces.observations)
    pieces.publish("/arm")
    assert len(pieces.observations) == count
    pieces.publish_until(lambda: len(pieces.observations) > count, "/arm", "/gripper")


def test_each_source_says_how_often_and_how_lately_it_was_read(pieces: Pieces) -> None:
    """So that the slow one can be found: here the gripper comes half as often as the arm."""
    pieces.robot.clear_statuses()
    for _ in itertools.takewhile(lambda _: len(pieces.robot.statuses()) < 3, itertools.count()):
        pieces.publish("/arm", "/gripper")
        pieces.publish("/arm")
    status = pieces.robot.statuses()[-1]
    arm, finger = (float(text(status, f"joint_{name}_rate_hz")) for name in (ARM[0], FINGERS[0]))
    assert 1.5 < arm / finger < 2.7
    assert 0 <= float(text(status, f"joint_{FINGERS[0]}_age_ms")) < 1000
    assert float(text(status, "goal_rate_hz")) > finger


def test_f02_a_slow_source_is_named_with_its_rate(pieces: Pieces) -> None:
    """What observations wait for: here the arm, ten times a second at most, while all else is faster."""

    def noticed() -> Any:
        pieces.publish("/arm", "/gripper")
        for _ in range(4):
            pieces.publish("/gripper")
        return pieces.robot.last_status(DiagnosticStatus.WARN, "instead of 25; they need joint ")

    pieces.robot.graph.spin_until(noticed, "the warning")
    message = pieces.robot.last_status(DiagnosticStatus.WARN).message
    assert not any(f"{name} at" in message for name in FINGERS)
    rate = re.search(rf"joint {ARM[0]} at (\S+) Hz", message)
    assert rate is not None
    assert 0 < float(rate[1]) < 12


def test_f14_two_sources_of_one_joint_are_named(pieces: Pieces) -> None:
    """Pieces are none; a second controller of the same name in another namespace is."""

    def told() -> list[str]:
        return [status.message for status in pieces.robot.statuses() if " sources of " in status.message]

    pieces.robot.clear_statuses()
    pieces.publish_until(lambda: len(pieces.robot.statuses()) > 2, "/arm", "/gripper", "/head")
    assert not told()
    graph = pieces.robot.graph
    other = graph.add(Node("controller", namespace="/other"))
    second = other.create_publisher(JointState, "/joint_states", qos.SENSOR)

    def noticed() -> Any:
        second.publish(convert.joint_state_message(graph.stamp(), FINGERS[:1], (0.04,)))
        return told()

    infos: list[Any] = []
    graph.probe.create_subscription(JointState, "/joint_states", lambda _, info: infos.append(info), qos.SENSOR)
    pieces.publish_until(lambda: noticed() and infos, "/arm", "/gripper", "/head")
    named = ["/gripper/controller", "/other/controller"]
    if convert.publisher_id(infos[-1]) is None:  # Before Kilted, rclpy does not tell whose message it is.
        named = ["/arm/controller", "/gripper/controller", "/head/controller", "/other/controller", "/probe"]
    expected = f"/joint_states has 2 sources of joint {FINGERS[0]}: {', '.join(named)}"
    assert expected in told()[-1]


@pytest.mark.parametrize(
    ("kind", "topic"),
    [(Observation, "/observation"), (PoseStamped, "/goal_pose"), (EpisodeState, "/episode"), (Clock, "/clock")],
)
def test_f14_two_sources_of_anything_else_are_named(
    make_graph: MakeGraph, tmp_path: Path, kind: type, topic: str
) -> None:
    """With the full names of all who publish."""
    driver = write_driver(tmp_path, episodes=True)
    robot = Robot(make_graph(observation_node={"driver": driver, "use_sim_time": True}))
    for space in ("/left", "/right"):
        robot.graph.add(Node("sim_node", namespace=space)).create_publisher(kind, topic, qos.STATE)
    message = robot.status(DiagnosticStatus.ERROR, f"{topic} has ").message
    assert "/left/sim_node, " in message
    assert "/right/sim_node" in message


def test_f14_without_identities_from_the_middleware_sets_of_joints_tell_publishers_apart(make_graph: MakeGraph) -> None:
    """As in ROS distributions whose rclpy does not say which publisher a message is from."""
    graph = make_graph()
    sensing = Sensing(TASK, SensingConfig())
    sensors = SensorReport(graph.probe, sensing, "/joint_states", TASK.control_rate_hz)

    def report(*messages: tuple[str, ...]) -> str:
        for names in messages:
            publisher = sensors.publisher(list(names), {"source_timestamp": 1})
            sensing.offer_joints(dict.fromkeys(names, 0.0), 10**9, time.monotonic(), 10**9, publisher)
        told = Report()
        sensors.fill(told, 25.0, 0)
        return "; ".join(told.messages)

    for space in ("/left", "/right"):
        graph.add(Node("driver", namespace=space)).create_publisher(JointState, "/joint_states", qos.STATE)
    graph.spin_until(lambda: graph.probe.count_publishers("/joint_states") == 2, "both publishers")
    assert "publishers" not in report(FINGERS[:1], FINGERS[1:])
    expected = "/joint_states has 2 publishers of 1 sets of joints: /left/driver, /right/driver"
    assert expected in report(FINGERS, FINGERS)
    assert "/joint_states has 2 sources of joint" in report(FINGERS, FINGERS[:1], FINGERS)


@pytest.fixture
def robot(make_graph: MakeGraph, tmp_path: Path) -> Robot:
    return Robot(make_graph(observation_node={"driver": write_driver(tmp_path)}))


def published_once(graph: Graph, reliability: ReliabilityPolicy, durability: DurabilityPolicy) -> Any:
    """Publishes the goal a single time, long enough ago for any other reading to be too old."""
    planner = graph.add(Node("planner"))
    publisher = planner.create_publisher(PoseStamped, "goal_pose", profile(reliability, durability))
    stamp = convert.ns_to_stamp(time.time_ns() - 60_000_000_000)
    publisher.publish(convert.pose_message(stamp, "world", POSES["goal_pose"], UPRIGHT))
    return publisher


def static_goal(folder: Path) -> dict[str, str]:
    return {"driver": write_driver(folder, trigger="timer", static_frames=["goal"], timeout_s=2.0)}


def test_a_goal_kept_by_its_publisher_is_received_and_outlives_resets(make_graph: MakeGraph, tmp_path: Path) -> None:
    """Published once, before the node started, with a stamp from long before that."""
    graph = make_graph(observation_node=static_goal(tmp_path))
    published_once(graph, RELIABLE, KEPT)
    robot = Robot(graph, MOVING)
    assert robot.renew()[GOAL] == pytest.approx(POSES["goal_pose"])
    assert graph.call(Trigger, "observation_node/reset").success
    assert robot.renew()[GOAL] == pytest.approx(POSES["goal_pose"])
    assert robot.observations[-1].episode_step < len(robot.observations) - 1, "an episode began"


def test_an_episode_of_a_robot_begins_with_the_first_executed_action(make_graph: MakeGraph, tmp_path: Path) -> None:
    """While the gate refuses them, actions are not what the robot has done."""
    driver = write_driver(tmp_path, trigger="timer", timeout_s=5.0)
    robot = Robot(make_graph(observation_node={"driver": driver}))

    def steps(count: int) -> list[int]:
        """Steps of the next observations."""
        seen = len(robot.observations)
        while len(robot.observations) < seen + count:
            robot.renew()
        return [message.episode_step for message in robot.observations[seen : seen + count]]

    assert steps(3) == [0, 1, 2], "without a gate every observation counts"
    gate = robot.graph.publisher(SkillAction, "executed_action")
    robot.graph.spin_until(lambda: robot.node.count_publishers("executed_action"), "the gate")
    assert steps(3) == [0, 0, 0]
    gate.publish(SkillAction())
    robot.graph.spin_until(lambda: steps(1)[0] == 1, "the second step")
    assert steps(2) == [2, 3]
    assert robot.graph.call(Trigger, "observation_node/reset").success
    assert steps(2) == [0, 0]


@pytest.mark.parametrize("durability", [VOLATILE, KEPT], ids=["volatile", "transient_local"])
@pytest.mark.parametrize("reliability", [BEST_EFFORT, RELIABLE], ids=["best_effort", "reliable"])
def test_every_publisher_of_a_pose_is_heard(
    make_graph: MakeGraph, tmp_path: Path, reliability: ReliabilityPolicy, durability: DurabilityPolicy
) -> None:
    """While the node runs, whatever is offered; and nothing is said to be wrong with it."""
    robot = Robot(make_graph(observation_node=static_goal(tmp_path)), MOVING)
    planner = robot.graph.publisher(PoseStamped, "goal_pose", profile(reliability, durability))
    expected = 2 if (reliability, durability) == (RELIABLE, KEPT) else 1
    robot.graph.spin_until(lambda: planner.get_subscription_count() == expected, "all that hear it")
    for x in (1.1, 1.2):

        def observed() -> bool:
            planner.publish(convert.pose_message(robot.graph.stamp(), "world", (x, 0.7, 0.4), UPRIGHT))  # noqa: B023
            robot.all()
            robot.graph.spin_for(0.02)
            goals = [convert.observation_values(message)[0, GOAL][0] for message in robot.observations[-1:]]
            return goals == [x]  # noqa: B023

        robot.graph.spin_until(observed, f"the goal at {x}")
    assert not [name for name in robot.node.diagnostics.counters if name.startswith("refused")]
    robot.clear_statuses()
    robot.graph.spin_until(robot.statuses, "a status")
    assert "not heard" not in robot.statuses()[0].message


@pytest.mark.parametrize(
    ("kind", "topic"), [(JointState, "joint_states"), (PoseStamped, "goal_pose"), (EpisodeState, "episode")]
)
def test_f15_an_input_that_cannot_be_heard_is_an_error(
    make_graph: MakeGraph, tmp_path: Path, kind: type, topic: str
) -> None:
    """A driver file asks for reliable sensors, and somebody publishes with best effort."""
    robot = Robot(make_graph(observation_node={"driver": write_driver(tmp_path, episodes=True)}))
    robot.graph.probe.create_publisher(kind, topic, qos.SENSOR)
    robot.status(DiagnosticStatus.ERROR, f"{topic} is not heard from", "Best effort publisher and reliable")


def test_readings_that_never_have_one_stamp_are_an_error(robot: Robot) -> None:
    """A simulator's sensors do; of two controllers of a robot, each has its own."""

    def noticed() -> Any:
        stamps = [convert.ns_to_stamp(time.time_ns() - age_ns) for age_ns in (50_000_000, 0)]
        for name, stamp in zip(FINGERS, stamps, strict=True):
            robot.joints((0.01,), (name,), stamp)
        robot.poses(stamps[1])
        robot.graph.spin_for(0.02)
        return robot.last_status(DiagnosticStatus.ERROR, f"no reading of joint {FINGERS[0]} with the others' stamp")

    robot.graph.spin_until(noticed, "the error")
    assert not robot.observations


def garbage(good: bytes) -> dict[str, bytes]:
    """Bytes that are no joint state; ``good`` is one with two names."""
    names = good.index((2).to_bytes(4, "little"))
    return {
        "random": np.random.default_rng(0).bytes(4096),
        "text": b"GET / HTTP/1.1\r\n" * 8,
        "cut": good[: len(good) // 2],
        "four thousand million names": good[:names] + b"\xff" * 4 + good[names + 4 :],
        "a name of four thousand million letters": good[: names + 4] + b"\xff" * 4 + good[names + 8 :],
    }


def test_f47_garbage_is_told_once_and_so_is_its_end(make_graph: MakeGraph, tmp_path: Path) -> None:
    """One warning, one line when all is well again; and observations as before, by the node as people start it."""
    graph, log = make_graph(), tmp_path / "log"
    command = [sys.executable, "-m", "reskill_ros.nodes.observation_node", "--ros-args", "-p"]
    with log.open("w") as stream:
        node = subprocess.Popen([*command, f"driver:={write_driver(tmp_path, timeout_s=0.5)}"], stderr=stream)
    try:
        robot = Driver(graph)
        robot.renew()
        good = serialize_message(convert.joint_state_message(graph.stamp(), FINGERS, (0.01, 0.02)))
        kinds = itertools.cycle(garbage(good).values())

        def refused() -> bool:
            # What nothing follows is not passed over by the middleware.
            robot.joint_publisher.publish(next(kinds))
            return "refused: the bytes sent are no JointState" in log.read_text()

        graph.spin_until(refused, "the refusal")

        def well_again() -> bool:
            robot.renew()
            return "is well again" in log.read_text()

        graph.spin_until(well_again, "the end")
        counted = robot.status(DiagnosticStatus.ERROR, "no fresh reading")
        assert int(text(counted, "refused_undecodable")) >= 1
        assert node.poll() is None
    finally:
        node.terminate()
        node.wait(20)
    warnings = [line for line in log.read_text().splitlines() if "[WARN]" in line]
    assert len(warnings) == 1
    assert "/joint_states refused: the bytes sent are no JointState" in warnings[0]
    assert log.read_text().count("/joint_states is well again; ") == 1

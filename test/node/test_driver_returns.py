"""F38: a driver that is gone, killed or back is commanded from standstill and the measured pose, or not at all."""

from __future__ import annotations

import subprocess
import sys
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_bench import write_driver
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_graph import Graph, MakeGraph, text
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from reskill_ros.msg import Observation, SkillAction
from reskill_ros.nodes.command_node import CommandNode
from reskill_ros.plumbing import convert, qos

# Full speed ahead with the gripper closing: a jump would show.
ACTION = [1.0, 0.0, 0.0, -1.0]
FULL_SPEED = 1.25
GATE: dict[str, Any] = {"resume_after": 3, "max_step": [0.25, 0.25, 0.25, 2.0]}
RAMP = [0.25 * FULL_SPEED, 0.5 * FULL_SPEED, 0.75 * FULL_SPEED, FULL_SPEED]
KINDS = {"command/twist": TwistStamped, "gripper/command": JointTrajectory, "command/positions": Float64MultiArray}


class Driver(Node):
    """Ears of a robot, as a node of its own."""

    def __init__(self, *topics: str, name: str = "driver", profile: QoSProfile = qos.COMMAND) -> None:
        super().__init__(name)
        self.heard: dict[str, list[Any]] = {topic: [] for topic in topics}
        for topic, messages in self.heard.items():
            self.create_subscription(KINDS[topic], topic, messages.append, profile)

    @property
    def speeds(self) -> list[float]:
        return [convert.twist_velocity(message)[0] for message in self.heard["command/twist"]]


class Loop:
    """A command node whose observations and actions keep coming, whether anybody listens or not."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.statuses: list[DiagnosticStatus] = graph.listen(DiagnosticStatus, "command/status", qos.LATCHED)
        self.executed = graph.listen(SkillAction, "executed_action")
        self.place = [1.3, 0.7, 0.5]
        self.acted = 0
        # Hears everything that is sent, and is no driver: its name is that of a hidden node. What a driver hears begins
        # only when the middleware has connected its end, too.
        self.sent = graph.add(Driver(*KINDS, name="_witness", profile=qos.RECORD))
        graph.add(CommandNode())
        self._observations = graph.probe.create_publisher(Observation, "observation", qos.STATE)
        self._actions = graph.publisher(SkillAction, "skill_action")
        graph.probe.create_timer(0.04, self.act)

    def act(self) -> None:
        stamp = self.graph.stamp()
        observation = Observation(task="block", values=array("d", [*self.place, 0.03, 0.03, *[0.0] * 20]))
        action = SkillAction(action=array("f", ACTION))
        observation.header.stamp = action.header.stamp = stamp
        self._observations.publish(observation)
        self._actions.publish(action)
        self.acted += 1

    def wait_for(self, state: str) -> DiagnosticStatus:
        self.graph.spin_until(lambda: self.statuses and text(self.statuses[-1], "state") == state, state)
        return self.statuses[-1]

    def wait_actions(self, count: int) -> None:
        """Until so many more actions have been decided, and what they lead to has arrived."""
        until = self.acted + count
        self.graph.spin_until(lambda: self.acted >= until, "actions")


@pytest.fixture
def make_loop(make_graph: MakeGraph, tmp_path: Path) -> Callable[..., Loop]:
    def make(base: str = "sim", command: dict[str, Any] | None = None, **gate: Any) -> Loop:
        driver = write_driver(tmp_path, base, command, **GATE, workspace_low=[], workspace_high=[], **gate)
        return Loop(make_graph(command_node={"driver": driver, "auto_arm": True}))

    return make


OPEN_CLOSE = {"adapter": "servo_twist", "options": {"gripper": {"mode": "open_close"}}}


def test_f38_without_a_driver_nothing_counts_as_executed_and_its_return_is_a_new_start(
    make_loop: Callable[..., Loop],
) -> None:
    loop = make_loop(command=OPEN_CLOSE)
    first = loop.graph.add(Driver("command/twist", "gripper/command"))
    loop.graph.spin_until(lambda: FULL_SPEED in first.speeds, "full speed")
    assert len(first.heard["gripper/command"]) == 1
    loop.graph.remove(first)
    status = loop.wait_for("holding")
    assert status.level == DiagnosticStatus.ERROR
    assert "no driver listens on /command/twist, /gripper/command" in status.message
    loop.wait_actions(2)
    executed = len(loop.executed)
    loop.wait_actions(10)
    assert len(loop.executed) == executed, "nothing is executed by nobody"
    commands, grips = len(loop.sent.speeds), len(loop.sent.heard["gripper/command"])
    assert loop.sent.speeds[-1] == 0.0
    second = loop.graph.add(Driver("command/twist", "gripper/command"))
    loop.graph.spin_until(lambda: FULL_SPEED in second.speeds and len(loop.sent.speeds) >= commands + 4, "full speed")
    assert loop.sent.speeds[commands : commands + 4] == RAMP
    loop.graph.spin_until(lambda: len(loop.sent.heard["gripper/command"]) > grips, "the gripper's state, anew")
    assert list(loop.sent.heard["gripper/command"][-1].points[0].positions) == [0.0, 0.0]


def test_f38_one_of_two_topics_without_a_driver_stops_the_other(make_loop: Callable[..., Loop]) -> None:
    """The arm does not go on while nobody moves its gripper; it gets the safe command."""
    loop = make_loop()
    arm = loop.graph.add(Driver("command/twist", name="arm"))
    gripper = loop.graph.add(Driver("gripper/command", name="gripper"))
    loop.graph.spin_until(lambda: FULL_SPEED in arm.speeds, "full speed")
    loop.graph.remove(gripper)
    assert loop.wait_for("holding").message.endswith("no driver listens on /gripper/command")
    loop.graph.spin_until(lambda: arm.speeds[-1] == 0.0, "the safe command")
    count = len(arm.speeds)
    loop.wait_actions(10)
    assert len(arm.speeds) == count


def test_f38_a_driver_that_comes_back_too_late_is_told_nothing(make_loop: Callable[..., Loop]) -> None:
    """Disarmed meanwhile: not one command until somebody arms."""
    loop = make_loop(disarm_after_s=0.3)
    first = loop.graph.add(Driver("command/twist", "gripper/command"))
    loop.graph.spin_until(lambda: FULL_SPEED in first.speeds, "full speed")
    loop.graph.remove(first)
    status = loop.wait_for("disarmed")
    assert status.level == DiagnosticStatus.ERROR
    assert "held for 0.3 s (no driver listens on /command/twist, /gripper/command); arm again" in status.message
    second = loop.graph.add(Driver("command/twist", "gripper/command"))
    loop.graph.spin_until(lambda: "no driver" not in loop.statuses[-1].message.rpartition(";")[2], "a report")
    loop.wait_actions(20)
    assert second.heard == {"command/twist": [], "gripper/command": []}
    commands = len(loop.sent.speeds)
    assert loop.graph.call(Trigger, "command_node/arm").success
    loop.graph.spin_until(lambda: second.speeds and len(loop.sent.speeds) > commands, "motion")
    assert loop.sent.speeds[commands] == RAMP[0]


def test_f38_setpoints_start_from_where_the_robot_is_by_then(make_loop: Callable[..., Loop]) -> None:
    """Moved by hand while its driver was away: the first setpoint is a step from there, not from before."""
    loop = make_loop("cartesian_forward")
    first = loop.graph.add(Driver("command/positions"))
    loop.graph.spin_until(lambda: len(first.heard["command/positions"]) > 4, "setpoints")
    assert list(first.heard["command/positions"][-1].data)[:3] == pytest.approx([1.325, 0.7, 0.5])
    loop.graph.remove(first)
    loop.wait_for("holding")
    loop.place = [1.1, 0.9, 0.6]
    loop.wait_actions(5)
    commands = len(loop.sent.heard["command/positions"])
    second = loop.graph.add(Driver("command/positions"))
    sent = loop.sent.heard["command/positions"]
    loop.graph.spin_until(lambda: second.heard["command/positions"] and len(sent) > commands, "a setpoint")
    step_m = 0.25 * FULL_SPEED * 0.04
    assert list(sent[commands].data)[:3] == pytest.approx([1.1 + step_m, 0.9, 0.6])


def test_f38_who_only_watches_is_no_driver(make_loop: Callable[..., Loop]) -> None:
    """A recorder or `ros2 topic echo` that listens moves nothing, and starting one stops nothing."""
    loop = make_loop()
    for name in ("bag_recorder_node", "_ros2cli_1234"):
        loop.graph.add(Driver("command/twist", "gripper/command", name=name))
    loop.graph.spin_until(lambda: loop.statuses and "no driver listens" in loop.statuses[-1].message, "the report")
    loop.wait_actions(20)
    assert not loop.executed
    driver = loop.graph.add(Driver("command/twist", "gripper/command"))
    loop.graph.spin_until(lambda: FULL_SPEED in driver.speeds, "full speed")
    loop.graph.add(Driver("command/twist", "gripper/command", name="rosbag2_recorder"))
    loop.wait_actions(20)
    assert 0.0 not in driver.speeds


def test_f15_a_driver_that_cannot_hear_is_told_from_none(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop()
    kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    loop.graph.add(Driver("command/twist", "gripper/command", profile=kept))
    loop.graph.spin_until(lambda: loop.statuses and "driver does not hear" in loop.statuses[-1].message, "the report")
    assert "driver does not hear /command/twist" in loop.statuses[-1].message
    assert loop.statuses[-1].level == DiagnosticStatus.ERROR
    assert not loop.executed


PROCESS = """
import rclpy
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory

rclpy.init()
node = Node("driver")
node.create_subscription(JointTrajectory, "gripper/command", lambda _: None, 10)
node.create_subscription(TwistStamped, "command/twist", lambda _: None, 10)
rclpy.spin(node)
"""


@pytest.fixture
def start_driver() -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-c", PROCESS]))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_f38_a_killed_driver_that_is_started_again_is_warmed_up_for(
    make_loop: Callable[..., Loop], start_driver: Callable[[], subprocess.Popen[bytes]]
) -> None:
    """The middleware takes the dead one for alive for many seconds more, so that there always is a subscriber."""

    loop = make_loop()
    process = start_driver()
    loop.graph.spin_until(lambda: FULL_SPEED in loop.sent.speeds, "full speed")
    process.kill()
    process.wait()
    assert 0.0 not in loop.sent.speeds
    start_driver()
    loop.graph.spin_until(lambda: 0.0 in loop.sent.speeds and loop.sent.speeds[-1] == FULL_SPEED, "full speed again")
    standstill = loop.sent.speeds.index(0.0)
    assert loop.sent.speeds[standstill + 1 :][:4] == RAMP
    loop.graph.spin_until(lambda: text(loop.statuses[-1], "driver_losses") == "1", "the report")

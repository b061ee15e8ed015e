"""``reskill doctor``: a healthy robot has no errors, and each fault is found and named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from described_arms import describe, start_joint_states
from geometry_msgs.msg import PoseStamped, Twist
from ros_graph import Graph, MakeGraph
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from reskill_core.config import config_to_dict
from reskill_ros.drivers.driver_file import load_driver
from reskill_ros.plumbing import convert, qos
from reskill_ros.tools.doctor import Finding, Level, page

ARM = "scaled_joint_trajectory_controller/joint_trajectory"
GRIPPER = "gripper_controller/joint_trajectory"
UPRIGHT = (1.0, 0.0, 0.0, 0.0)


class Robot:
    """A UR5e's driver and perception, with faults to choose from."""

    def __init__(self, graph: Graph, frame: str = "base_link", without: tuple[str, ...] = ()) -> None:
        self.graph, self._frame = graph, frame
        self._described = describe(graph.probe, "" if "description" in without else "ur5e")
        self._joints = graph.probe.create_publisher(JointState, "joint_states", 10)
        self._block = graph.probe.create_publisher(PoseStamped, "perception/block/pose", 10)
        self._goal = graph.probe.create_publisher(PoseStamped, "goal_pose", qos.LATCHED)
        self._without = without
        self._publish(self._goal, (0.6, 0.1, 0.02))
        for topic in {ARM, GRIPPER} - set(without):
            graph.probe.create_subscription(JointTrajectory, topic, lambda message: None, 10)
        graph.probe.create_timer(0.01, self._tick)

    def _tick(self) -> None:
        message = start_joint_states(self.graph.probe, "ur5e")
        if "finger_joint" not in self._without:
            message.name, message.position = [*message.name, "finger_joint"], [*message.position, 0.1]
        self._joints.publish(message)
        if "block" not in self._without:
            self._publish(self._block, (0.5, 0.0, 0.02))

    def _publish(self, publisher: Any, position: tuple[float, float, float]) -> None:
        publisher.publish(convert.pose_message(self.graph.stamp(), self._frame, position, UPRIGHT))

    def examined(self, *arguments: str) -> tuple[int, str]:
        """Exit code and page."""
        command = [sys.executable, "-m", "reskill_sim.cli.main", "doctor", *arguments, "--duration", "1"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.graph.spin_until(lambda: process.poll() is not None, "the page")
        return process.returncode, process.communicate()[0]


def patient_driver(folder: Path, **sensing: Any) -> str:
    """The UR5e's driver file, with a time-out for a busy machine."""
    document = config_to_dict(load_driver("ur5e"))
    document["sensing"] |= {"timeout_s": 20.0, **sensing}
    path = folder / "driver.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)


def test_a_healthy_robot_has_no_errors(make_graph: MakeGraph, tmp_path: Path) -> None:
    robot = Robot(make_graph())
    code, text = robot.examined("--driver", patient_driver(tmp_path), "--skills", "agents/clean_up")
    assert code == 0, text
    assert "0 errors" in text
    for line in (
        "agent of task clean_up, 25 Hz, 25 observed values",
        "UR5e with a joint trajectory controller",
        "arm with the joints shoulder_pan_joint",
        "/joint_states from /probe",
        "/goal_pose from /probe: 1 messages, static",
        "all 7 needed joints are published",
        "gripper at ",
        f"/{ARM}: /probe listens",
    ):
        assert line in text, f"{line}\n\n{text}"


def test_each_fault_of_a_robot_is_named_with_its_remedy(make_graph: MakeGraph, tmp_path: Path) -> None:
    graph = make_graph()
    rival = graph.probe.create_publisher(JointTrajectory, ARM, 10)
    graph.probe.create_subscription(Twist, GRIPPER, lambda message: None, 10)
    robot = Robot(graph, frame="camera", without=("finger_joint", "block", GRIPPER))
    code, text = robot.examined("--driver", patient_driver(tmp_path, base_position_w=[0.0, 0.0, 0.0]))
    assert code == 1
    for line in (
        "/perception/block/pose: /probe published nothing",
        "/goal_pose: in frame 'camera', base_frame is 'base_link'",
        "not published: finger_joint (observation)",
        "outside of the workspace box along x, y",
        f"/{GRIPPER}: /probe takes geometry_msgs/msg/Twist, the adapter sends trajectory_msgs/msg/JointTrajectory",
        f"/{ARM} is also published by /probe",
    ):
        assert line in text, f"{line}\n\n{text}"
    assert rival.topic_name == f"/{ARM}"


def test_what_is_not_there_at_all_is_named(make_graph: MakeGraph, tmp_path: Path) -> None:
    robot = Robot(make_graph(), without=("description", ARM, GRIPPER))
    code, text = robot.examined("--driver", "fetch", "--task", "block")
    assert code == 1
    assert f"/{load_driver('fetch').command.options['topic']}: no driver listens" in text
    assert "not published: " in text


def test_a_damaged_checkpoint_and_a_wrong_driver_file_are_errors(make_graph: MakeGraph, tmp_path: Path) -> None:
    robot = Robot(make_graph())
    code, text = robot.examined("--skills", str(tmp_path))
    assert (code, "ERROR" in text) == (1, True)
    code, text = robot.examined("--driver", "ur5")
    assert code == 1
    assert "did you mean ur5e" in text
    code, text = robot.examined()
    assert code == 0, text


def test_the_page_groups_findings_and_counts_them() -> None:
    findings = [
        Finding("A", Level.OK, "fine"),
        Finding("B", Level.ERROR, "broken", "mend it"),
        Finding("A", Level.WARN, "worn"),
    ]
    assert page(findings).splitlines() == [
        "A",
        "  OK     fine",
        "  WARN   worn",
        "",
        "B",
        "  ERROR  broken",
        "         -> mend it",
        "",
        "1 errors, 1 warnings, 1 checks passed",
    ]

"""``reskill doctor``: a healthy robot has no errors, and each fault is found and named."""

from __future__ import annotations

from pathlib import Path

import pytest
from doctor_bench import ARM, GRIPPER, Robot, patient_driver
from geometry_msgs.msg import Twist
from ros_graph import MakeGraph
from trajectory_msgs.msg import JointTrajectory

from reskill_ros.drivers.driver_file import load_driver
from reskill_ros.tools.doctor import Finding, Level, page


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
        "/goal_pose from /probe: pose is in frame 'camera', the driver file says 'base_link'",
        "not published: finger_joint (observation)",
        "outside of the workspace box along x, y",
        f"/{GRIPPER}: /probe takes geometry_msgs/msg/Twist, the adapter sends trajectory_msgs/msg/JointTrajectory",
        f"/{ARM} is also published by /probe",
    ):
        assert line in text, f"{line}\n\n{text}"
    assert rival.topic_name == f"/{ARM}"


@pytest.mark.parametrize(
    ("task", "finger", "is_named"),
    [("slippery_push", 0.1, True), ("slippery_push", 0.79, False), ("block", 0.1, False)],
)
def test_an_open_gripper_that_stays_closed_is_named(
    make_graph: MakeGraph, tmp_path: Path, task: str, finger: float, is_named: bool
) -> None:
    robot = Robot(make_graph(), finger=finger)
    _, text = robot.examined("--driver", patient_driver(tmp_path), "--task", task)
    assert ("the gripper is open by 88 mm, and stays closed in slippery_push" in text) == is_named, text


def test_joint_states_that_are_late_for_a_moment_are_not_missing(make_graph: MakeGraph, tmp_path: Path) -> None:
    """They are fresh for a quarter of the time only, which is a finding of its own."""
    robot = Robot(make_graph(), period_s=0.4)
    _, text = robot.examined("--driver", patient_driver(tmp_path, timeout_s=0.1))
    assert "commands need" not in text, text
    assert "/joint_states from /probe: 2" in text, text


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

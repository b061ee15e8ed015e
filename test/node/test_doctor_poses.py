"""``reskill doctor`` on poses from tf and from arrays of detections."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from doctor_bench import UPRIGHT, Robot, patient_driver
from geometry_msgs.msg import TransformStamped
from ros_graph import Graph, MakeGraph

from reskill_ros.plumbing import convert
from reskill_ros.tools.doctor.listening import Expected, Readings


class Tf:
    """Broadcasts what a test says, at 50 Hz; static transforms once."""

    def __init__(self, graph: Graph, moving: dict[str, str], static: dict[str, str]) -> None:
        """Child to parent."""
        import tf2_ros

        self._graph, self._moving = graph, moving
        self._broadcaster = tf2_ros.TransformBroadcaster(graph.probe)
        if static:
            self._static = tf2_ros.StaticTransformBroadcaster(graph.probe)
            self._static.sendTransform([self._transform(*link) for link in static.items()])
        graph.probe.create_timer(0.02, self._tick)

    def _tick(self) -> None:
        self._broadcaster.sendTransform([self._transform(*link) for link in self._moving.items()])

    def _transform(self, child: str, parent: str) -> TransformStamped:
        message = TransformStamped(child_frame_id=child)
        message.header.frame_id, message.header.stamp = parent, self._graph.stamp()
        message.transform.rotation.w = 1.0
        return message


@pytest.fixture
def make_robot(make_graph: MakeGraph) -> Callable[..., Robot]:
    """A robot without pose topics."""

    def make(package: str) -> Robot:
        pytest.importorskip(package, reason=f"{package.removesuffix('.msg')} is not installed; pip has none")
        return Robot(make_graph(), without=("block",))

    return make


def has(text: str, *lines: str) -> None:
    for line in lines:
        assert line in text, f"{line}\n\n{text}"


def test_a_source_that_the_task_does_not_need_is_named(make_graph: MakeGraph, tmp_path: Path) -> None:
    robot = Robot(make_graph())
    sources = {"cup": {"topic": "cup"}, "block": {"topic": "perception/block/pose"}}
    code, text = robot.examined("--driver", patient_driver(tmp_path, sources), "--task", "block")
    assert code == 0, text
    has(text, "WARN   poses.cup is not used: allowed: block, goal", "fine, if the driver file serves other tasks, too")


def test_a_missing_package_is_named(make_graph: MakeGraph, tmp_path: Path) -> None:
    """Which is not there where ROS 2 comes from pip."""
    if find_spec("tf2_ros"):
        pytest.skip("tf2_ros is installed")
    driver = patient_driver(tmp_path, {"block": {"kind": "tf", "name": "tag"}})
    code, text = Robot(make_graph()).examined("--driver", driver, "--task", "block")
    assert code == 1
    has(text, "ERROR  poses from tf: tf2_ros is not installed: apt install ros-$ROS_DISTRO-tf2-ros-py")


def test_transforms_that_are_there_have_rate_and_age(make_robot: Any, tmp_path: Path) -> None:
    robot = make_robot("tf2_ros")
    tf = Tf(robot.graph, {"tag": "camera"}, {"camera": "base_link", "table": "base_link"})
    sources = {"block": {"kind": "tf", "name": "tag"}, "goal": {"kind": "tf", "name": "table"}}
    code, text = robot.examined("--driver", patient_driver(tmp_path, sources), "--task", "block")
    assert code == 0, text
    has(
        text,
        "tf from 'base_link' to 'tag' (block): ",
        " Hz, age ",
        "tf from 'base_link' to 'table' (goal): 1 messages, static",
    )
    assert tf is not None


def test_transforms_that_are_not_there_are_errors_with_a_reason(make_robot: Any, tmp_path: Path) -> None:
    robot = make_robot("tf2_ros")
    sources = {"block": {"kind": "tf", "name": "tga"}, "goal": {"kind": "tf", "name": "table"}}
    driver = patient_driver(tmp_path, sources, static_frames=[])
    code, text = robot.examined("--driver", driver, "--task", "block")
    assert code == 1
    has(text, "/tf and /tf_static: nobody publishes them", "start robot_state_publisher")
    tf = Tf(robot.graph, {"tag": "camera"}, {"table": "base_link"})
    code, text = robot.examined("--driver", driver, "--task", "block")
    assert code == 1
    has(
        text,
        "ERROR  tf from 'base_link' to 'tga' (block): no transform to 'base_link' from 'tga'",
        "ERROR  tf from 'base_link' to 'table' (goal): the transform to 'base_link' from 'table' is static",
    )
    assert tf is not None


class Detector:
    """Detects objects by id, at 50 Hz."""

    def __init__(self, graph: Graph, frame: str, *names: str) -> None:
        from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

        self._graph, self._frame = graph, frame
        pose = convert.pose_message(graph.stamp(), "", (0.5, 0.0, 0.02), UPRIGHT).pose
        self._array = Detection3DArray()
        for name in names:
            result = ObjectHypothesisWithPose()
            result.pose.pose = pose
            self._array.detections.append(Detection3D(id=name, results=[result]))
        self._publisher = graph.probe.create_publisher(Detection3DArray, "detections", 10)
        graph.probe.create_timer(0.02, self._tick)

    def _tick(self) -> None:
        self._array.header.stamp, self._array.header.frame_id = self._graph.stamp(), self._frame
        self._publisher.publish(self._array)


def from_detections(name: str) -> dict[str, str]:
    return {"kind": "detection3d_array", "topic": "detections", "name": name}


def test_detections_have_rate_and_age_and_missing_ones_name_what_was_detected(make_robot: Any, tmp_path: Path) -> None:
    robot = make_robot("vision_msgs.msg")
    Detector(robot.graph, "base_link", "7", "8", "9", "9")
    sources = {"block": from_detections("7"), "goal": from_detections("goal"), "gripper": from_detections("9")}
    driver = patient_driver(tmp_path, sources, gripper="topic", static_frames=[])
    code, text = robot.examined("--driver", driver, "--task", "block")
    assert code == 1
    has(
        text,
        "/detections from /probe, '7' (block): ",
        "ERROR  /detections: /probe detected no 'goal' (goal)",
        "detected: '7', '8', '9'; poses.goal.name says what to look for",
        "ERROR  /detections from /probe, '9' (gripper): 2 detections are '9'",
    )


def test_a_silent_detector_and_detections_in_another_frame_are_errors(make_robot: Any, tmp_path: Path) -> None:
    robot = make_robot("vision_msgs.msg")
    from vision_msgs.msg import Detection3DArray

    silent = robot.graph.probe.create_publisher(Detection3DArray, "detections", 10)
    driver = patient_driver(tmp_path, {"block": from_detections("7")})
    code, text = robot.examined("--driver", driver, "--task", "block")
    assert code == 1
    has(text, "ERROR  /detections: /probe published nothing")
    robot.graph.probe.destroy_publisher(silent)
    Detector(robot.graph, "camera", "7")
    code, text = robot.examined("--driver", driver, "--task", "block")
    assert code == 1
    has(text, "'7' (block): pose is in frame 'camera', the driver file says 'base_link'")


def test_detections_are_transformed_where_the_driver_file_says_so(make_robot: Any, tmp_path: Path) -> None:
    pytest.importorskip("tf2_ros", reason="tf2_ros is not installed; pip has none")
    robot = make_robot("vision_msgs.msg")
    Detector(robot.graph, "camera", "7")
    tf = Tf(robot.graph, {}, {"camera": "base_link"})
    driver = patient_driver(tmp_path, {"block": from_detections("7")}, transform_poses=True)
    code, text = robot.examined("--driver", driver, "--task", "block")
    assert code == 0, text
    has(text, "/detections from /probe, '7' (block): ", " Hz, age ")
    assert tf is not None


def test_old_and_slow_readings_are_told_from_good_ones(make_graph: MakeGraph) -> None:
    """By hand: ten readings, all one second old."""
    graph, readings = make_graph(), Readings()
    for _ in range(10):
        readings.add(graph.probe, convert.stamp_to_ns(graph.stamp()) - 1_000_000_000)
    [finding] = readings.findings("tf", Expected(1.0, 0.5))
    assert (finding.level.name, "sensing.timeout_s is 0.5 s" in finding.text) == ("ERROR", True)
    [finding] = readings.findings("tf", Expected(1e9, 100.0))
    assert (finding.level.name, "the task needs 1e+09 Hz" in finding.text) == ("WARN", True)
    [finding] = readings.findings("tf", Expected(1.0, 0.5, is_static=True))
    assert finding.level.name == "OK"

"""Poses from arrays of detections, in observation_node."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Pose
from observation_bench import TASK, UPRIGHT, Robot, write_pose_driver
from ros_graph import Graph, MakeGraph

from reskill_ros.plumbing import convert

KINDS = ("detection3d_array", "aruco_detection")
PLACES = {"7": (1.2, 0.8, 0.425), "8": (1.4, 0.9, 0.425), "9": (0.0, 0.0, 0.0)}


def pose(position: Any, quat_wxyz: Any = UPRIGHT) -> Pose:
    return convert.pose_message(convert.ns_to_stamp(0), "", position, quat_wxyz).pose


class ObjectDetector:
    """Publishes vision_msgs/Detection3DArray."""

    def __init__(self) -> None:
        self.messages = pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed; pip has none")
        self.kind = self.messages.Detection3DArray

    def message(self, detections: list[tuple[str, Pose]]) -> Any:
        """Ids alternate between the detection's own and its class."""
        message = self.kind()
        for name, detected in detections:
            result = self.messages.ObjectHypothesisWithPose()
            result.pose.pose, result.hypothesis.score = detected, 0.9
            detection = self.messages.Detection3D(results=[result])
            if int(name) % 2:
                detection.id = name
            else:
                result.hypothesis.class_id = name
            message.detections.append(detection)
        return message


class MarkerDetector:
    """Publishes aruco_opencv_msgs/ArucoDetection."""

    def __init__(self) -> None:
        reason = "aruco_opencv_msgs is not installed; pip has none"
        self.messages = pytest.importorskip("aruco_opencv_msgs.msg", reason=reason)
        self.kind = self.messages.ArucoDetection

    def message(self, detections: list[tuple[str, Pose]]) -> Any:
        markers = [self.messages.MarkerPose(marker_id=int(name), pose=found) for name, found in detections]
        return self.kind(markers=markers)


class Scene:
    """A robot whose block and goal one detector sees."""

    def __init__(self, graph: Graph, detector: ObjectDetector | MarkerDetector) -> None:
        self.graph, self.robot, self._detector = graph, Robot(graph, ("ee_pose",)), detector
        self._publisher = graph.publisher(detector.kind, "camera/detections")

    def detect(self, *detections: tuple[str, Pose], frame: str = "world", stamp: Any = None) -> None:
        message = self._detector.message(list(detections))
        message.header.frame_id, message.header.stamp = frame, stamp or self.graph.stamp()
        self._publisher.publish(message)

    def observe(self, *detections: tuple[str, Pose]) -> Any:
        """Publish everything with one stamp, and wait for the observation."""
        count = len(self.robot.observations)
        self.detect(*detections, stamp=self.robot.all())
        self.robot.wait(count + 1)
        return convert.observation_values(self.robot.observations[-1])[0]


@pytest.fixture(params=KINDS)
def make_scene(request: pytest.FixtureRequest, make_graph: MakeGraph, tmp_path: Path) -> Callable[..., Scene]:
    detector = ObjectDetector() if request.param == KINDS[0] else MarkerDetector()

    def make(**sensing: Any) -> Scene:
        source = {"kind": request.param, "topic": "camera/detections"}
        poses = {"block": {**source, "name": "7"}, "goal": {**source, "name": "8"}}
        driver = write_pose_driver(tmp_path, poses, **sensing)
        return Scene(make_graph(observation_node={"driver": driver}), detector)

    return make


def test_frames_are_found_in_one_array_whatever_its_order(make_scene: Any) -> None:
    scene = make_scene(trigger="synchronised")
    for names in ("789", "987"):
        values = scene.observe(*((name, pose(PLACES[name])) for name in names))
        assert values[TASK.obs.slice("block_position")] == pytest.approx(PLACES["7"])
        assert values[TASK.obs.slice("goal_position")] == pytest.approx(PLACES["8"])
    topics = [subscription.topic_name for subscription in scene.robot.node.subscriptions]
    assert topics.count("/camera/detections") == 1


def test_what_is_not_detected_any_more_becomes_old(make_scene: Any) -> None:
    """Arrays go on coming, with the others."""
    scene = make_scene(timeout_s=0.5)
    both = [(name, pose(PLACES[name])) for name in "78"]

    def all_again(detections: Any) -> None:
        scene.detect(*detections)
        scene.robot.all()

    def observed() -> bool:
        all_again(both)
        return bool(scene.robot.observations)

    scene.graph.spin_until(observed, "an observation")
    scene.robot.clear_statuses()

    def lost() -> Any:
        all_again(both[1:])
        return scene.robot.last_status(DiagnosticStatus.ERROR, "no fresh reading of block (", " s old)")

    scene.graph.spin_until(lost, "the error")
    assert "goal" not in scene.robot.statuses()[-1].message
    assert not [name for name in scene.robot.node.diagnostics.counters if name.startswith("refused")]


@pytest.mark.parametrize(
    ("blocks", "reason"),
    [
        ([PLACES["7"], PLACES["7"]], "duplicate_ids"),
        ([(1.2, math.nan, 0.4)], "non_finite"),
        ([(*PLACES["7"], 0.0, 0.0, 0.0, 0.0)], "bad_quaternion"),
    ],
)
def test_a_bad_detection_is_refused_and_the_others_of_its_array_are_not(
    make_scene: Any, blocks: Any, reason: str
) -> None:
    scene = make_scene(trigger="synchronised")
    bad = [("7", pose(values[:3], values[3:] or UPRIGHT)) for values in blocks]
    stamp = scene.robot.all()
    scene.detect(*bad, ("8", pose(PLACES["8"])), stamp=stamp)
    scene.robot.refused(reason)
    assert not scene.robot.observations
    # The goal of the same array has been taken: the block alone completes the observation.
    scene.detect(("7", pose(PLACES["7"])), stamp=stamp)
    scene.robot.wait(1)
    assert scene.robot.node.diagnostics.counters[f"refused_{reason}"] == 1


def test_an_array_in_another_frame_or_without_a_stamp_is_refused(make_scene: Any) -> None:
    scene = make_scene()
    scene.detect(("7", pose(PLACES["7"])), frame="camera")
    scene.robot.refused("wrong_frame")
    scene.detect(("7", pose(PLACES["7"])), stamp=convert.ns_to_stamp(0))
    scene.robot.refused("zero_stamp")
    scene.robot.status(DiagnosticStatus.ERROR, "block (never came)")

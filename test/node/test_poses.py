"""Where poses come from: what a driver file may say, and the logic that needs no packages of tf or detectors.

What needs them is in test_poses_from_tf.py and test_poses_from_arrays.py.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion
from observation_bench import TASK, UPRIGHT, Robot, write_pose_driver
from ros_graph import MakeGraph

from reskill_core.config import config_from_dict
from reskill_core.errors import ConfigError
from reskill_core.frames import RigidTransform
from reskill_core.resources import config_folder
from reskill_core.sensing import MessageError
from reskill_ros.drivers.driver_file import DriverConfig, load_driver
from reskill_ros.drivers.poses import PoseConfig, StampedPose
from reskill_ros.drivers.poses.detections import ARRAYS
from reskill_ros.drivers.poses.looked_up_poses import LookedUpPoses
from reskill_ros.drivers.poses.pose_topics import BaseFrame, PoseTopic
from reskill_ros.drivers.poses.transforms import Transforms
from reskill_ros.nodes.observation_node import ObservationNode
from reskill_ros.plumbing import convert, qos

# Half a turn about x: y and z change their signs.
UPSIDE_DOWN = (0.0, 1.0, 0.0, 0.0)


class KnownTransforms(Transforms):
    """Transforms to the base frame that a test makes up, by the name of the other frame."""

    def __init__(self, **known: tuple[RigidTransform, int]) -> None:
        self.known = known

    def newest(self, target: str, source: str) -> tuple[RigidTransform, int]:
        if (target, source) not in {("base", name) for name in self.known}:
            raise MessageError("unknown_frame", source)
        return self.known[source]

    def at(self, target: str, source: str, stamp_ns: int) -> RigidTransform:
        transform, newest_ns = self.newest(target, source)
        if stamp_ns > newest_ns:
            raise MessageError("extrapolation", source)
        return transform

    def clear(self) -> None:
        self.known.clear()


class Received:
    """What a source offers: readings by frame, and reasons of refusals."""

    def __init__(self) -> None:
        self.readings: list[tuple[str, StampedPose]] = []
        self.refused: list[tuple[str, str]] = []

    def __call__(self, frame: str, read: Any) -> None:
        try:
            found = read()
        except MessageError as error:
            self.refused.append((frame, error.reason))
        else:
            self.readings += [(frame, found)] if found is not None else []


# ---------------------------------------------------------------------- driver files


def test_everything_wrong_with_poses_is_said_at_once(tmp_path: Path) -> None:
    document = {
        "transform_poses": True,
        "sensing": {"trigger": "synchronised", "gripper": "kinematics"},
        "poses": {
            "gripper": {"kind": "tf", "name": "/tool0"},
            "block": {"kind": "aruco_detection"},
            "cup": {"kind": "tf", "topic": "/tf", "nmae": "cup"},
            "goal": {"name": "7", "offset_quat_wxyz": [1.0, 1.0, 0.0, 0.0]},
            "hook": {"kind": "apriltag"},
        },
    }
    path = tmp_path / "driver.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError) as caught:
        load_driver(str(path))
    for fault in (
        "transform_poses: tf transforms to base_frame, which must be named",
        "poses.gripper: tf transforms to base_frame, which must be named",
        "poses.gripper: transforms have stamps of their own; set sensing.trigger: timer",
        "poses.gripper: sensing.gripper is kinematics; remove one of them",
        "poses.gripper.name: tf frames have no leading slash, got '/tool0'",
        "poses.block.topic: aruco_detection needs the topic of the array",
        "poses.block.name: aruco_detection needs the name of the detection",
        "poses.cup.topic: tf has its own, topics.tf and topics.tf_static, got '/tf'",
        "poses.cup.nmae: unknown key; did you mean poses.cup.name?",
        "poses.goal.name: a pose topic has one pose, got '7'; for an array of them set kind",
        "poses.goal.offset_quat_wxyz: must be a unit quaternion",
        "poses.hook.kind: must be one of topic, tf, detection3d_array, aruco_detection, got 'apriltag'",
    ):
        assert fault in str(caught.value), f"{fault}\n\n{caught.value}"


def test_a_frame_has_the_source_in_the_file_or_its_topic(tmp_path: Path) -> None:
    driver = load_driver(
        write_pose_driver(tmp_path, {"block": {"topic": "/camera/block"}, "cup": {"kind": "tf", "name": "c"}})
    )
    assert (driver.pose("block").topic, driver.pose("cup").topic) == ("/camera/block", "")
    assert driver.pose("hook") == PoseConfig(topic="objects/hook/pose")
    assert driver.pose("gripper").topic == "ee_pose"


def test_the_example_of_the_guide_is_valid() -> None:
    guide = (config_folder().parent / "docs" / "robots.md").read_text()
    example = guide.partition("## Poses\n")[2].partition("```yaml\n")[2].partition("```")[0]
    driver = config_from_dict(DriverConfig, yaml.safe_load(example))
    assert {frame: driver.pose(frame).kind for frame in ("gripper", "block", "goal", "hook")} == {
        "gripper": "tf",
        "block": "aruco_detection",
        "goal": "detection3d_array",
        "hook": "topic",
    }


@pytest.mark.parametrize(
    ("kind", "package", "apt"),
    [
        ("tf", "tf2_ros", "tf2-ros-py"),
        ("detection3d_array", "vision_msgs", "vision-msgs"),
        ("aruco_detection", "aruco_opencv_msgs", "aruco-opencv-msgs"),
    ],
)
def test_a_missing_package_is_named(make_graph: MakeGraph, tmp_path: Path, kind: str, package: str, apt: str) -> None:
    """Which is not there where ROS 2 comes from pip."""
    if find_spec(package):
        pytest.skip(f"{package} is installed")
    source = {"kind": kind, "name": "7"} | ({} if kind == "tf" else {"topic": "detections"})
    make_graph(observation_node={"driver": write_pose_driver(tmp_path, {"block": source})})
    with pytest.raises(ConfigError, match=rf"{package} is not installed: apt install ros-\$ROS_DISTRO-{apt}"):
        ObservationNode()


# ---------------------------------------------------------------------- pose topics


def test_a_pose_topic_of_one_frame_with_an_offset(make_graph: MakeGraph, tmp_path: Path) -> None:
    """The tag is on top of the block, upside down: the middle of the block is above it, as the tag counts."""
    source = {"topic": "tag", "offset_position": [0.1, 0.0, 0.02]}
    driver = write_pose_driver(tmp_path, {"block": source}, trigger="synchronised")
    robot = Robot(make_graph(observation_node={"driver": driver}), ("ee_pose", "goal_pose"))
    tag = robot.graph.publisher(PoseStamped, "tag")
    tag.publish(convert.pose_message(robot.all(), "world", (1.2, 0.8, 0.45), UPSIDE_DOWN))
    robot.wait(1)
    values = convert.observation_values(robot.observations[0])[0]
    assert values[TASK.obs.slice("block_position")] == pytest.approx((1.3, 0.8, 0.43))


def test_a_pose_in_another_frame_is_transformed_at_its_stamp() -> None:
    camera = RigidTransform((1.0, 2.0, 3.0), UPSIDE_DOWN)
    base = BaseFrame("base", KnownTransforms(camera=(camera, 50)))
    here = ((0.1, 0.2, 0.3), UPRIGHT)
    assert base.pose(here, "base", 90) == here
    position, quat = base.pose(here, "camera", 50)
    assert position == pytest.approx((1.1, 1.8, 2.7))
    assert quat == pytest.approx(UPSIDE_DOWN)
    with pytest.raises(MessageError) as caught:
        base.pose(here, "camera", 51)
    assert caught.value.reason == "extrapolation"
    with pytest.raises(MessageError, match="the driver file says 'base'; transform_poses") as caught:
        BaseFrame("base").pose(here, "\x1b[2Jcamera", 50)
    assert caught.value.reason == "wrong_frame"
    assert "\x1b" not in str(caught.value)
    assert BaseFrame("").pose(here, "anywhere", 50) == here


def test_a_kept_message_that_has_been_heard_is_not_taken_again() -> None:
    """A publisher that keeps its messages reaches both subscriptions."""
    callbacks: list[Any] = []
    inputs: Any = SimpleNamespace(listen=lambda kind, topic, callback, *profiles: callbacks.append(callback))
    received = Received()

    def newest_ns(frame: str) -> int:
        return max((reading.stamp_ns for name, reading in received.readings if name == frame), default=-1)

    topic = PoseTopic("goal", None, {"goal": PoseConfig(topic="goal")}, BaseFrame(""), (qos.SENSOR, qos.KEPT))
    topic.listen(inputs, received, newest_ns)
    live, kept = callbacks
    for callback, stamp_ns in ((kept, 4), (live, 5), (kept, 5), (kept, 4), (live, 6), (kept, 6)):
        callback(convert.pose_message(convert.ns_to_stamp(stamp_ns), "base", (0.0, 0.0, 0.0), UPRIGHT))
    assert [reading.stamp_ns for _, reading in received.readings] == [4, 5, 6]


# ---------------------------------------------------------------------- transforms


def looked_up(transforms: Transforms, **frames: str) -> LookedUpPoses:
    configs = {frame: PoseConfig("tf", name=name, offset_position=(0.0, 0.0, 0.1)) for frame, name in frames.items()}
    return LookedUpPoses(transforms, "base", configs, ("goal",), lambda: 1000)


def test_a_transform_is_a_reading_when_it_has_changed() -> None:
    """With its own stamp; what is no longer published is offered no more, so that it becomes old."""
    tag = RigidTransform((1.0, 2.0, 3.0), UPSIDE_DOWN)
    transforms, received = KnownTransforms(tag=(tag, 50)), Received()
    source = looked_up(transforms, block="tag")
    for _ in range(3):
        source.poll(received)
    [(frame, reading)] = received.readings
    assert (frame, reading.stamp_ns) == ("block", 50)
    # The offset is in the tag's frame, which is upside down.
    assert reading.pose[0] == pytest.approx((1.0, 2.0, 2.9))
    transforms.known["tag"] = (tag, 60)
    source.poll(received)
    assert [reading.stamp_ns for _, reading in received.readings] == [50, 60]
    source.forget()
    source.poll(received)
    assert len(received.readings) == 3


def test_a_static_transform_is_accepted_of_static_frames_alone() -> None:
    """It has no stamp, and nobody could tell whether it is still valid."""
    transforms = KnownTransforms(table=(RigidTransform((1.0, 0.0, 0.0)), 0))
    source, received = looked_up(transforms, block="table", goal="table"), Received()
    for _ in range(2):
        source.poll(received)
    assert received.refused == [("block", "static_transform")] * 2
    assert [(frame, reading.stamp_ns) for frame, reading in received.readings] == [("goal", 1000)]
    transforms.known["table"] = (RigidTransform((2.0, 0.0, 0.0)), 0)
    source.poll(received)
    assert received.readings[-1][1].pose[0] == (2.0, 0.0, 0.1)


def test_a_frame_without_a_transform_is_refused_and_the_others_are_not() -> None:
    source, received = looked_up(KnownTransforms(tag=(RigidTransform(), 50)), block="tga", cup="tag"), Received()
    source.poll(received)
    assert received.refused == [("block", "unknown_frame")]
    assert [frame for frame, _ in received.readings] == ["cup"]


# ---------------------------------------------------------------------- arrays


def at(x: float, **orientation: float) -> Pose:
    return Pose(position=Point(x=x), orientation=Quaternion(**(orientation or {"w": 1.0})))


def detected(id: str, *results: tuple[str, float, float]) -> Any:
    """A detection with a class, a score and x of each result."""
    return SimpleNamespace(
        id=id,
        results=[
            SimpleNamespace(hypothesis=SimpleNamespace(class_id=name, score=score), pose=SimpleNamespace(pose=at(x)))
            for name, score, x in results
        ],
    )


def array(*detections: Any) -> Any:
    return SimpleNamespace(detections=list(detections))


def found_x(message: Any, name: str, kind: str = "detection3d_array") -> float | None:
    pose = ARRAYS[kind].find(message, name)
    return None if pose is None else pose.position.x


def test_a_detection_is_found_by_its_id_or_its_most_probable_class() -> None:
    message = array(
        detected("7", ("cup", 0.2, 1.0), ("block", 0.7, 2.0), ("hook", 0.1, 3.0)),
        detected("", ("bowl", math.nan, 4.0), ("plate", 0.1, 5.0)),
        detected("8"),
    )
    assert [found_x(message, name) for name in ("7", "block", "plate")] == [2.0, 2.0, 5.0]
    assert [found_x(message, name) for name in ("cup", "bowl", "", "9")] == [None] * 4


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (array(detected("7", ("block", 1.0, 1.0)), detected("8", ("block", 1.0, 2.0))), "duplicate_ids"),
        (array(detected("block", ("cup", 1.0, 1.0)), detected("8", ("block", 1.0, 2.0))), "duplicate_ids"),
        (array(detected("block")), "no_pose"),
    ],
)
def test_a_detection_that_is_ambiguous_or_has_no_pose_is_refused(message: Any, reason: str) -> None:
    with pytest.raises(MessageError) as caught:
        ARRAYS["detection3d_array"].find(message, "block")
    assert caught.value.reason == reason


def test_markers_are_found_by_number_and_boards_by_name() -> None:
    message = SimpleNamespace(
        markers=[SimpleNamespace(marker_id=number, pose=at(float(number))) for number in (7, 8, 8)],
        boards=[SimpleNamespace(board_name="table", pose=at(0.5))],
    )
    assert [found_x(message, name, "aruco_detection") for name in ("7", "table", "07")] == [7.0, 0.5, None]
    with pytest.raises(MessageError, match="2 detections are '8'"):
        found_x(message, "8", "aruco_detection")

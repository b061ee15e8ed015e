"""Poses from tf: transforms of real broadcasters, with their own stamps, in observation_node."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped, TransformStamped
from observation_bench import TASK, UPRIGHT, Robot, write_pose_driver
from ros_graph import TIMEOUT_S, Graph, MakeGraph, text
from rosgraph_msgs.msg import Clock

from reskill_ros.plumbing import convert, qos

tf2_ros = pytest.importorskip("tf2_ros", reason="tf2_ros is not installed; pip has none")
from tf2_msgs.msg import TFMessage  # noqa: E402

BLOCK, GOAL = TASK.obs.slice("block_position"), TASK.obs.slice("goal_position")
# Half a turn about x, as a camera looks down.
DOWN = (0.0, 1.0, 0.0, 0.0)
CAMERA = ("world", "camera", (1.0, 1.0, 1.0), DOWN)
TAG = ("camera", "tag_7", (0.2, 0.1, 0.55), UPRIGHT)
FROM_TAG = {"block": {"kind": "tf", "name": "tag_7", "offset_position": [0.0, 0.0, 0.025]}}
# Where that is: y and z are mirrored by the camera, and the middle of the block is behind its tag.
EXPECTED = (1.2, 0.9, 0.425)
OTHERS = ("ee_pose", "goal_pose")


def transform(parent: str, child: str, position: Any, quat_wxyz: Any, stamp: Any) -> TransformStamped:
    message = TransformStamped(child_frame_id=child)
    message.header.stamp, message.header.frame_id = stamp, parent
    to, turn = message.transform.translation, message.transform.rotation
    to.x, to.y, to.z = position
    turn.w, turn.x, turn.y, turn.z = quat_wxyz
    return message


class Scene:
    """A robot that is observed, and broadcasters of tf."""

    def __init__(self, graph: Graph, poses: tuple[str, ...] = OTHERS) -> None:
        self.graph, self.robot = graph, Robot(graph, poses)
        self._moving = tf2_ros.TransformBroadcaster(graph.probe)
        self._static = tf2_ros.StaticTransformBroadcaster(graph.probe)
        graph.spin_until(lambda: graph.probe.count_subscribers("/tf"), "the node's subscription")

    def move(self, parent: str, child: str, position: Any, quat_wxyz: Any = UPRIGHT, stamp: Any = None) -> None:
        self._moving.sendTransform(transform(parent, child, position, quat_wxyz, stamp or self.graph.stamp()))

    def fix(self, parent: str, child: str, position: Any, quat_wxyz: Any = UPRIGHT) -> None:
        self._static.sendTransform(transform(parent, child, position, quat_wxyz, self.graph.stamp()))

    def observed(self, publish: Callable[[], None], fits: Callable[[np.ndarray], bool] = lambda values: True) -> Any:
        """Publish everything, and what the test adds, until an observation fits; return it."""
        del self.robot.observations[:]
        end_s = time.monotonic() + TIMEOUT_S
        while True:
            assert time.monotonic() < end_s, f"nothing fits; {dict(self.robot.node.diagnostics.counters)}"
            publish()
            self.robot.all()
            self.graph.spin_for(0.02)
            for message in self.robot.observations:
                if fits(values := convert.observation_values(message)[0]):
                    return values

    def refused(self, reason: str, publish: Callable[[], None] = lambda: None) -> None:
        counters = self.robot.node.diagnostics.counters

        def noticed() -> bool:
            publish()
            return counters[f"refused_{reason}"] > 0

        self.graph.spin_until(noticed, f"a refusal: {reason}")


@pytest.fixture
def make_scene(make_graph: MakeGraph, tmp_path: Path) -> Callable[..., Scene]:
    def make(poses: Any, graph: Any = (), others: tuple[str, ...] = OTHERS, **sensing: Any) -> Scene:
        driver = write_pose_driver(tmp_path, poses, **sensing)
        return Scene(make_graph(observation_node={"driver": driver, **dict(graph)}), others)

    return make


def test_a_tag_is_observed_through_the_camera_that_sees_it(make_scene: Any) -> None:
    """A static camera, a moving tag, and the block that carries it."""
    scene = make_scene(FROM_TAG)
    scene.fix(*CAMERA)
    values = scene.observed(lambda: scene.move(*TAG))
    assert values[BLOCK] == pytest.approx(EXPECTED)


def test_the_age_of_a_transform_is_that_of_its_oldest_part(make_scene: Any) -> None:
    """A camera at the wrist goes on moving; the tag is not seen any more, and becomes old like any reading."""
    scene = make_scene(FROM_TAG, timeout_s=0.5)

    def wrist() -> None:
        scene.move(*CAMERA)

    def both() -> None:
        wrist()
        scene.move(*TAG)

    assert scene.observed(both)[BLOCK] == pytest.approx(EXPECTED)
    robot = scene.robot
    robot.clear_statuses()

    def lost() -> Any:
        wrist()
        robot.all()
        return robot.last_status(DiagnosticStatus.ERROR, "no fresh reading of block (", " s old); nothing is observed")

    scene.graph.spin_until(lost, "the error")
    assert float(text(robot.statuses()[-1], "block_age_ms")) > 500
    assert float(text(robot.statuses()[-1], "gripper_age_ms")) < 500
    assert "disconnected" not in " ".join(robot.node.diagnostics.counters)
    scene.observed(both)


def test_a_transform_with_an_old_stamp_is_refused_however_often_it_comes(make_scene: Any) -> None:
    scene = make_scene(FROM_TAG, timeout_s=2.0)
    scene.fix(*CAMERA)
    old = iter(range(10_000))

    def late() -> None:
        stamp_ns = time.time_ns() - 5_000_000_000 + next(old)
        scene.move(*TAG, stamp=convert.ns_to_stamp(stamp_ns))

    scene.refused("stale", late)
    assert not scene.robot.observations


def test_frames_that_are_unknown_or_of_another_tree_are_refused_until_they_are_there(make_scene: Any) -> None:
    """With a warning that names the frame; and the observation begins with the missing link."""
    scene = make_scene(FROM_TAG, timeout_s=20.0)
    scene.refused("unknown_frame")
    scene.refused("disconnected_frames", lambda: (scene.move(*TAG), scene.move("world", "gripper", (0.0, 0.0, 0.0))))
    scene.robot.status(
        DiagnosticStatus.ERROR, "no fresh reading of", "block (never came)", "refused disconnected frames"
    )
    scene.fix(*CAMERA)
    assert scene.observed(lambda: scene.move(*TAG))[BLOCK] == pytest.approx(EXPECTED)


def test_a_static_transform_is_observed_of_a_static_frame_alone(make_scene: Any) -> None:
    """It is published once, and never too old."""
    table = {"kind": "tf", "name": "table"}
    scene = make_scene({"goal": table, "block": table}, others=("ee_pose",), timeout_s=0.5, static_frames=["goal"])
    scene.fix("world", "table", (1.1, 0.7, 0.4))
    scene.refused("static_transform")
    robot = scene.robot
    scene.graph.spin_until(lambda: robot.statuses() and float(text(robot.statuses()[-1], "goal_age_ms") or 0) > 500)
    status = robot.status(DiagnosticStatus.ERROR, "block (never came)")
    assert "goal" not in status.message


def test_poses_of_a_moving_camera_are_transformed_at_their_stamps(make_scene: Any, tmp_path: Path) -> None:
    """Between two places of the camera, and not beyond the last one."""
    scene = make_scene({}, others=OTHERS, transform_poses=True, timeout_s=20.0)
    block = scene.graph.publisher(PoseStamped, "objects/block/pose")
    start_ns = time.time_ns() - 1_000_000_000
    for place in (0, 1):
        scene.move(
            "world", "camera", (float(place), 0.0, 1.0), DOWN, convert.ns_to_stamp(start_ns + place * 100_000_000)
        )

    def see(after_ns: int) -> None:
        stamp = convert.ns_to_stamp(start_ns + after_ns)
        block.publish(convert.pose_message(stamp, "camera", (0.2, 0.1, 0.6), UPRIGHT))

    values = scene.observed(lambda: see(25_000_000))
    assert values[BLOCK] == pytest.approx((0.45, -0.1, 0.4))
    scene.refused("extrapolation", lambda: see(101_000_000))
    scene.refused(
        "unknown_frame",
        lambda: block.publish(convert.pose_message(scene.graph.stamp(), "eye", (0.0, 0.0, 0.0), UPRIGHT)),
    )
    negative = convert.ns_to_stamp(-1_000_000_000)
    before = scene.robot.node.diagnostics.counters["refused_extrapolation"]
    block.publish(convert.pose_message(negative, "camera", (0.2, 0.1, 0.6), UPRIGHT))
    scene.robot.refused("extrapolation", before + 1)


def test_a_goal_that_is_published_once_waits_for_its_transform(make_scene: Any) -> None:
    """Whichever comes first; and it is not offered again once a newer one is there."""
    others = ("ee_pose", "objects/block/pose")
    scene = make_scene({}, others=others, transform_poses=True, timeout_s=20.0, static_frames=["goal"])
    planner = scene.graph.probe.create_publisher(PoseStamped, "goal_pose", qos.LATCHED)

    def plan(x: float) -> None:
        planner.publish(convert.pose_message(scene.graph.stamp(), "camera", (x, 0.1, 0.6), UPRIGHT))

    plan(0.2)
    # More often than it arrives, which is by two subscriptions.
    scene.robot.refused("unknown_frame", 5)
    scene.fix(*CAMERA)
    assert scene.observed(lambda: None)[GOAL] == pytest.approx((1.2, 0.9, 0.4))
    plan(0.3)
    scene.observed(lambda: None, lambda values: values[GOAL] == pytest.approx((1.3, 0.9, 0.4)))
    count = scene.robot.node.diagnostics.counters["refused_unknown_frame"]
    for _ in range(3):
        scene.observed(lambda: None)
    counters = scene.robot.node.diagnostics.counters
    assert (counters["refused_unknown_frame"], counters["refused_reordered"]) == (count, 0)


def test_a_pose_in_another_frame_is_refused_unless_it_is_to_be_transformed(make_scene: Any) -> None:
    """Although tf is there, for another frame."""
    scene = make_scene(FROM_TAG)
    scene.fix(*CAMERA)
    scene.robot.pose("goal_pose", scene.graph.stamp(), frame_id="camera")
    scene.robot.refused("wrong_frame")


def test_tf2_drops_what_is_no_transform_and_the_pose_becomes_old(make_scene: Any) -> None:
    scene = make_scene(FROM_TAG, timeout_s=0.5)
    scene.fix(*CAMERA)
    scene.observed(lambda: scene.move(*TAG))
    scene.robot.clear_statuses()

    def lost() -> Any:
        scene.move("camera", "tag_7", (float("nan"), 0.0, 0.0))
        scene.move("camera", "tag_7", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0))
        scene.robot.all()
        return scene.robot.last_status(DiagnosticStatus.ERROR, "no fresh reading of block (")

    scene.graph.spin_until(lost, "the error")


def test_a_jump_of_the_clock_is_not_the_end(make_scene: Any) -> None:
    """What tf knew of the future is forgotten, or the present would be too old for it."""
    scene = make_scene(FROM_TAG, graph={"use_sim_time": True})
    graph, robot = scene.graph, scene.robot
    clock = graph.publisher(Clock, "/clock", qos.CLOCK)
    scene.fix(*CAMERA)
    for first_s, depth in ((100, 0.55), (10, 0.45)):
        ticks = iter(range(10_000))

        def observed() -> bool:
            stamp = convert.ns_to_stamp(first_s * 1_000_000_000 + next(ticks) * 40_000_000)  # noqa: B023
            clock.publish(Clock(clock=stamp))
            graph.spin_until(lambda: robot.node.get_clock().now().to_msg() == stamp, "the time")
            scene.move("camera", "tag_7", (0.2, 0.1, depth), stamp=stamp)  # noqa: B023
            robot.joints(stamp=stamp)
            robot.poses(stamp)
            graph.spin_for(0.02)
            heights = [convert.observation_values(message)[0, BLOCK][2] for message in robot.observations[-1:]]
            return heights == pytest.approx([0.975 - depth])  # noqa: B023

        graph.spin_until(observed, f"the block after {first_s} s")


def test_many_broadcasters_are_no_rivals_and_an_unheard_one_is_an_error(make_scene: Any) -> None:
    """Everybody publishes on /tf. A static broadcaster has to keep its message."""
    scene = make_scene(FROM_TAG)
    scene.fix(*CAMERA)
    second = scene.graph.probe.create_publisher(TFMessage, "/tf", qos.SENSOR)
    scene.observed(lambda: second.publish(TFMessage(transforms=[transform(*TAG, scene.graph.stamp())])))
    scene.graph.spin_until(lambda: scene.graph.probe.count_publishers("/tf") > 1)
    scene.robot.clear_statuses()
    scene.graph.spin_until(lambda: len(scene.robot.statuses()) > 1, "statuses")
    assert "publishers" not in scene.robot.statuses()[-1].message
    scene.graph.probe.create_publisher(TFMessage, "/tf_static", qos.STATE)
    scene.robot.status(DiagnosticStatus.ERROR, "/tf_static is not heard from /probe")


def test_the_gripper_from_tf(make_scene: Any) -> None:
    scene = make_scene({"gripper": {"kind": "tf", "name": "tool0"}}, others=("objects/block/pose", "goal_pose"))
    values = scene.observed(lambda: scene.move("world", "tool0", (1.3, 0.7, 0.5)))
    assert values[TASK.obs.slice("gripper_position")] == pytest.approx((1.3, 0.7, 0.5))

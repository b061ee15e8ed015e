"""Images and named terms: from the driver's topics to whoever answers, matched by stamp and stacked as in process."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from other_family import plane_world  # noqa: F401 - a fixture
from ros_graph import Graph, MakeGraph
from sensor_msgs.msg import Image

from reskill_core.config import config_to_dict
from reskill_core.sensing import MessageError
from reskill_core.spec import ImageFeature
from reskill_ros.drivers.driver_file import load_driver
from reskill_ros.msg import EpisodeState, Observation, SkillAction
from reskill_ros.nodes.command_node import CommandNode
from reskill_ros.nodes.demonstrator_node import DemonstratorNode
from reskill_ros.nodes.observation_node import ObservationNode
from reskill_ros.nodes.sim_node import SimNode
from reskill_ros.plumbing import convert, images, qos
from reskill_sim.families import get_task

FEATURE = ImageFeature("view", 2, 3, 3)


# ---------------------------------------------------------------------- messages


def test_a_picture_is_the_same_after_a_message() -> None:
    for channels in (1, 2, 3, 4):
        picture = np.random.default_rng(0).integers(0, 256, (4, 5, channels), np.uint8)
        message = images.image_message(convert.ns_to_stamp(7), "view", picture)
        np.testing.assert_array_equal(images.picture(message, ImageFeature("view", 4, 5, channels)), picture)


def test_rows_may_be_padded_and_colours_in_another_order() -> None:
    """Two rows of three pixels, each with a byte to spare; blue comes first."""
    data = [*range(9), 99, *range(9, 18), 99]
    message = Image(height=2, width=3, step=10, encoding="bgr8", data=data)
    assert images.picture(message, FEATURE).tolist() == [
        [[2, 1, 0], [5, 4, 3], [8, 7, 6]],
        [[11, 10, 9], [14, 13, 12], [17, 16, 15]],
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"encoding": "16UC1"}, "wrong_encoding"),
        ({"encoding": "mono8"}, "wrong_encoding"),
        ({"height": 3}, "wrong_size"),
        ({"step": 8}, "length_mismatch"),
        ({"data": [0] * 17}, "length_mismatch"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(change: dict[str, Any], reason: str) -> None:
    message = Image(**{"height": 2, "width": 3, "step": 9, "encoding": "rgb8", "data": [0] * 18, **change})
    with pytest.raises(MessageError) as caught:
        images.picture(message, FEATURE)
    assert caught.value.reason == reason


# ---------------------------------------------------------------------- nodes


@pytest.mark.usefixtures("plane_world")
def test_lockstep_with_images_is_the_environment_to_the_last_bit(make_graph: MakeGraph) -> None:
    """Two episodes of an end effector in the plane, which looks at stacked pictures and named terms."""
    simulated = {"use_sim_time": True, "task": "plane_reach"}
    graph = make_graph(
        sim_node={"task": "plane_reach", "pacing": "lockstep", "seed": 5, "hold_until_ready": True},
        observation_node=simulated,
        command_node={**simulated, "auto_arm": True, "gate.command_timeout_s": 60.0},
        demonstrator_node=simulated,
    )
    states = graph.listen(EpisodeState, "episode", qos.RECORD)
    answers = graph.listen(SkillAction, "skill_action", qos.RECORD)
    for node in (ObservationNode(), CommandNode(), DemonstratorNode()):
        graph.add(node)
    graph.add(SimNode())
    graph.spin_until(lambda: states and states[-1].episode_id >= 3, "two episodes")
    by_stamp = {convert.stamp_to_ns(answer.header.stamp): answer for answer in answers}
    task = get_task("plane_reach")
    environment, policy = task.make_env(), task.family.make_demonstrator("plane_reach")
    for episode_id, seed in ((1, 5), (2, 6)):
        steps = {state.step: state for state in states if state.episode_id == episode_id}
        observation = environment.reset([seed])
        policy.reset([seed])
        for step in range(len(steps)):
            assert bytes(steps[step].sim_state) == environment.state()[0].tobytes()
            if step + 1 < len(steps):
                action = policy.act(observation)
                answer = by_stamp[convert.stamp_to_ns(steps[step].header.stamp)]
                np.testing.assert_array_equal(np.array(answer.action, np.float32), action.action[0])
                observation = environment.step(action.action).observation
        assert len(steps) > 2


class Camera:
    """An observation node of the plane, and somebody who says by hand what its driver would."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.task = graph, get_task("plane_reach").spec
        self.observations = graph.listen(Observation, "observation")
        self.frames = graph.listen(Image, "observation/images/view")
        self.node = graph.add(ObservationNode())
        self.publishers = {
            topic: graph.publisher(kind, topic)
            for topic, kind in {
                "ee_pose": convert.PoseStamped,
                "goal_pose": convert.PoseStamped,
                "readings/battery": convert.Reading,
                "images/view": Image,
                "images/map": Image,
            }.items()
        }

    def say(self, *left_out: str) -> None:
        """Publish everything with one stamp, but for some topics."""
        stamp = self.graph.stamp()
        pose = convert.pose_message(stamp, "world", (0.1, 0.2, 0.0), (1.0, 0.0, 0.0, 0.0))
        view, plan = (np.full(item.frame_shape, 7, np.uint8) for item in self.task.obs.images)
        messages = {
            "ee_pose": pose,
            "goal_pose": pose,
            "readings/battery": convert.reading_message(stamp, "", np.array([24.0, 12.5])),
            "images/view": images.image_message(stamp, "camera", view),
            "images/map": images.image_message(stamp, "camera", plan),
        }
        for topic, message in messages.items():
            if topic not in left_out:
                self.publishers[topic].publish(message)


@pytest.mark.usefixtures("plane_world")
def test_an_image_that_stops_stops_the_observations(make_graph: MakeGraph, tmp_path: Path) -> None:
    """A picture is a reading like any other: too old, nothing is observed, and it is said which one."""
    document = config_to_dict(load_driver("sim"))
    document["sensing"] |= {"trigger": "timer", "episodes": False, "timeout_s": 0.3}
    path = tmp_path / "driver.yaml"
    path.write_text(yaml.safe_dump(document))
    camera = Camera(make_graph(observation_node={"task": "plane_reach", "driver": str(path)}))

    def seen() -> bool:
        camera.say()
        return len(camera.observations) > 3 and len(camera.frames) > 3

    camera.graph.spin_until(seen, "observations")
    message = camera.observations[-1]
    assert convert.observation_values(message)[0, camera.task.obs.slice("battery")].tolist() == [24.0, 12.5]
    stamps = {convert.stamp_to_ns(item.header.stamp) for item in camera.observations}
    assert {convert.stamp_to_ns(item.header.stamp) for item in camera.frames} <= stamps

    def outdated() -> bool:
        camera.say("images/map")
        return camera.node._sensing.outdated(*moment(camera)).keys() == {"image map"}

    camera.graph.spin_until(outdated, "the picture to be too old")
    count = len(camera.observations)
    for _ in range(5):
        camera.say("images/map")
        camera.graph.spin_for(0.05)
    assert len(camera.observations) <= count + 1
    camera.graph.spin_until(seen, "observations again")


def moment(camera: Camera) -> tuple[float, int]:
    return time.monotonic(), camera.node.get_clock().now().nanoseconds

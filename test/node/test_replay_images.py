"""Images of recorded observations: found by stamp, required, and replayed as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from other_family import plane_world  # noqa: F401 - a fixture
from rclpy.serialization import serialize_message
from ros_graph import MakeGraph
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from reskill_core.errors import DataError
from reskill_core.spec import TaskSpec
from reskill_ros.msg import EpisodeState, Observation, SkillAction
from reskill_ros.nodes.bag_recorder_node import BagRecorderNode
from reskill_ros.plumbing import convert, images, qos
from reskill_ros.plumbing.served_task import task_spec
from reskill_ros.plumbing.topics import BAG_ACKNOWLEDGE, observed_image
from reskill_ros.recording.bag import BagWriter
from reskill_ros.recording.replay_comparison import load_recorded

pytestmark = pytest.mark.usefixtures("plane_world")
STEPS = 4
TYPES = {"observation": "reskill_ros/msg/Observation", "skill_action": "reskill_ros/msg/SkillAction"}


@pytest.fixture(name="task")
def seeing_task() -> TaskSpec:
    """Two images, one of them in a stack."""
    return task_spec("plane_reach")


def picture(task: TaskSpec, name: str, number: int) -> np.ndarray:
    feature = next(item for item in task.obs.images if item.name == name)
    return np.random.default_rng([number, len(name)]).integers(0, 256, feature.frame_shape, np.uint8)


def write_bag(folder: Path, task: TaskSpec, left_out: tuple[str, int] = ("", 0), namespace: str = "") -> Path:
    """Two runs of one episode with the same stamps, and different images; one image may be missing in the second."""
    writer = BagWriter(folder)
    names = [feature.name for feature in task.obs.images]
    kinds = {**TYPES, **{observed_image(name): "sensor_msgs/msg/Image" for name in names}}
    for topic, kind in kinds.items():
        writer.add_topic(f"{namespace}/{topic}", kind)

    def write(topic: str, message: object) -> None:
        writer.write(f"{namespace}/{topic}", bytes(serialize_message(message)), 0)

    for number in range(2 * STEPS):
        run, step = divmod(number, STEPS)
        stamp = convert.ns_to_stamp(100_000_000 * (step + 1))
        for name in names:
            if (name, step) != left_out or run == 0:
                message = images.image_message(stamp, name, picture(task, name, number))
                write(observed_image(name), message)
                write(observed_image(name), message)  # as in lockstep, where it may be repeated
        observation = Observation(task=task.name, episode_id=1, episode_step=step, episode_seed=run)
        observation.values = convert.float64_array(np.zeros(task.obs.dim))
        answer = SkillAction(episode_id=1, episode_step=step)
        observation.header.stamp = answer.header.stamp = stamp
        write("observation", observation)
        write("skill_action", answer)
    writer.close()
    return folder


def test_images_are_those_of_their_observation(task: TaskSpec, tmp_path: Path) -> None:
    """With the stamp of the replayed observation, also if the runs of a bag repeat the stamps."""
    recording = load_recorded(write_bag(tmp_path / "bag", task, namespace="/robot"), "robot", task)
    assert (len(recording.items), recording.runs, recording.faults) == (2 * STEPS, 2, [])
    for number, item in enumerate(recording.items):
        replayed = item.images(task.obs.images)
        assert set(replayed) == {"view", "map"}
        for feature in task.obs.images:
            message = replayed[feature.name]
            assert message.header.stamp == item.observation.header.stamp
            np.testing.assert_array_equal(images.picture(message, feature), picture(task, feature.name, number))


def test_what_follows_an_observation_without_an_image_is_left_out(task: TaskSpec, tmp_path: Path) -> None:
    recording = load_recorded(write_bag(tmp_path / "bag", task, ("map", 1)), task=task)
    assert [item.observation.episode_step for item in recording.items] == [0, 1, 2, 3, 0]
    assert "1 observations have no image map in the bag" in recording.faults
    assert any("2 answers follow a gap" in fault for fault in recording.faults)


def test_a_bag_without_the_images_of_the_task_is_refused(task: TaskSpec, tmp_path: Path) -> None:
    blind = replace(task, obs=replace(task.obs, images=()))
    with pytest.raises(DataError, match="has no images on /observation/images/view, which the task observes"):
        load_recorded(write_bag(tmp_path / "bag", blind), task=task)


def test_images_are_acknowledged_as_the_rest_is(make_graph: MakeGraph, task: TaskSpec, tmp_path: Path) -> None:
    """A stamp is confirmed once its last image is written, although nobody has published images before."""
    bag = tmp_path / "bag"
    graph = make_graph(bag_recorder_node={"bag": str(bag), "task": task.name, "acknowledge": True})
    confirmed = graph.listen(Header, BAG_ACKNOWLEDGE)
    kinds = {"observation": Observation, "skill_action": SkillAction, "executed_action": SkillAction}
    kinds |= {"episode": EpisodeState, observed_image("view"): Image, observed_image("map"): Image}
    node = graph.add(BagRecorderNode())
    publishers = {topic: graph.publisher(kind, topic, qos.RECORDED) for topic, kind in kinds.items()}
    *first, last = publishers
    stamp = convert.ns_to_stamp(100_000_000)
    for topic in first:
        publishers[topic].publish(kinds[topic](header=Header(stamp=stamp)))
    graph.spin_until(lambda: node.writer.message_count >= len(first), "everything but one image")
    assert not confirmed
    publishers[last].publish(Image(header=Header(stamp=stamp)))
    graph.spin_until(lambda: confirmed, "the acknowledgement")
    assert confirmed[0].stamp == stamp

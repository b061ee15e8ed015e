"""Velocities of joints in observations: read from joint states, as the driver counts them."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np
import pytest
import yaml
from ros_graph import MakeGraph
from sensor_msgs.msg import JointState

from reskill_core.config import config_to_dict
from reskill_core.errors import ConfigError, SpecError
from reskill_core.sensing import JointSource, MessageError, Sensing, SensingConfig
from reskill_ros.drivers.driver_file import load_driver
from reskill_ros.msg import Observation, Reading
from reskill_ros.nodes.observation_node import ObservationNode
from reskill_ros.plumbing import convert
from reskill_ros.plumbing.served_task import task_spec

SPEC = task_spec("kitchen")
FINGERS = ("panda_finger_joint1", "panda_finger_joint2")


def sensing(**terms: tuple[str, ...]) -> Sensing:
    joints = {FINGERS[1]: JointSource(name="right", sign=-1.0, offset=0.5)}
    return Sensing(SPEC, SensingConfig(joints=joints, joint_velocities=terms))


def test_velocities_have_the_driver_s_names_and_signs() -> None:
    """By hand: the second finger counts the other way round; an offset moves positions, not velocities."""
    found = sensing(finger_velocity=FINGERS)
    found.offer_velocities({"right": 0.25}, 10**9, 1.0, 10**9)
    assert found.newest_ns("reading finger_velocity") == -1, "a term needs all of its joints"
    found.offer_velocities({FINGERS[0]: 0.125, "right": 0.25, "elbow": 9.0}, 10**9, 1.0, 10**9)
    assert found.newest_ns("reading finger_velocity") == 10**9
    assert found._readings["reading finger_velocity"].value.tolist() == [0.125, -0.25]
    with pytest.raises(MessageError, match="finger_velocity: older than what came before"):
        found.offer_velocities({FINGERS[0]: 0.0, "right": 0.0}, 10**9 - 1, 1.0, 10**9)


@pytest.mark.parametrize(
    "terms",
    [{"finger_speed": FINGERS}, {"finger_velocity": FINGERS[:1]}, {"finger_velocity": (FINGERS[0], "thumb")}],
    ids=["no such term", "another number of joints", "a joint that is not observed"],
)
def test_velocities_that_do_not_fit_the_task_are_refused(terms: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(SpecError, match="must be a named term of the observation of kitchen, with one observed joint"):
        sensing(**terms)


def test_a_joint_that_the_robot_does_not_have_is_refused(tmp_path: Path) -> None:
    document = config_to_dict(load_driver("franka"))
    document["sensing"]["joint_velocities"]["finger_velocity"][1] = "panda_finger_joint3"
    (tmp_path / "franka.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match=r"joint_velocities.finger_velocity: unknown joint; .*panda_finger_joint2"):
        load_driver(str(tmp_path / "franka.yaml"), SPEC.obs.joints)


@pytest.mark.parametrize(
    ("velocity", "reason"), [((1.0,), "length_mismatch"), ((1.0, float("nan")), "non_finite")], ids=["few", "nan"]
)
def test_broken_velocities_are_refused(velocity: tuple[float, ...], reason: str) -> None:
    message = JointState(name=["a", "b"], position=[0.0, 0.0], velocity=velocity)
    with pytest.raises(MessageError) as caught:
        convert.joint_velocities(message)
    assert caught.value.reason == reason
    assert convert.joint_velocities(JointState(name=["a", "b"], position=[0.0, 0.0])) == {}


def test_a_franka_is_observed_by_its_joint_states_and_readings(make_graph: MakeGraph) -> None:
    """With the shipped driver file; every value of the observation is told apart."""
    graph = make_graph(observation_node={"task": "kitchen", "driver": "franka", "obs_timeout_s": 60.0})
    observations = graph.listen(Observation, "observation")
    graph.add(ObservationNode())
    obs, values = SPEC.obs, np.arange(1.0, 1.0 + SPEC.obs.dim) / 8.0
    readings = [term.name for term in obs.named if term.name not in ("arm_velocity", "finger_velocity")]
    publishers = {name: graph.publisher(Reading, f"readings/{name}") for name in readings}
    joints = graph.publisher(JointState, "joint_states")
    positions, velocities = (
        np.concatenate([values[obs.slice(f"{part}_{kind}")] for part in ("arm", "finger")])
        for kind in ("position", "velocity")
    )
    state = JointState(name=list(obs.joints), position=positions.tolist(), velocity=velocities.tolist())

    def observed() -> bool:
        state.header.stamp = graph.stamp()
        for name, publisher in publishers.items():
            reading = Reading(values=array("d", values[obs.slice(name)].tolist()))
            reading.header.stamp = state.header.stamp
            publisher.publish(reading)
        joints.publish(state)
        return bool(observations)

    graph.spin_until(observed, "an observation")
    assert list(observations[0].values) == values.tolist()
    topics = {name for name, _ in graph.nodes[-1].get_topic_names_and_types()}
    assert "/readings/kettle_position" in topics
    assert "/readings/arm_velocity" not in topics

"""replay_node: the same policy gives the same answers again, another one is told apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rclpy.serialization import serialize_message
from ros_graph import Graph, MakeGraph

from reskill_core.errors import DataError, GraphError
from reskill_core.runtime import load_policy
from reskill_ros.msg import Observation, SkillAction
from reskill_ros.nodes.policy_node import PolicyNode
from reskill_ros.nodes.replay_node import ReplayNode
from reskill_ros.plumbing import convert
from reskill_ros.recording.bag import BagWriter
from reskill_ros.recording.replay_comparison import Comparison, load_recorded

OBSERVATION_TYPE, ACTION_TYPE = "reskill_ros/msg/Observation", "reskill_ros/msg/SkillAction"
EPISODES, STEPS = 2, 13


def conversation(skills: Path, mode: str = "sample") -> Iterator[tuple[Observation, SkillAction]]:
    """Observations and what a policy in process answers to them."""
    policy = load_policy(skills, mode=mode)  # type: ignore[arg-type]
    values = np.random.default_rng(0).uniform(0.4, 1.3, (EPISODES * STEPS, policy.task_spec.obs.dim))
    for number, row in enumerate(values):
        episode, step = divmod(number, STEPS)
        if step == 0:
            policy.reset([episode])
        answer = convert.skill_action_message(policy.act(row[None]), "recorded", 0.0)
        observation = Observation(task=policy.task_spec.name, values=convert.float64_array(row))
        observation.episode_id, observation.episode_seed, observation.episode_step = episode + 1, episode, step
        observation.header.stamp = answer.header.stamp = convert.ns_to_stamp(40_000_000 * (number + 1))
        yield observation, answer


def write_bag(folder: Path, messages: list[tuple[Observation, SkillAction]], namespace: str = "") -> Path:
    writer = BagWriter(folder)
    topics = {f"{namespace}/observation": OBSERVATION_TYPE, f"{namespace}/skill_action": ACTION_TYPE}
    for topic, type_name in topics.items():
        writer.add_topic(topic, type_name)
    for pair in messages:
        for topic, message in zip(topics, pair, strict=True):
            writer.write(topic, bytes(serialize_message(message)), 0)
            # In lockstep everything may come more than once.
            writer.write(topic, bytes(serialize_message(message)), 0)
    writer.close()
    return folder


@pytest.fixture
def bag(tmp_path: Path, skills: Path) -> Path:
    return write_bag(tmp_path / "bag", list(conversation(skills)))


def replay(make_graph: MakeGraph, bag: Path, skills: Path, mode: str = "sample", **parameters: object) -> ReplayNode:
    """Run the replay graph to its end."""
    graph: Graph = make_graph(
        replay_node={"bag": str(bag), **parameters},
        policy_node={"skills": str(skills), "mode": mode, "use_sim_time": True},
    )
    node = graph.add(ReplayNode())
    graph.add(PolicyNode())
    graph.spin_until(node.done.done, "the end of the replay")
    return node


def test_the_same_policy_answers_alike(make_graph: MakeGraph, bag: Path, skills: Path, tmp_path: Path) -> None:
    node = replay(make_graph, bag, skills, report=str(tmp_path / "report.json"))
    assert node.done.result() == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["equal"]
    assert report["complete"]
    assert report["compared"] == EPISODES * STEPS
    assert set(report["largest_difference"].values()) == {0.0}


def test_another_policy_is_told_apart(make_graph: MakeGraph, bag: Path, skills: Path, tmp_path: Path) -> None:
    node = replay(make_graph, bag, skills, mode="mode", report=str(tmp_path / "report.json"))
    assert node.done.result() == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert not report["equal"]
    assert report["largest_difference"]["latent"] > 0
    assert report["first_difference_stamp_ns"] == 40_000_000


def test_small_differences_can_be_tolerated(make_graph: MakeGraph, skills: Path, tmp_path: Path) -> None:
    messages = list(conversation(skills))
    messages[4][1].action[0] += 1e-4
    bag = write_bag(tmp_path / "bag", messages)
    assert replay(make_graph, bag, skills, tolerance=1e-3).done.result() == 0


def test_without_a_policy_it_gives_up(make_graph: MakeGraph, bag: Path) -> None:
    graph = make_graph(replay_node={"bag": str(bag), "timeout_s": 0.3})
    node = graph.add(ReplayNode())
    graph.spin_until(node.done.done, "the end of the replay")
    assert node.done.result() == 3


def test_only_what_can_be_recomputed_is_replayed(skills: Path, tmp_path: Path) -> None:
    """Not an episode whose start is missing, nor what follows a gap or an observation without an answer."""
    messages = list(conversation(skills))
    kept = messages[3:STEPS] + messages[STEPS : STEPS + 4] + messages[STEPS + 5 :]
    recording = load_recorded(write_bag(tmp_path / "bag", kept))
    assert [item.observation.episode_step for item in recording.items] == [0, 1, 2, 3]
    assert {item.observation.episode_id for item in recording.items} == {2}
    assert (recording.observations, recording.answers) == (len(kept), len(kept))
    (fault,) = recording.faults
    assert fault.startswith(f"{len(kept) - 4} answers follow a gap")


def test_bags_without_a_graph_or_with_two_are_refused(
    make_graph: MakeGraph, bag: Path, skills: Path, tmp_path: Path
) -> None:
    both = BagWriter(tmp_path / "both")
    for robot in ("a", "b"):
        for topic, kind in (("observation", OBSERVATION_TYPE), ("skill_action", ACTION_TYPE)):
            both.add_topic(f"/{robot}/{topic}", kind)
            both.write(f"/{robot}/{topic}", bytes(serialize_message(Observation())), 0)
    both.close()
    with pytest.raises(DataError, match="/a/observation, /b/observation"):
        load_recorded(tmp_path / "both")
    with pytest.raises(DataError, match="c/observation; it has /a/observation"):
        load_recorded(tmp_path / "both", "c")
    write_bag(tmp_path / "named", list(conversation(skills))[:2], namespace="/robot")
    assert len(load_recorded(tmp_path / "named", "robot").items) == 2
    make_graph()
    with pytest.raises(GraphError, match="bag is empty"):
        ReplayNode()


def test_differences_by_hand() -> None:
    recorded = SkillAction(action=[0.5, 1.0], latent=[1.0], skill_step=3, source="a")
    comparison = Comparison(tolerance=0.1)
    assert not comparison.equal
    comparison.add(7, recorded, SkillAction(action=[0.5, 0.9375], latent=[1.0], skill_step=3, source="a"))
    assert comparison.equal
    comparison.add(8, recorded, SkillAction(action=[0.5, 0.5], latent=[1.0, 2.0], skill_step=4, source="b"))
    found = comparison.to_dict()
    assert found["largest_difference"]["action"] == 0.5
    assert found["largest_difference"]["skill_step"] == 1
    assert found["incomparable"] == ["latent"]
    assert found["first_difference_stamp_ns"] == 8
    assert "recorded from 'a', recomputed from 'b'" in comparison.describe()
    broken = replace(Comparison(tolerance=1.0))
    broken.add(9, recorded, SkillAction(action=[float("nan"), 0.0], latent=[1.0], skill_step=3))
    assert broken.to_dict()["incomparable"] == ["action"]
    assert not broken.equal

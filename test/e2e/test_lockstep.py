"""An episode over ROS in lockstep is the episode in process, to the last bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from graph_runs import GraphProcess, assert_equal_to_the_last_bit, in_process, run_graph

from reskill_core.data import DemoDataset, Episode
from reskill_core.runtime.skill_policy import SkillPolicy
from reskill_ros.bench import untrained_skills
from reskill_sim.demonstrators import make_demonstrator
from reskill_sim.tasks import get_task


def demonstrated(task: str, seeds: range) -> dict[int, Episode]:
    demonstrator = make_demonstrator(task)
    return in_process(
        task, demonstrator, seeds, lambda place: (demonstrator.source(place), float(demonstrator.noise_scale[place]))
    )


@pytest.mark.parametrize(("task", "seed"), [("block", 3), ("hook", 11)])
def test_demonstrations_over_ros_equal_those_in_process(task: str, seed: int, tmp_path: Path) -> None:
    run_graph("collect", tmp_path, task=task, seed=seed, episodes=3, dataset=tmp_path / "data", keep_failures="true")
    assert_equal_to_the_last_bit(DemoDataset.open(tmp_path / "data"), demonstrated(task, range(seed, seed + 3)))


def test_a_policy_over_ros_acts_as_in_process_and_can_be_replayed(tmp_path: Path) -> None:
    """Recorded as data and as a bag; from the bag the same policy gives the same answers again."""
    skills = untrained_skills(tmp_path / "skills", get_task("block").spec)
    data, bag, report = tmp_path / "data", tmp_path / "bag", tmp_path / "report.json"
    given = {"skills": skills, "episodes": 2, "seed": 5, "pacing": "lockstep", "report": report}
    run_graph("policy", tmp_path, **given, dataset=data, bag=bag)
    policy = SkillPolicy.load(skills)
    policy.reset([0])
    expected = in_process("block", policy, range(5, 7), lambda place: ("skills sample", 0.0))
    assert_equal_to_the_last_bit(DemoDataset.open(data), expected)
    results = json.loads(report.read_text())["results"]
    assert [row["steps"] for row in results] == [episode.num_steps for episode in expected.values()]
    run_graph("replay", tmp_path, bag=bag, skills=skills, report=report)
    replayed = json.loads(report.read_text())
    assert replayed["equal"]
    # Each episode has an observation more than it has steps, and that is answered too.
    assert replayed["compared"] >= sum(episode.num_steps for episode in expected.values())
    other = GraphProcess("replay", tmp_path, bag=bag, skills=skills, mode="mode")
    assert other.wait() == 1
    assert "DIFFERENT" in other.output


def test_f46_two_robots_in_two_namespaces_do_not_disturb_each_other(tmp_path: Path) -> None:
    robots = {"left": ("block", 0), "right": ("hook", 0)}
    graphs = [
        GraphProcess(
            "collect",
            tmp_path,
            namespace=name,
            task=task,
            seed=seed,
            episodes=1,
            dataset=tmp_path / name,
            keep_failures="true",
        )
        for name, (task, seed) in robots.items()
    ]
    for graph in graphs:
        graph.finish()
    for name, (task, seed) in robots.items():
        assert_equal_to_the_last_bit(DemoDataset.open(tmp_path / name), demonstrated(task, range(seed, seed + 1)))

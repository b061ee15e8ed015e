"""An episode over ROS in lockstep is the episode in process, to the last bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from graph_runs import GraphProcess, assert_equal_to_the_last_bit, in_process, run_graph

from reskill_core.data import DemoDataset, Episode
from reskill_core.estimation.config import EstimatorTrainingConfig
from reskill_core.rl.config import AgentConfig, AgentTrainingConfig, Schedule
from reskill_core.runtime import load_policy
from reskill_ros.tools.bench import untrained_skills
from reskill_sim.engine.simulator import Simulator
from reskill_sim.engine.variation import parse_variation
from reskill_sim.experiments.agent_training import train_agent
from reskill_sim.experiments.estimator_training import train_estimator
from reskill_sim.fetch.demonstrators import make_demonstrator
from reskill_sim.fetch.tasks import get_task


def demonstrated(task: str, seeds: range, profile: str = "exact", variation: str = "") -> dict[int, Episode]:
    demonstrator = make_demonstrator(task)
    return in_process(
        Simulator(get_task(task, parse_variation(variation.split())), profile=profile),
        demonstrator,
        seeds,
        lambda place: (demonstrator.source(place), float(demonstrator.noise_scale[place])),
    )


EVERYTHING = "friction=0.5:1.5 mass=0.5:2 size=0.9:1.1 perception_noise=0.002 perception_delay=0:2 action_delay=1"


@pytest.mark.parametrize(
    ("task", "seed", "profile", "variation"),
    [
        ("block", 3, "exact", ""),
        ("hook", 11, "exact", ""),
        ("slippery_push", 0, "exact", ""),
        ("clean_up", 0, "fast", ""),
        ("pyramid_stack", 0, "turbo", ""),
        ("complex_hook", 0, "fast", ""),
        ("block", 0, "fast", EVERYTHING),
    ],
)
def test_demonstrations_over_ros_equal_those_in_process(
    task: str, seed: int, profile: str, variation: str, tmp_path: Path
) -> None:
    run_graph(
        "collect",
        tmp_path,
        task=task,
        seed=seed,
        profile=profile,
        variation=variation,
        episodes=2,
        dataset=tmp_path / "data",
        keep_failures="true",
    )
    expected = demonstrated(task, range(seed, seed + 2), profile, variation)
    assert_equal_to_the_last_bit(DemoDataset.open(tmp_path / "data"), expected)


def test_an_episode_runs_in_real_time(tmp_path: Path) -> None:
    data = tmp_path / "data"
    run_graph("collect", tmp_path, task="clean_up", pacing="realtime", episodes=1, dataset=data, keep_failures="true")
    dataset = DemoDataset.open(data)
    assert dataset.episode_lengths.tolist() == [get_task("clean_up").spec.horizon]


@pytest.mark.parametrize("composed", ["false", "true"])
def test_a_policy_over_ros_acts_as_in_process_and_can_be_replayed(composed: str, tmp_path: Path) -> None:
    """Recorded as data and as a bag; from the bag the same policy gives the same answers again."""
    skills = untrained_skills(tmp_path / "skills", get_task("block").spec)
    data, bag, report = tmp_path / "data", tmp_path / "bag", tmp_path / "report.json"
    given = {"skills": skills, "episodes": 2, "seed": 5, "pacing": "lockstep", "report": report, "composed": composed}
    run_graph("policy", tmp_path, **given, dataset=data, bag=bag)
    policy = load_policy(skills)
    policy.reset([0])
    expected = in_process(Simulator(get_task("block")), policy, range(5, 7), lambda place: ("skills sample", 0.0))
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


def test_an_agent_over_ros_acts_as_in_process(tmp_path: Path) -> None:
    """With skills, both levels and a state estimator."""
    skills = untrained_skills(tmp_path / "skills", get_task("block").spec)
    config = AgentTrainingConfig(
        task="clean_up",
        skills=str(skills),
        out=str(tmp_path / "agent"),
        steps=400,
        num_envs=8,
        rollout_steps=50,
        profile="turbo",
        threads=0,
        evaluation_episodes=1,
        agent=AgentConfig(schedule=Schedule("linear", 0, 1)),
    )
    plain = train_agent(config, show_progress=False).run
    late = {"action_delay": [0, 2], "perception_delay": [0, 2]}
    estimating = EstimatorTrainingConfig(
        str(plain), str(tmp_path / "estimator"), late, steps=400, num_envs=8, evaluation_episodes=1, threads=0
    )
    agent = train_estimator(estimating, show_progress=False).run
    given = {"skills": agent, "task": "clean_up", "profile": "fast", "episodes": 2, "pacing": "lockstep"}
    run_graph("policy", tmp_path, **given, dataset=tmp_path / "data")
    policy = load_policy(agent)
    policy.reset([0])
    simulator = Simulator(get_task("clean_up"), profile="fast")
    expected = in_process(simulator, policy, range(2), lambda place: ("agent mode", 0.0))
    assert_equal_to_the_last_bit(DemoDataset.open(tmp_path / "data"), expected)


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


def test_a_recorded_episode_is_played_back_to_the_same_end(tmp_path: Path) -> None:
    data, report = tmp_path / "data", tmp_path / "playback.json"
    simulated = {"task": "block", "seed": 5, "profile": "fast", "episodes": 2}
    # As YAML it would be a mapping.
    run_graph("collect", tmp_path, **simulated, dataset=data, keep_failures="true", label="lift: it")
    assert DemoDataset.open(data).label.tolist() == ["lift: it", "lift: it"]
    run_graph("playback", tmp_path, dataset=data, episode=1, report=report)
    found = json.loads(report.read_text())
    assert (found["episode"], found["label"]) == (1, "lift: it")
    assert found["steps"] == DemoDataset.open(data).episode(1).num_steps
    assert set(found["end"]) >= {"gripper_position", "block_position", "finger_position"}
    assert set(found["start"].values()) == set(found["end"].values()) == {0.0}
    run_graph("playback", tmp_path, dataset=data, episode=1, seed=6 + 1, report=report)
    assert json.loads(report.read_text())["end"]["block_position"] > 0.01, "another start of the block"

"""Agents on the real simulator: training runs, and what is left of them."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from untrained_skills import (
    AT_ONCE,
    ENVS,
    untrained_skills,  # noqa: F401 - a fixture
)

import reskill_core
from reskill_core.checkpoint import load_checkpoint
from reskill_core.config import config_from_dict, config_to_dict, save_config
from reskill_core.data import DemoDataset
from reskill_core.errors import CheckpointError, ConfigError
from reskill_core.models.config import MemoryConfig
from reskill_core.report import pick_episodes, read_run
from reskill_core.rl.config import AgentConfig, AgentTrainingConfig, PpoConfig
from reskill_core.runtime.agent import AGENT_KIND
from reskill_core.runtime.loading import load_policy
from reskill_core.seeding import EPISODES as SEEDS
from reskill_core.seeding import EVALUATION_SEED, first_episode
from reskill_core.training import training_run
from reskill_sim.cli.main import main
from reskill_sim.engine.episodes import run_episodes
from reskill_sim.engine.simulator import Simulator
from reskill_sim.evaluation import PolicyEvaluationConfig, evaluate_policies, evaluate_policy
from reskill_sim.experiments.agent_training import train_agent
from reskill_sim.experiments.collect import CollectConfig, collect
from reskill_sim.experiments.report import EPISODES, showcase, skill_choices
from reskill_sim.fetch.tasks import get_task

# How often the test that kills a process does so.
KILLS = int(os.environ.get("RESKILL_KILLS", "2"))


def config(skills: Path, out: Path, **changes: object) -> AgentTrainingConfig:
    values = AgentTrainingConfig(
        task="slippery_push",
        skills=str(skills),
        out=str(out),
        steps=4 * ENVS * 20,
        num_envs=ENVS,
        rollout_steps=20,
        profile="turbo",
        threads=0,
        evaluate_every=2 * ENVS * 20,
        evaluation_episodes=2,
        agent=AgentConfig(schedule=AT_ONCE),
    )
    return replace(values, **changes)  # type: ignore[arg-type]


def test_a_run_leaves_an_agent_that_acts_as_it_was_evaluated(skills: Path, tmp_path: Path) -> None:
    result = train_agent(config(skills, tmp_path), show_progress=False)
    assert result.steps == 4 * ENVS * 20
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert sum("train/steps_per_s" in row for row in rows) == 4
    glossary = (
        (Path(reskill_core.__file__).parent / "README.md")
        .read_text()
        .split("## The agent")[1]
        .split("\n### Metrics of soft")[0]
    )
    # No episode has ended yet, so there is nothing to say of those.
    logged = {tag for row in rows for tag in row if tag != "step"} | {"train/return", "train/success"}
    assert logged == set(re.findall(r"`(\w+/\w+)`", glossary))
    evaluations = [row for row in rows if "evaluation/return" in row]
    assert [row["step"] for row in evaluations] == [240, 480]
    assert (tmp_path / "plots" / "returns.png").stat().st_size > 1000
    policy = load_policy(tmp_path)
    assert policy.task_spec.name == "slippery_push"
    policy.reset([0, 0])

    def make_actor(num_envs: int) -> object:
        policy.reset([0] * num_envs)
        return policy

    chose = first_episode(0, "selection")
    again = evaluate_policy(get_task("slippery_push"), make_actor, "agent", 2, "turbo", first_seed=chose)  # type: ignore[arg-type]
    assert again.episode_return.mean == pytest.approx(result.evaluation["return"])
    action = policy.act(Simulator(get_task("slippery_push"), 2).reset([1, 2]))
    assert (action.residual_weight == 1.0).all()
    assert np.abs(action.action).max() <= 1.0


def test_a_run_continues_to_the_same_bits(skills: Path, tmp_path: Path) -> None:
    steady, broken = tmp_path / "steady", tmp_path / "broken"
    train_agent(config(skills, steady), show_progress=False)
    # As after a kill in the second half: the first checkpoint, and metrics of work that was lost.
    train_agent(config(skills, broken), show_progress=False)
    late = max(path for path in (broken / "checkpoints").iterdir() if path.name.isdigit())
    (broken / "checkpoints" / "last").unlink()
    (broken / "checkpoints" / "last").symlink_to(f"{240:08d}")
    train_agent(config(skills, broken), show_progress=False)
    expected, found = (load_checkpoint(run / "checkpoints" / late.name, AGENT_KIND) for run in (steady, broken))
    assert expected.weights.keys() == found.weights.keys()
    for name, array in expected.weights.items():
        np.testing.assert_array_equal(array, found.weights[name], err_msg=name)
    assert expected.document["evaluation"] == found.document["evaluation"]


def test_threads_change_nothing(skills: Path, tmp_path: Path) -> None:
    runs = [tmp_path / str(threads) for threads in (0, 3)]
    for run, threads in zip(runs, (0, 3), strict=True):
        train_agent(config(skills, run, threads=threads, group_size=2), show_progress=False)
    one, three = (load_checkpoint(run / "checkpoints" / "last", AGENT_KIND).weights for run in runs)
    for name, array in one.items():
        np.testing.assert_array_equal(array, three[name], err_msg=name)


@pytest.mark.parametrize("seed", [0, 100])
def test_what_trains_and_what_chooses_is_not_what_is_reported(
    seed: int, skills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: set[int] = set()
    starts: dict[bytes, int] = {}
    reset = Simulator.reset

    def noted(self: Simulator, seeds: Sequence[int], indices: Sequence[int] | None = None) -> np.ndarray:
        observation = reset(self, seeds, indices)
        chosen = range(self.num_envs) if indices is None else indices
        # What a new simulator shows until it is told which episodes to start.
        for place, one in zip(chosen, seeds, strict=True):
            if one >= 1000:
                started.add(one)
                starts[observation[place].tobytes()] = one
        return observation

    monkeypatch.setattr(Simulator, "reset", noted)
    run = config(skills, tmp_path, seed=seed, steps=ENVS * 120, evaluate_every=ENVS * 60, evaluation_episodes=ENVS)
    train_agent(run, show_progress=False)
    learnt, chose = ({one for one in started if one in SEEDS[purpose]} for purpose in ("training", "selection"))
    assert (len(learnt), len(chose)) == (2 * ENVS, ENVS)
    assert started == learnt | chose
    assert len(starts) == len(started)
    evaluation = PolicyEvaluationConfig(
        ("agent",), (), (str(tmp_path),), str(tmp_path / "evaluation"), 2 * ENVS, "turbo", threads=0
    )
    before, known = set(starts), set(started)
    evaluate_policies(evaluation, show_progress=False)
    assert started - known == set(range(EVALUATION_SEED, EVALUATION_SEED + 2 * ENVS))
    assert len(set(starts) - before) == 2 * ENVS


@pytest.mark.timeout(300 + 100 * KILLS)
def test_killed_at_random_moments_it_ends_the_same(skills: Path, tmp_path: Path) -> None:
    iteration = ENVS * 20
    lengths = {"steps": (3 * KILLS + 3) * iteration, "evaluate_every": iteration}
    steady, killed = (config(skills, tmp_path / name, **lengths) for name in ("steady", "killed"))
    save_config(killed, tmp_path / "killed.yaml")
    command = [sys.executable, "-m", "reskill_sim.cli.main", "train-agent", str(tmp_path / "killed.yaml"), "--quiet"]
    last, rng = tmp_path / "killed" / "checkpoints" / "last", random.Random(0)
    for _ in range(KILLS):
        process = subprocess.Popen(command)
        # Somewhere between its first moments and a few checkpoints further on.
        wanted = (int(last.readlink().name) if last.is_symlink() else 0) + rng.randrange(3) * iteration
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if last.is_symlink() and int(last.readlink().name) >= wanted:
                break
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
    for run in (steady, killed):
        train_agent(run, show_progress=False)
    expected, found = (
        load_checkpoint(Path(run.out) / "checkpoints" / f"{run.steps:08d}", AGENT_KIND) for run in (steady, killed)
    )
    for name, array in expected.weights.items():
        np.testing.assert_array_equal(array, found.weights[name], err_msg=name)


def test_a_run_with_other_settings_is_not_continued(skills: Path, tmp_path: Path) -> None:
    train_agent(config(skills, tmp_path), show_progress=False)
    with pytest.raises(CheckpointError, match=r"agent.residual: True != False"):
        train_agent(config(skills, tmp_path, agent=AgentConfig(schedule=AT_ONCE, residual=False)), show_progress=False)
    # What it is called is no setting.
    assert train_agent(config(skills, tmp_path, variant="other"), show_progress=False).steps == 4 * ENVS * 20


def test_a_run_is_not_continued_with_other_streams_of_random_numbers(
    skills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_run, "SEEDING", 1)
    train_agent(config(skills, tmp_path), show_progress=False)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"training.seeding: 1 != 2"):
        train_agent(config(skills, tmp_path), show_progress=False)


def test_an_agent_learns_in_a_world_that_varies(skills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    delays: list[set[float]] = []
    step = Simulator.step

    def noted(self: Simulator, *args: np.ndarray) -> object:
        delays.append(set(self.state()[:, self.layout.delays][:, 1]))
        return step(self, *args)

    monkeypatch.setattr(Simulator, "step", noted)
    train_agent(config(skills, tmp_path, variation={"action_delay": [1, 2]}), show_progress=False)
    # Also where it is evaluated.
    assert set.union(*delays) == {1.0, 2.0}
    with pytest.raises(ConfigError, match="action_delais: unknown key; did you mean action_delay"):
        train_agent(config(skills, tmp_path, variation={"action_delais": 1}), show_progress=False)
    with pytest.raises(CheckpointError, match=r"variation"):
        train_agent(config(skills, tmp_path), show_progress=False)


def test_skills_of_another_layout_are_refused(skills: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not fit 'complex_hook'"):
        train_agent(config(skills, tmp_path, task="complex_hook"), show_progress=False)


def test_an_agent_without_residual_decodes_what_it_chooses(skills: Path, tmp_path: Path) -> None:
    plain = AgentConfig(residual=False, latent_source="standard_normal")
    train_agent(config(skills, tmp_path, agent=plain), show_progress=False)
    policy = load_policy(tmp_path)
    policy.reset([0])
    action = policy.act(Simulator(get_task("slippery_push")).reset([1]))
    np.testing.assert_array_equal(action.action, action.decoded_action)
    assert action.residual_weight.tolist() == [0.0]


def test_without_skills_the_low_level_acts_alone_and_may_start_by_imitation(skills: Path, tmp_path: Path) -> None:
    alone = AgentConfig(skills=False, low_level=PpoConfig(std=0.5))
    demonstrations = CollectConfig(task="slippery_push", episodes=8, out=str(tmp_path / "data"), workers=1)
    collect(demonstrations, show_progress=False)
    actions = []
    for name, updates in (("untaught", 0), ("taught", 400)):
        run = config(
            skills, tmp_path / name, agent=alone, demonstrations=demonstrations.out, imitation_updates=updates, steps=1
        )
        train_agent(run, show_progress=False)
        policy = load_policy(tmp_path / name)
        dataset = DemoDataset.open(demonstrations.out)
        policy.reset([0] * dataset.num_steps)
        actions.append(policy.act(dataset.observation))
        assert not actions[-1].decoded_action.any()
        assert (actions[-1].residual_weight == 1.0).all()
    untaught, taught = (np.square(action.action - dataset.action).mean() for action in actions)
    assert taught < 0.3 * untaught


def test_imitation_needs_demonstrations_and_goes_without_skills(skills: Path, tmp_path: Path) -> None:
    alone = AgentConfig(skills=False)
    for changes in ({"demonstrations": "runs/data/block"}, {"agent": alone}):
        wrong = config_to_dict(config(skills, tmp_path, imitation_updates=1, **changes))
        with pytest.raises(ConfigError, match="imitation_updates: needs demonstrations"):
            config_from_dict(AgentTrainingConfig, wrong)


def test_a_report_shows_the_episodes_and_choices_that_the_agent_made(skills: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train_agent(config(skills, run), show_progress=False)
    evaluation = PolicyEvaluationConfig(
        ("agent",), ("slippery_push",), (str(run),), str(run / "evaluation"), episodes=5, profile="turbo", threads=0
    )
    [result] = evaluate_policies(evaluation, show_progress=False)
    shown = showcase(read_run(run))
    picked = pick_episodes(read_run(run).outcomes.episodes)  # type: ignore[union-attr]
    assert [(video.title, video.seed) for video in shown.videos] == [(t, pick.seed) for t, pick in picked.items()]
    returns = {row.seed: row.episode_return for row in result.outcomes}
    assert all(video.episode_return == returns[video.seed] for video in shown.videos)
    assert all(video.mp4[4:8] == b"ftyp" for video in shown.videos)
    # A skill every 5 of 100 steps.
    assert shown.choices is not None
    assert shown.choices.number.tolist() == list(range(20)) * EPISODES
    page = tmp_path / "report.html"
    assert main(["report", str(run), "--no-videos", "--out", str(page)]) == 0
    assert "<video" not in page.read_text()


@pytest.mark.parametrize("memory", [MemoryConfig(), MemoryConfig(actions=2, features=1)], ids=["none", "remembering"])
def test_choices_in_a_report_are_those_of_the_episodes(memory: MemoryConfig, skills: Path, tmp_path: Path) -> None:
    agent = AgentConfig(schedule=AT_ONCE, memory=memory)
    train_agent(config(skills, tmp_path, agent=agent), show_progress=False)
    policy = load_policy(tmp_path)
    policy.reset([0] * ENVS)
    simulator = Simulator(get_task("slippery_push"), ENVS, "turbo")
    episodes = sorted(run_episodes(simulator, policy, range(ENVS)), key=lambda episode: episode.seed)
    choices = skill_choices(policy, episodes)
    assert choices is not None
    policy.reset(range(ENVS))
    observation, chosen = simulator.reset(range(ENVS)), []
    for _ in range(get_task("slippery_push").spec.horizon):
        action = policy.act(observation)
        if action.skill_step[0] == 0:
            chosen.append(action.latent)
        observation = simulator.step(action.action).observation
    np.testing.assert_array_equal(choices.chosen.reshape(ENVS, 20, -1).swapaxes(0, 1), chosen)
    assert choices.sampled.std(axis=0).min() > 0.1

"""Training of state estimators: in the simulator, resumed, exported, deployed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_policy import OnnxPolicy

from reskill_core.checkpoint import load_checkpoint, save_checkpoint
from reskill_core.config import config_from_dict, load_config
from reskill_core.errors import CheckpointError, ConfigError
from reskill_core.estimation.config import EstimatorTrainingConfig
from reskill_core.lineage import Lineage
from reskill_core.resources import shipped_folder
from reskill_core.rl.config import AgentTrainingConfig, Schedule
from reskill_core.runtime import load_policy
from reskill_core.runtime.agent import AGENT_KIND, ESTIMATOR, below
from reskill_core.runtime.estimator import members_of
from reskill_core.training import estimator_trainer
from reskill_core.training.estimator_trainer import EstimatorTrainer
from reskill_core.training.export import ONNX_FOLDER, export_run
from reskill_core.training.metrics import read_metrics
from reskill_sim.cli.main import main
from reskill_sim.engine.simulator import Simulator
from reskill_sim.engine.variation import parse_variation
from reskill_sim.experiments.agent_training import train_agent
from reskill_sim.experiments.estimator_training import train_estimator
from reskill_sim.fetch.tasks import get_task

ROUND = 8 * 50


def training(out: Path, **changes: object) -> EstimatorTrainingConfig:
    document = {
        "agent": "agents/clean_up",
        "out": str(out),
        "variation": {"action_delay": [0, 2], "perception_delay": [0, 2], "perception_noise": [0.0, 0.005]},
        "steps": 6 * ROUND,
        "num_envs": 8,
        "threads": 0,
        "updates": 10,
        "evaluate_every": 2 * ROUND,
        "evaluation_episodes": 2,
        "estimator": {"hidden": 16},
        **changes,
    }
    return config_from_dict(EstimatorTrainingConfig, document)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_estimator(training(tmp_path_factory.mktemp("estimator") / "run"), show_progress=False).run


def test_delays_are_told_by_the_simulator() -> None:
    delays = {
        "action_delay=2": 2,
        "perception_delay=1": 0,
        "": 0,
        "action_delay=1 lateness=0.25 lag=0.06": 1.25,
    }
    for variation, expected in delays.items():
        simulator = Simulator(get_task("block", parse_variation(variation.split())), 3)
        assert simulator.action_delays().tolist() == [expected] * 3


def test_the_agent_stays_as_it_is_and_the_estimator_is_added(finished: Path) -> None:
    agent, estimating = (load_checkpoint(run, AGENT_KIND) for run in ("agents/clean_up", finished))
    for name, array in agent.weights.items():
        np.testing.assert_array_equal(estimating.weights[name], array)
    lineage = Lineage.of(estimating.document)
    assert (lineage.agent, lineage.skills) == (agent.sha256, Lineage.of(agent.document).skills)
    trained_s = [row["train/trained_s"] for row in read_metrics(finished) if "train/trained_s" in row]
    assert 0 < trained_s[0] < trained_s[-1]
    losses = [row["train/loss"] for row in read_metrics(finished) if "train/loss" in row]
    assert losses[-1] < losses[0]


def test_members_learn_apart(finished: Path) -> None:
    """All of them learn, from other weights and in another order, so that they disagree about what is new to them."""
    weights = load_checkpoint(finished, AGENT_KIND).weights
    first, second = members_of(below(ESTIMATOR, weights))
    assert all((first[name] != second[name]).any() for name in first)
    assert all(member["output.linear.1.weight"].any() for member in (first, second))


def test_it_acts_by_estimates(finished: Path) -> None:
    """As the agent alone acts at the observations that the estimator gives."""
    estimating, alone = load_policy(finished), load_policy("agents/clean_up")
    simulator = Simulator(get_task("clean_up", parse_variation(["perception_delay=1"])), 2, profile="fast")
    observation = simulator.reset([3, 4])
    for policy in (estimating, alone):
        policy.reset([0, 1])
    estimator, places = load_policy(finished).estimator, np.arange(2)
    assert estimator is not None
    estimator.start(2)
    for _ in range(15):
        action = estimating.act(observation).action
        estimate = estimator.estimate(observation, places)
        np.testing.assert_array_equal(action, alone.act(estimate).action)
        assert np.abs(estimate - observation).max() > 0
        estimator.remember(action, places)
        observation = simulator.step(action).observation


def test_targets_come_from_the_simulator(tmp_path: Path) -> None:
    """With nothing but late actions, the true observation two steps later is simply observed two steps later."""
    config = training(tmp_path / "run", variation={"action_delay": [2, 2]}, nominal_share=0.25)
    task = get_task("clean_up", parse_variation(["action_delay=2"]))
    agent = load_checkpoint(config.agent, AGENT_KIND)
    trainer = EstimatorTrainer(config, task.make_env(8, "fast"), agent, lambda policy: {}, {})
    episodes, _ = trainer._act(trainer.policy())
    # A quarter of the environments is nominal.
    np.testing.assert_array_equal(episodes.targets[:2], episodes.observed[:2])
    np.testing.assert_array_equal(episodes.targets[2:, :-2], episodes.observed[2:, 2:])
    assert episodes.is_known.sum(axis=1).tolist() == [50] * 2 + [49] * 6
    assert not episodes.actions[:, 0].any()
    assert episodes.actions[:, 1].any()


def test_episodes_may_be_longer_than_the_task(tmp_path: Path) -> None:
    """As those of slow arms are: everything beyond the horizon is learnt from, and counts as steps."""
    config = training(tmp_path / "run", horizons=2.5, steps=8 * 125, evaluate_every=8 * 125)
    run = train_estimator(config, show_progress=False).run
    state = load_checkpoint(run, AGENT_KIND)
    assert state.task.horizon == 50
    steps = [row["step"] for row in read_metrics(run) if "train/loss" in row]
    assert steps == [8 * 125]
    lengths, task = {}, get_task("clean_up")
    for name, lasting in (("as long", task), ("longer", task.lasting(2.5))):
        simulator = lasting.make_env(2, "fast")
        simulator.reset([0, 1])
        ends = [bool(simulator.step(np.zeros((2, 4))).truncated.all()) for _ in range(125)]
        lengths[name] = ends.index(True) + 1
    assert lengths == {"as long": 50, "longer": 125}


def test_an_interrupted_training_continues_to_the_same_bits(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = training(tmp_path / "run")
    rounds = 0
    original = EstimatorTrainer.iterate

    def interrupted(trainer: EstimatorTrainer) -> dict[str, float]:
        nonlocal rounds
        rounds += 1
        if rounds == 4:
            raise KeyboardInterrupt
        return original(trainer)

    monkeypatch.setattr(estimator_trainer.EstimatorTrainer, "iterate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_estimator(config, show_progress=False)
    resumed = train_estimator(config, show_progress=False)
    expected, found = (load_checkpoint(run / "checkpoints" / "last", AGENT_KIND) for run in (finished, resumed.run))
    assert found.sha256 == expected.sha256
    # Two rounds were finished, the third one was lost.
    assert rounds == 4 + 4


def test_another_agent_is_another_run(finished: Path, tmp_path: Path) -> None:
    config = training(finished)
    agent = load_checkpoint(config.agent, AGENT_KIND)
    weights = {name: array + np.float32(1e-3) for name, array in agent.weights.items() if array.dtype == np.float32}
    other = save_checkpoint(tmp_path / "other", AGENT_KIND, {**agent.weights, **weights}, agent.document)
    with pytest.raises(CheckpointError, match="agent: "):
        train_estimator(replace(config, agent=str(other)), show_progress=False)
    with pytest.raises(ConfigError, match="has an estimator already"):
        train_estimator(replace(config, agent=str(finished), out=str(finished.parent / "other")), show_progress=False)


def test_a_report_shows_its_learning_and_its_commands(finished: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert main(["report", str(finished), "--no-videos", "--out", str(page)]) == 0
    text = page.read_text()
    assert "<h2>clean_up</h2>" in text
    assert "reskill train-estimator clean_up-estimating.yaml" in text
    assert "skills: those of agents/clean_up" in text


@pytest.mark.parametrize("given", ["initial", "estimator"])
def test_an_agent_that_learns_behind_it_is_reported_as_an_agent(given: str, finished: Path, tmp_path: Path) -> None:
    """Whether it learns on or is a new one."""
    shipped = load_config(AgentTrainingConfig, shipped_folder("models") / "agents" / "clean_up" / "config.yaml")
    # The residual acts fully from the second iteration on.
    agent = replace(shipped.agent, schedule=Schedule("linear", 0, 1))
    small: dict[str, Any] = {
        "agent": agent,
        "steps": 2 * ROUND,
        "num_envs": 8,
        "group_size": 8,
        "threads": 0,
    }
    skills = {"initial": "none", "estimator": "skills/block"}[given]
    source: dict[str, Any] = {"skills": skills, given: str(finished)}
    config = replace(shipped, **source, out=str(tmp_path / "run"), evaluation_episodes=2, **small)
    run = train_agent(config, show_progress=False).run
    before, after = (load_checkpoint(folder, AGENT_KIND).weights for folder in (finished, run))
    kept = [name for name in before if name.startswith("estimator.")]
    assert kept
    for name in kept:
        np.testing.assert_array_equal(after[name], before[name])
    assert (after["low_level.actor.linear.0.weight"] != before["low_level.actor.linear.0.weight"]).any()
    page = tmp_path / "report.html"
    assert main(["report", str(run), "--no-videos", "--out", str(page)]) == 0
    assert "reskill train-agent clean_up-agent.yaml" in page.read_text()
    assert f"skills: {skills if given == 'estimator' else f'those of {finished}'}" in page.read_text()


def test_its_network_is_exported(finished: Path, tmp_path: Path) -> None:
    export_run(finished, tmp_path / "out", onnx=True)
    files, policy = OnnxPolicy(tmp_path / "out" / ONNX_FOLDER), load_policy(tmp_path / "out")
    policy.reset([0])
    rng = np.random.default_rng(0)
    for _ in range(12):
        observation = rng.normal(size=(1, policy.task_spec.obs.dim)).astype(np.float32)
        np.testing.assert_allclose(files.act(observation), policy.act(observation).action, atol=1e-4)

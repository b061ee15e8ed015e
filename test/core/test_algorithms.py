"""Agents whose levels learn by what a name stands for, and agents without skills."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from linear_search import LinearSearchConfig
from point_mass import Ending, PointMass
from skill_fixtures import TASK, random_model, save_module, small_config, write_reaching_data

from reskill_core.checkpoint import load_checkpoint, load_training_state
from reskill_core.config import config_from_dict, config_to_dict, load_config, save_config
from reskill_core.data import DemoDataset
from reskill_core.errors import ConfigError
from reskill_core.rl.algorithm import ALGORITHMS
from reskill_core.rl.config import AgentConfig, AgentTrainingConfig, PpoConfig
from reskill_core.rl.random_observations import random_observations
from reskill_core.rl.transitions import SkillTransition, concatenate
from reskill_core.runtime import SkillModule, load_policy
from reskill_core.runtime.agent import AGENT_KIND
from reskill_core.training.agent_trainer import AgentTrainer
from reskill_core.training.evaluated_run import EvaluatedResult

ENVS, STEPS = 6, 12
ITERATION = ENVS * STEPS
SEARCH = {"algorithm": "linear_search", "spread": 0.5, "discount": 0.9}


@pytest.fixture(autouse=True)
def plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an entry point of another distribution would."""
    known = dict.fromkeys(ALGORITHMS.names, "") | {"ppo": "reskill_core.rl.ppo:Ppo"}
    monkeypatch.setitem(vars(ALGORITHMS), "_places", known | {"linear_search": "linear_search:LinearSearch"})
    monkeypatch.setattr("reskill_core.training.evaluated_run.plot_returns", lambda path, rows: None)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> SkillModule:
    folder = save_module(tmp_path_factory.mktemp("skills") / "module", random_model(small_config()))
    return SkillModule.load(folder, batch_invariant=False)


def train(module: SkillModule | None, out: Path, agent: dict, **changes: object) -> EvaluatedResult:
    given = {
        "task": TASK.name,
        "skills": "skills" if module else "none",
        "out": str(out),
        "steps": 4 * ITERATION,
        "num_envs": ENVS,
        "rollout_steps": STEPS,
        "threads": 1,
        "evaluate_every": ITERATION,
        "keep_checkpoints": 10,
        "agent": {"schedule": {"end": 1}, **agent},
        **changes,
    }
    config = config_from_dict(AgentTrainingConfig, given)
    points = PointMass(ENVS, lambda seed: Ending(STEPS))
    returns = iter(range(100))
    trainer = AgentTrainer(config, [points], TASK, module, lambda policy: {"return": float(next(returns))})
    return trainer.run(show_progress=False)


def test_settings_are_those_of_the_algorithm_that_is_named(tmp_path: Path) -> None:
    agent = config_from_dict(AgentConfig, {"high_level": SEARCH, "low_level": {"std": 0.3}})
    assert agent.high_level == LinearSearchConfig(spread=0.5, discount=0.9)
    # The other level keeps the rest of its own default.
    assert agent.low_level == replace(AgentConfig().low_level, std=0.3)  # type: ignore[call-arg]
    assert config_from_dict(AgentConfig, config_to_dict(agent)) == agent
    assert config_to_dict(agent)["high_level"] == SEARCH
    save_config(agent, tmp_path / "agent.yaml")
    assert load_config(AgentConfig, tmp_path / "agent.yaml") == agent
    assert AgentConfig().high_level.algorithm == "ppo"


def test_what_an_algorithm_does_not_know_is_refused() -> None:
    document = {"high_level": {**SEARCH, "clip": 0.2}, "low_level": {"algorithm": "sca"}, "noise_limit": "wide"}
    with pytest.raises(ConfigError) as caught:
        config_from_dict(AgentConfig, document)
    message = str(caught.value)
    assert "high_level.clip: unknown key" in message
    assert "low_level: unknown algorithm 'sca'; allowed: linear_search, ppo" in message
    assert "noise_limit: " in message
    with pytest.raises(ConfigError, match=r"high_level\.spread: .*got 'wide'"):
        config_from_dict(AgentConfig, {"high_level": {**SEARCH, "spread": "wide"}})
    with pytest.raises(ConfigError, match=r"high_level\.spread: must be at most 10, got 11"):
        config_from_dict(AgentConfig, {"high_level": {**SEARCH, "spread": 11.0}})
    assert PpoConfig(algorithm="sac").violations() == ["algorithm: these are the settings of 'ppo', got 'sac'"]


def test_levels_learn_by_algorithms_of_their_own_and_continue_to_the_same_bits(
    module: SkillModule, tmp_path: Path
) -> None:
    agent = {"high_level": SEARCH, "low_level": {"hidden": [8], "epochs": 1}}
    result = train(module, tmp_path / "steady", agent)
    policy = load_policy(result.run)
    policy.reset(range(3))
    weights = load_checkpoint(result.run, AGENT_KIND).weights
    assert {name.split(".")[0] for name in weights} == {"skills", "high_level", "low_level"}
    assert np.abs(weights["high_level.gain"]).max() > 0.01
    observations = PointMass(3).reset(range(3))
    features = module.features(observations)
    latent = policy.act(observations).latent
    expected = module.prior_features(np.tanh(features @ weights["high_level.gain"]), features)
    np.testing.assert_allclose(latent, expected, rtol=1e-4, atol=1e-5)
    shutil.copytree(tmp_path / "steady", tmp_path / "broken", symlinks=True)
    last = tmp_path / "broken" / "checkpoints" / "last"
    last.unlink()
    last.symlink_to(f"{2 * ITERATION:08d}")
    train(module, tmp_path / "broken", agent)
    states = [load_training_state(tmp_path / run / "checkpoints" / "last") for run in ("steady", "broken")]
    for name, value in states[0].items():
        if name != "progress":
            np.testing.assert_equal(states[1][name], value, err_msg=name)


def test_an_agent_needs_no_skills(tmp_path: Path) -> None:
    """It sees the features of observations, normalised by what chance sees, and nothing else."""
    result = train(None, tmp_path / "run", {"skills": False, "low_level": {"hidden": [8], "std": 0.3}})
    checkpoint = load_checkpoint(result.run, AGENT_KIND)
    assert {name.split(".")[0] for name in checkpoint.weights} == {"low_level"}
    assert checkpoint.weights["low_level.actor.linear.0.weight"].shape == (8, TASK.obs.dim)
    seen = random_observations(PointMass(ENVS, lambda seed: Ending(STEPS)), 0)
    assert seen.shape == (TASK.horizon * ENVS, TASK.obs.dim)
    np.testing.assert_allclose(checkpoint.document["features"]["mean"], seen.mean(axis=0), atol=1e-4)
    policy = load_policy(result.run)
    policy.reset(range(4))
    action = policy.act(PointMass(4).reset(range(4)))
    assert (action.latent.shape, action.action.shape) == ((4, 0), (4, TASK.action.dim))
    assert np.abs(action.action).min() > 0
    assert not action.decoded_action.any()
    # Each row as if it were alone.
    alone = load_policy(result.run)
    alone.reset([2])
    np.testing.assert_array_equal(alone.act(PointMass(4).reset(range(4))[2:3]).action[0], action.action[2])


def test_an_agent_without_skills_imitates_first(tmp_path: Path) -> None:
    data = write_reaching_data(tmp_path / "data")
    frozen = {"hidden": [64], "learning_rate": 1e-9, "epochs": 1}
    settings = {"demonstrations": str(data), "imitation_updates": 600}
    agent = {"skills": False, "low_level": frozen, "features": {"relative": [["goal_position", "gripper_position"]]}}
    result = train(None, tmp_path / "run", agent, **settings)
    dataset = DemoDataset.open(data)
    policy = load_policy(result.run)
    assert policy.module.batch_invariant
    assert not load_policy(result.run, batch_invariant=False).module.batch_invariant
    policy.reset(range(200))
    acted = policy.act(dataset.observation[:200]).action
    assert np.abs(acted - dataset.action[:200]).mean() < 0.15


def test_skills_without_a_module_are_refused() -> None:
    faults = AgentTrainingConfig("reach", "out").violations()
    assert faults == ["skills: needs a skill module, or agent.skills=false to learn without one"]


def test_transitions_are_ordered_by_place_and_time() -> None:
    def ended(places: list[int], step: int) -> SkillTransition:
        count = len(places)
        ones, no = np.full((count, 1), step, np.float32), np.zeros(count, np.bool_)
        flat, place = ones[:, 0], np.array(places)
        return SkillTransition(ones, ones, ones, flat, flat, flat, place, ones, no, no, place, ones[:, :0], ones[:, :0])

    together = concatenate([ended([2, 0], 1), ended([1], 2), ended([0, 2], 3)])
    ordered = together.by_place()
    assert len(ordered) == 5
    assert ordered.place.tolist() == [0, 0, 1, 2, 2]
    assert ordered.reward.tolist() == [1.0, 3.0, 2.0, 1.0, 3.0]
    assert ordered.take(ordered.reward > 1).features.ravel().tolist() == [3.0, 2.0, 3.0]

"""Training that begins with parts of another agent: its weights, its skills, its state estimator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from acting_agents import random_estimator
from agent_runs import (
    AGENT,
    ENVS,
    FROZEN,
    ITERATION,
    STEPS,
    Judge,
    config,
    still_module,  # noqa: F401 - a fixture
    train,
    without_plots,  # noqa: F401 - a fixture
)
from point_mass import Ending, PointMass
from skill_fixtures import TASK

from reskill_core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from reskill_core.errors import CheckpointError, ConfigError
from reskill_core.lineage import Lineage
from reskill_core.rl.config import AgentTrainingConfig, SacConfig
from reskill_core.runtime import SkillModule, load_policy
from reskill_core.runtime.agent import AGENT_KIND
from reskill_core.training.agent_trainer import AgentTrainer


def begun_with(initial: Checkpoint, given: AgentTrainingConfig, returns: tuple[float, ...] = (1, 2)) -> AgentTrainer:
    points = PointMass(ENVS, lambda seed: Ending(STEPS))
    return AgentTrainer(given, [points], TASK, None, Judge(iter(returns)), initial=initial)


def with_estimator(folder: Path, agent: Checkpoint) -> Checkpoint:
    estimator = {f"estimator.{name}": array for name, array in random_estimator().items()}
    document = {**agent.document, "estimator": {"members": 2, "hidden": 8, "actions": 2}}
    return load_checkpoint(save_checkpoint(folder, AGENT_KIND, {**agent.weights, **estimator}, document), AGENT_KIND)


def test_a_run_may_begin_with_another_agent(module: SkillModule, tmp_path: Path) -> None:
    """With its weights, not those of its own seed, and with its skills and its state estimator."""
    plain, _ = train(module, config(tmp_path / "one", seed=1))
    initial = with_estimator(tmp_path / "initial", load_checkpoint(plain.run, AGENT_KIND))
    given = config(tmp_path / "two", skills="none", initial="initial", steps=2 * ITERATION)
    run = begun_with(initial, given).run(show_progress=False)
    found = load_checkpoint(run.run, AGENT_KIND)
    assert found.weights.keys() == initial.weights.keys()
    for name, array in found.weights.items():
        np.testing.assert_allclose(array, initial.weights[name], atol=1e-6, err_msg=name)
    lineage = Lineage.of(found.document)
    assert (lineage.agent, lineage.skills) == (initial.sha256, module.checkpoint.sha256)
    policy = load_policy(run.run)
    assert policy.estimator is not None
    assert policy.estimator.hidden_dim == 2 * 8


def test_a_new_agent_may_learn_behind_the_estimator_of_another(module: SkillModule, tmp_path: Path) -> None:
    """With weights of its own seed, as without an estimator, and that of the other agent as it is."""
    made = {name: train(module, config(tmp_path / name, seed=seed))[0] for name, seed in (("one", 1), ("zero", 0))}
    one, zero = (load_checkpoint(result.run, AGENT_KIND) for result in made.values())
    other = with_estimator(tmp_path / "other", one)
    given = config(tmp_path / "two", estimator="other", steps=2 * ITERATION)
    points = PointMass(ENVS, lambda seed: Ending(STEPS))
    trainer = AgentTrainer(given, [points], TASK, module, Judge(iter((1, 2))), estimator=other)
    found = load_checkpoint(trainer.run(show_progress=False).run, AGENT_KIND)
    for name, array in found.weights.items():
        expected = other.weights if name.startswith("estimator.") else zero.weights
        np.testing.assert_allclose(array, expected[name], atol=1e-6, err_msg=name)
    lineage = Lineage.of(found.document)
    assert (lineage.agent, lineage.skills) == (other.sha256, module.checkpoint.sha256)
    with pytest.raises(CheckpointError, match=r"estimator: .* has none; reskill train-estimator"):
        AgentTrainer(given, [points], TASK, module, Judge(iter(())), estimator=one)
    narrower = replace(TASK, obs=replace(TASK.obs, terms=TASK.obs.terms[:-1]))
    unfit = replace(other, document={**other.document, "task": narrower.to_dict()})
    with pytest.raises(CheckpointError, match=r"obs\.terms"):
        AgentTrainer(given, [points], TASK, module, Judge(iter(())), estimator=unfit)
    assert "estimator: leave it out" in replace(given, skills="none", initial="other").violations()[0]


def test_only_a_new_run_takes_over_weights(
    module: SkillModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _ = train(module, config(tmp_path / "one"))
    initial = load_checkpoint(plain.run, AGENT_KIND)
    taken = []
    monkeypatch.setattr(AgentTrainer, "_take_over", lambda trainer, agent: taken.append(agent))
    given = config(tmp_path / "two", skills="none", initial="initial", steps=2 * ITERATION)
    with pytest.raises(StopIteration):  # after the first checkpoint
        begun_with(initial, given, (1,)).run(show_progress=False)
    begun_with(initial, given, (2,)).run(show_progress=False)
    assert taken == [initial]


def test_an_agent_to_begin_with_must_fit(module: SkillModule, tmp_path: Path) -> None:
    plain, _ = train(module, config(tmp_path / "one"))
    initial = load_checkpoint(plain.run, AGENT_KIND)
    given = config(tmp_path / "two", skills="none", initial="initial")
    wider = replace(AGENT, low_level=replace(FROZEN, hidden=(16,)))
    with pytest.raises(CheckpointError, match=r"initial: .* has other networks: low_level\.actor"):
        begun_with(initial, replace(given, agent=wider)).run(show_progress=False)
    by_sac = replace(AGENT, high_level=SacConfig(hidden=(8,), critic_hidden=(8,), regulariser="entropy"))
    with pytest.raises(ConfigError, match="initial: high_level learns by sac, which cannot"):
        begun_with(initial, replace(given, agent=by_sac)).run(show_progress=False)
    renamed = replace(initial, document={**initial.document, "task": replace(TASK, name="other").to_dict()})
    with pytest.raises(CheckpointError, match="other"):
        begun_with(renamed, given)
    assert "skills: leave it out" in replace(given, skills="skills").violations()[0]
    imitating = replace(given, agent=replace(AGENT, skills=False), imitation_updates=1, demonstrations="data")
    assert "imitation_updates: not with initial" in imitating.violations()[0]

"""What the collector hands to learning, on the real simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from untrained_skills import (
    AT_ONCE,
    ENVS,
    untrained_skills,  # noqa: F401 - a fixture
)

from reskill_core.rl.advantages import Experience, experience_of
from reskill_core.rl.collector import Collected, Collector
from reskill_core.rl.config import AgentConfig, PpoConfig
from reskill_core.rl.ppo import Ppo
from reskill_core.rl.transitions import SkillTransition
from reskill_core.runtime.skill_module import SkillModule
from reskill_core.runtime.skill_policy import residual_dim
from reskill_core.seeding import first_episode
from reskill_sim.engine.simulator import Simulator
from reskill_sim.fetch.tasks import get_task


def collector(skills: Path, task: str, config: AgentConfig) -> tuple[Collector, Simulator]:
    module = SkillModule.load(skills, batch_invariant=False)
    spec = get_task(task).spec
    simulator = Simulator(get_task(task), ENVS, "turbo")
    width = module.features(np.zeros((1, spec.obs.dim))).shape[1]
    high = Ppo(width, width, module.latent_dim, cast(PpoConfig, config.high_level), 0)
    low = Ppo(residual_dim(module, width), width, 4, cast(PpoConfig, config.low_level), 1)
    return Collector([simulator], module, spec, config, high, low, 0), simulator


def test_every_control_step_belongs_to_one_skill_and_rewards_add_up(skills: Path) -> None:
    # Without discount and bootstrapping, an advantage over a value of zero is all that comes until the episode ends.
    free = PpoConfig(discount=1.0 - 1e-7, trace=1.0)
    config = AgentConfig(
        skill_steps=None, schedule=AT_ONCE, high_level=free, low_level=replace(free, std=0.15, min_std=0.05)
    )
    runner, _ = collector(skills, "block", config)
    steps = get_task("block").spec.horizon
    collected = runner.collect(steps, 1.0)
    assert collected.high_level is not None
    assert collected.low_level is not None
    # Lengths are whole numbers of steps, as a replay buffer or a checkpoint keeps them.
    assert collected.high_level.length.dtype == collected.low_level.length.dtype == np.int64
    assert set(collected.low_level.length.tolist()) == {1}
    high, low = map(worth, (collected.high_level, collected.low_level))
    # Untrained skills solve nothing: 50 steps of -1, in 7 whole skills and one that the horizon cuts off.
    assert collected.episodes.returns == [-float(steps)] * ENVS
    assert not any(collected.episodes.successes)
    assert len(high.action) == ENVS * 8
    assert len(low.action) == ENVS * steps
    per_env = high.advantage.reshape(ENVS, 8) / 1e-7
    lengths = np.diff(per_env, axis=1, append=0.0)
    np.testing.assert_allclose(lengths, np.tile([7] * 7 + [1], (ENVS, 1)), rtol=0.2)
    np.testing.assert_allclose(low.advantage.reshape(steps, ENVS)[0] / 1e-7, -steps, rtol=0.2)


def worth(transitions: SkillTransition) -> Experience:
    nothing = np.zeros(len(transitions), np.float32)
    return experience_of(transitions, nothing, nothing, 1.0 - 1e-7, 1.0)


def test_a_skill_goes_on_into_the_next_iteration(skills: Path) -> None:
    runner, _ = collector(skills, "block", AgentConfig(residual=False, skill_steps=None))
    parts = [chosen_noise(runner.collect(steps, 0.0)) for steps in (10, 10, 30)]
    assert [part.shape[1] for part in parts] == [1, 1, 6]
    whole, _ = collector(skills, "block", AgentConfig(residual=False, skill_steps=None))
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), chosen_noise(whole.collect(50, 0.0)))


def chosen_noise(collected: Collected) -> np.ndarray:
    assert collected.high_level is not None
    return collected.high_level.decision.reshape(ENVS, -1, 4)


def test_skills_may_be_chosen_more_often_than_they_were_learnt_to_last(skills: Path) -> None:
    runner, _ = collector(skills, "block", AgentConfig(residual=False, skill_steps=2))
    assert chosen_noise(runner.collect(10, 0.0)).shape[1] == 5


def test_a_residual_too_weak_to_matter_is_not_learnt_from(skills: Path) -> None:
    runner, _ = collector(skills, "block", AgentConfig())
    assert runner.collect(7, 0.0).low_level is None
    assert runner.collect(7, 0.04).low_level is None
    assert runner.collect(7, 0.05).low_level is not None


def test_collecting_continues_to_the_same_bits(skills: Path) -> None:
    config = AgentConfig(schedule=AT_ONCE)
    steady, _ = collector(skills, "slippery_push", config)
    steady.collect(13, 1.0)
    resumed, simulator = collector(skills, "slippery_push", config)
    simulator.reset(range(100, 100 + ENVS))
    resumed.restore(steady.state())
    expected, found = steady.collect(20, 1.0), resumed.collect(20, 1.0)
    for name, array in vars(expected.high_level).items():
        assert found.high_level is not None
        np.testing.assert_array_equal(array, getattr(found.high_level, name), err_msg=name)


def test_diverged_steps_are_not_learnt_from(skills: Path) -> None:
    runner, simulator = collector(skills, "slippery_push", AgentConfig(schedule=AT_ONCE))
    rows = simulator.state()
    rows[2, simulator.layout.qvel.start + 8] = 1e12
    simulator.set_state(rows)
    collected = runner.collect(14, 1.0)
    assert collected.episodes.diverged == 1
    assert collected.low_level is not None
    assert len(collected.low_level.decision) == ENVS * 14 - 1
    assert np.isfinite(collected.low_level.inputs).all()


def test_every_environment_goes_through_episodes_of_its_own(skills: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    reset = Simulator.reset

    def noted(self: Simulator, seeds: Sequence[int], indices: Sequence[int] | None = None) -> np.ndarray:
        started.extend(seeds)
        return reset(self, seeds, indices)

    module, spec = SkillModule.load(skills, batch_invariant=False), get_task("block").spec
    groups = [Simulator(get_task("block"), size, "turbo") for size in (2, 3)]
    monkeypatch.setattr(Simulator, "reset", noted)
    width = module.features(np.zeros((1, spec.obs.dim))).shape[1]
    agent = AgentConfig(residual=False)
    high = Ppo(width, width, module.latent_dim, cast(PpoConfig, agent.high_level), 0)
    runner = Collector(groups, module, spec, agent, high, None, seed=1)
    runner.collect(2 * spec.horizon, 0.0)
    first = first_episode(1, "training")
    assert sorted(started) == list(range(first, first + 3 * 5))

"""What both levels learn from: the same however environments are grouped, and from a kept state on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from acting_agents import (
    AGENT,
    ENVS,
    HORIZON,
    STILL,
    Agent,
    collector,
    random_estimator,
    random_module,  # noqa: F401 - a fixture
)
from point_mass import Ending, PointMass

from reskill_core.models.config import MemoryConfig
from reskill_core.rl.collector import Collected
from reskill_core.rl.gaussian import log_density
from reskill_core.rl.ppo import Ppo
from reskill_core.runtime import SkillModule
from reskill_core.runtime.networks import Weights

MEMORY = MemoryConfig(actions=2, features=1)
# What an agent knows of earlier steps.
PASTS = pytest.mark.parametrize(
    ("memory", "estimator"),
    [(MemoryConfig(), None), (MEMORY, None), (MEMORY, random_estimator())],
    ids=["nothing", "memory", "memory and estimator"],
)


def values(level: Ppo, features: np.ndarray) -> np.ndarray:
    return level.values(features[None])[0]


@pytest.mark.parametrize("terminated", [True, False])
@pytest.mark.parametrize("name", ["high", "low"])
def test_targets_look_beyond_a_time_limit_and_not_beyond_an_end(
    name: str, terminated: bool, module: SkillModule
) -> None:
    """Episodes of one skill, or of one step: what it earned, and what the critic expects where it was cut off."""
    gamma, steps = (0.9, HORIZON) if name == "high" else (0.8, 1)
    agent = Agent(module, AGENT)
    environments = PointMass(ENVS, lambda seed: Ending(steps, terminated=terminated), float)
    runner = collector(agent, environments)
    start = environments.observation()
    collected = runner.collect(steps, 1.0)
    level = agent.high if name == "high" else agent.low
    experience = agent.learnt_from(collected)[0 if name == "high" else 1]
    assert level is not None
    assert experience is not None
    positions = start.copy()
    for action in environments.actions:
        positions[:, 4:7] = 0.03 * action[:, :3]
        positions[:, :3] += positions[:, 4:7]
        positions[:, 3] = 0.05 + 0.02 * action[:, 3]
    first, last = module.features(start), module.features(positions)
    # Rewards 1, 2, 3 …, scaled by one minus the discount.
    earned = (1 - gamma) * sum((step + 1) * gamma**step for step in range(steps))
    beyond = 0.0 if terminated else gamma**steps * values(level, last)
    np.testing.assert_allclose(experience.target, earned + beyond, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(experience.advantage, experience.target - values(level, first), rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(experience.critic_input, first)


def test_traces_carry_from_one_decision_to_the_one_before(module: SkillModule) -> None:
    """With a trace of one a target is all that comes: later skills count by the discount of the steps before."""
    level = replace(STILL, discount=0.9, trace=1.0)
    agent = Agent(module, replace(AGENT, high_level=level, low_level=level))
    environments = PointMass(ENVS, lambda seed: Ending(6, terminated=True), float)
    collected = collector(agent, environments).collect(6, 1.0)
    high, low = agent.learnt_from(collected)
    assert high is not None
    assert low is not None
    to_come = [0.1 * sum((step + 1) * 0.9 ** (step - now) for step in range(now, 6)) for now in range(6)]
    np.testing.assert_allclose(low.target.reshape(6, ENVS), np.tile(np.array(to_come)[:, None], ENVS), rtol=1e-4)
    # Environment by environment, a skill of four steps and one of two.
    np.testing.assert_allclose(high.target, np.tile([to_come[0], to_come[4]], ENVS), rtol=1e-4)


def test_a_smaller_trace_forgets(module: SkillModule) -> None:
    level = replace(STILL, discount=0.9, trace=0.0)
    agent = Agent(module, replace(AGENT, high_level=level, low_level=level))
    collected = collector(agent, PointMass(ENVS, lambda seed: Ending(8), float)).collect(8, 1.0)
    high, low = agent.learnt_from(collected)
    assert high is not None
    assert low is not None
    assert agent.low is not None
    assert agent.high is not None
    following = agent.low.values(low.critic_input).reshape(8, ENVS)[1:]
    reward = 0.1 * np.arange(1, 8)[:, None]
    np.testing.assert_allclose(low.target.reshape(8, ENVS)[:-1], reward + 0.9 * following, rtol=1e-4)
    ahead = agent.high.values(high.critic_input).reshape(ENVS, 2)[:, 1]
    earned = 0.1 * sum((step + 1) * 0.9**step for step in range(4))
    np.testing.assert_allclose(high.target.reshape(ENVS, 2)[:, 0], earned + 0.9**4 * ahead, rtol=1e-4)


def test_each_level_gets_its_own_draws_and_log_densities(module: SkillModule) -> None:
    wide = replace(STILL, std=0.7)
    agent = Agent(module, replace(AGENT, high_level=wide, low_level=wide))
    collected = collector(agent, PointMass(ENVS, lambda seed: Ending(8))).collect(8, 1.0)
    for level, experience in zip((agent.high, agent.low), agent.learnt_from(collected), strict=True):
        assert level is not None
        assert experience is not None
        assert {array.dtype for array in vars(experience).values()} == {np.dtype(np.float32)}
        mean, std = level.actor()
        drawn = (experience.action - mean(experience.actor_input)) / std
        np.testing.assert_allclose(experience.log_prob, log_density(drawn, np.log(std)), rtol=1e-3, atol=1e-4)
        assert drawn.std() == pytest.approx(1.0, abs=0.2)
        assert abs(drawn.mean()) < 0.2


@PASTS
def test_groups_and_threads_change_nothing(
    module: SkillModule, memory: MemoryConfig, estimator: Weights | None
) -> None:
    """Places, seeds and draws belong to environments, however they are grouped."""
    wide = replace(STILL, std=0.5)
    agent = Agent(module, replace(AGENT, high_level=wide, low_level=wide, memory=memory))

    def collected(*sizes: int, threads: int = 1) -> list[Collected]:
        runner = collector(agent, *map(PointMass, sizes), threads=threads, estimator=estimator)
        return [runner.collect(steps, 1.0) for steps in (9, 17)]

    for one, two in zip(collected(ENVS), collected(1, 3, 2, threads=3), strict=True):
        assert_equal(one, two)


def assert_equal(one: Collected, two: Collected) -> None:
    for name in ("high_level", "low_level"):
        for field, array in vars(getattr(one, name)).items():
            np.testing.assert_allclose(
                getattr(getattr(two, name), field), array, rtol=1e-4, atol=1e-5, err_msg=f"{name} {field}"
            )
    assert sorted(one.episodes.returns) == pytest.approx(sorted(two.episodes.returns))
    assert sum(one.episodes.successes) == sum(two.episodes.successes)
    assert one.episodes.diverged == two.episodes.diverged


@PASTS
def test_collecting_continues_from_a_kept_state_to_the_same_bits(
    module: SkillModule, memory: MemoryConfig, estimator: Weights | None
) -> None:
    """In the middle of skills and episodes: latents, clocks, what skills have earned, returns, seeds and draws."""
    wide = replace(STILL, std=0.5)
    agent = Agent(module, replace(AGENT, high_level=wide, low_level=wide, memory=memory))
    steady, resumed = (collector(agent, PointMass(2), PointMass(4), seed=seed, estimator=estimator) for seed in (0, 9))
    steady.collect(7, 0.5)
    kept = {name: np.copy(value) if isinstance(value, np.ndarray) else value for name, value in steady.state().items()}
    resumed.collect(10, 0.5)
    resumed.restore(kept)
    for _ in range(2):
        expected, found = steady.collect(11, 0.5), resumed.collect(11, 0.5)
        for name in ("high_level", "low_level"):
            for field, array in vars(getattr(expected, name)).items():
                np.testing.assert_array_equal(getattr(getattr(found, name), field), array, err_msg=f"{name} {field}")
        assert vars(expected.episodes) == vars(found.episodes)


@PASTS
def test_a_state_that_is_kept_stays_as_it_is(
    module: SkillModule, memory: MemoryConfig, estimator: Weights | None
) -> None:
    """What is restored is copied: acting on changes neither it nor what was restored from it before."""
    agent = Agent(module, replace(AGENT, memory=memory))
    runner = collector(agent, PointMass(ENVS), estimator=estimator)
    runner.collect(6, 0.5)
    kept = {name: np.copy(value) if isinstance(value, np.ndarray) else value for name, value in runner.state().items()}
    before = {name: np.copy(value) for name, value in kept.items() if isinstance(value, np.ndarray)}
    runner.restore(kept)
    runner.collect(6, 0.5)
    for name, array in before.items():
        np.testing.assert_array_equal(kept[name], array, err_msg=name)


@pytest.mark.parametrize(("weight", "learns", "acts"), [(0.0, False, False), (0.04, False, True), (0.05, True, True)])
def test_a_weak_residual_acts_and_does_not_learn(weight: float, learns: bool, acts: bool, module: SkillModule) -> None:
    agent = Agent(module, AGENT)
    with_it, without = PointMass(ENVS), PointMass(ENVS)
    collected = collector(agent, with_it).collect(HORIZON, weight)
    assert (collected.low_level is not None) == learns
    assert collected.high_level is not None
    collector(Agent(module, replace(AGENT, residual=False)), without).collect(HORIZON, 0.0)
    assert (np.abs(with_it.actions[0] - without.actions[0]).max() > 1e-3) == acts


def test_two_seeds_explore_otherwise(module: SkillModule) -> None:
    wide = replace(STILL, std=0.5)
    agent = Agent(module, replace(AGENT, high_level=wide, low_level=wide))
    runs = [PointMass(ENVS) for _ in range(3)]
    for environments, seed in zip(runs, (1, 1, 2), strict=True):
        collector(agent, environments, seed=seed).collect(3, 1.0)
    one, again, other = (np.stack(environments.actions) for environments in runs)
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.1
    assert not set(runs[0].started) & set(runs[2].started)

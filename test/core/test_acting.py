"""Acting while training: what a group of environments does and notes; and that it is what is deployed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from acting_agents import (
    ACTION,
    AGENT,
    ENVS,
    HORIZON,
    LATENT,
    STRIDE,
    Agent,
    collector,
    random_module,  # noqa: F401 - a fixture
)
from point_mass import Ending, PointMass, in_turn

from reskill_core.checkpoint import Checkpoint
from reskill_core.errors import CheckpointError
from reskill_core.models.config import MemoryConfig
from reskill_core.rl.config import AgentConfig, Schedule
from reskill_core.rl.gaussian import GaussianActor, log_density
from reskill_core.runtime import SkillModule
from reskill_core.runtime.agent import agent_policy

AGENTS = {
    "skills and residual": AGENT,
    "skills alone": replace(AGENT, residual=False),
    "residual alone": replace(AGENT, skills=False),
    "standard normal": replace(AGENT, latent_source="standard_normal"),
    "skills of three steps, tightly limited": replace(AGENT, skill_steps=3, noise_limit=0.1),
    "with a memory": replace(AGENT, memory=MemoryConfig(actions=2, features=1)),
}


def deployed_actions(checkpoint: Checkpoint, steps: int) -> np.ndarray:
    """(T, N, A) actions of the policy that is deployed, in the episodes that the groups of these tests act in."""
    policy, environments = agent_policy(checkpoint, batch_invariant=False), PointMass(ENVS)
    seeds = np.arange(ENVS)
    policy.reset(seeds.tolist())
    observation = environments.reset(seeds.tolist())
    for _ in range(steps):
        outcome = environments.step(policy.act(observation).action)
        observation = outcome.observation
        ended = np.flatnonzero(outcome.done)
        if ended.size:
            seeds[ended] += STRIDE
            policy.reset(seeds[ended].tolist(), ended.tolist())
            observation = environments.reset(seeds[ended].tolist(), ended.tolist())
    return np.stack(environments.actions)


@pytest.mark.parametrize("name", AGENTS)
def test_what_is_deployed_acts_as_the_rollout_without_exploration(
    name: str, module: SkillModule, tmp_path: Path
) -> None:
    """Action by action, over skill boundaries and the ends of episodes, which come within skills."""
    weight = 0.37 if AGENTS[name].skills else 1.0
    agent, environments = Agent(module, AGENTS[name]), PointMass(ENVS)
    group = agent.group(environments)
    for steps in (7, 20, 13):
        agent.act(group, steps, weight)
    assert len(environments.started) > 4 * ENVS
    trained = np.stack(environments.actions)
    assert trained.dtype == np.float32
    np.testing.assert_array_equal(trained, deployed_actions(agent.checkpoint(tmp_path / "agent", weight), 40))
    assert trained.std(axis=(0, 1)).min() > 0.02
    assert np.abs(trained).mean() < 0.9
    if AGENTS[name].residual:
        other = deployed_actions(agent.checkpoint(tmp_path / "other", 0.9 * weight), 40)
        assert np.abs(trained - other).max() > 0.01


@pytest.mark.parametrize("name", AGENTS)
def test_what_is_deployed_acts_as_what_is_learnt_from(name: str, module: SkillModule, tmp_path: Path) -> None:
    """The same of the collector, with as little exploration as there can be."""
    weight = 0.37 if AGENTS[name].skills else 1.0
    agent, environments = Agent(module, AGENTS[name]), PointMass(ENVS)
    collected = collector(agent, environments).collect(1, weight)
    policy = agent_policy(agent.checkpoint(tmp_path / "agent", weight), batch_invariant=False)
    policy.reset([0] * ENVS)
    expected = policy.act(PointMass(ENVS).reset(environments.started[:ENVS]))
    np.testing.assert_allclose(environments.actions[0], expected.action, atol=1e-4)
    if collected.low_level is not None:
        np.testing.assert_allclose(collected.low_level.decision, expected.residual, atol=1e-4)
        inputs = collected.low_level.inputs
        np.testing.assert_allclose(inputs[:, -1], weight)
        np.testing.assert_allclose(inputs[:, -2 - ACTION : -2], expected.decoded_action, atol=1e-4)
        np.testing.assert_allclose(inputs[:, agent.width : agent.width + LATENT], expected.latent, atol=1e-4)


def test_a_skill_earns_its_discounted_rewards_until_it_or_its_episode_ends(module: SkillModule) -> None:
    # Four steps, then two that the end of the episode cuts off. Rewards are 1, 2, 3 …
    agent = Agent(module, AGENT)
    environments = PointMass(ENVS, lambda seed: Ending(6, terminated=seed % 2 == 0), float)
    tape = agent.act(agent.group(environments), 6, 1.0)
    whole, cut = tape.skills
    assert whole.reward == pytest.approx(np.full(ENVS, 1 + 0.9 * 2 + 0.81 * 3 + 0.729 * 4))
    assert whole.discount == pytest.approx(np.full(ENVS, 0.6561))
    assert (whole.length.tolist(), cut.length.tolist()) == ([4] * ENVS, [2] * ENVS)
    assert whole.reward.dtype == whole.discount.dtype == np.float32
    assert not whole.ended.any()
    assert not whole.terminated.any()
    assert cut.reward == pytest.approx(np.full(ENVS, 5 + 0.9 * 6))
    assert cut.discount == pytest.approx(np.full(ENVS, 0.81))
    assert cut.ended.all()
    assert cut.terminated.tolist() == [True, False] * (ENVS // 2)
    np.testing.assert_array_equal(whole.place, np.arange(ENVS))
    # A skill begins where the one before led, and at the end it leads to the last state, not to the next episode's.
    np.testing.assert_array_equal(whole.features, tape.steps[0].features)
    np.testing.assert_array_equal(whole.next_features, tape.steps[4].features)
    np.testing.assert_array_equal(cut.features, tape.steps[4].features)
    np.testing.assert_array_equal(cut.next_features, tape.steps[5].next_features)
    assert tape.episodes.returns == [21.0] * ENVS


def test_steps_are_noted_as_they_were(module: SkillModule) -> None:
    agent, environments = Agent(module, AGENT), PointMass(ENVS)
    tape = agent.act(agent.group(environments), 12, 1.0)
    steps = {name: np.stack([getattr(step, name) for step in tape.steps]) for name in vars(tape.steps[0])}
    assert {array.shape[:2] for array in steps.values()} == {tape.valid.shape} == {(12, ENVS)}
    assert (steps["length"] == 1).all()
    assert (steps["place"] == np.arange(ENVS)).all()
    assert steps["discount"] == pytest.approx(0.8)
    endings = [in_turn(seed) for seed in range(ENVS)]
    for place, ending in enumerate(endings):
        first = slice(0, ending.steps)
        # Where the physics breaks down, the step before is the last one that counts.
        last_steps = [True, True] if ending.diverged else [False, True]
        assert steps["ended"][first, place].tolist() == [False] * (ending.steps - 2) + last_steps
        assert steps["terminated"][ending.steps - 1, place] == ending.terminated
        assert tape.valid[ending.steps - 1, place] == (not ending.diverged)
        assert tape.valid[: ending.steps - 1, place].all()
        assert steps["reward"][first, place] == pytest.approx([1.0 / (step + 1) for step in range(ending.steps)])
        # What follows within an episode is what comes next; after its end a new one starts, elsewhere.
        np.testing.assert_array_equal(
            steps["next_features"][: ending.steps - 1, place], steps["features"][1 : ending.steps, place]
        )
        reached, begun = steps["next_features"][ending.steps - 1, place], steps["features"][ending.steps, place]
        assert np.abs(reached - begun).max() > 0.1
        phases = steps["inputs"][first, place, -2]
        assert phases == pytest.approx([step % HORIZON / HORIZON for step in range(ending.steps)])
    seeds = sorted(range(ENVS), key=lambda seed: (in_turn(seed).steps, seed))
    assert environments.started[ENVS : 2 * ENVS] == [seed + STRIDE for seed in seeds]
    # One has ended that is an environment's second.
    whole = [ending for ending in (*endings, in_turn(5 + STRIDE)) if not ending.diverged]
    assert sorted(tape.episodes.returns) == pytest.approx(
        sorted(sum(1.0 / (step + 1) for step in range(ending.steps)) for ending in whole)
    )
    assert sum(tape.episodes.successes) == sum(ending.success for ending in whole) == 4
    assert tape.episodes.diverged == 1


def test_a_skill_that_physics_broke_off_is_not_learnt_from(module: SkillModule) -> None:
    agent = Agent(module, AGENT)
    environments = PointMass(ENVS, lambda seed: Ending(4 if seed % 2 else 6, diverged=True))
    tape = agent.act(agent.group(environments), 6, 1.0)
    # The odd ones diverge as their first skill ends, the even ones in their second.
    (finished,) = tape.skills
    assert finished.place.tolist() == [0, 2, 4]
    # What it would have led to is lost.
    assert finished.ended.all()
    assert not finished.terminated.any()
    assert tape.episodes.diverged == ENVS
    assert tape.episodes.returns == []


def test_decisions_are_mean_and_scaled_draw_and_noted_with_their_density(module: SkillModule) -> None:
    agent = Agent(module, replace(AGENT, noise_limit=0.5))
    rng = np.random.default_rng(0)
    noise, deviation = (rng.standard_normal((4, ENVS, size), dtype=np.float32) for size in (LATENT, ACTION))
    std = np.array([0.5, 1.0, 2.0], np.float32)
    assert agent.high is not None
    assert agent.low is not None
    high_mean, low_mean = agent.high.actor()[0], agent.low.actor()[0]
    actors = GaussianActor(high_mean, std), GaussianActor(low_mean, np.full(4, 0.3, np.float32))
    tape = agent.group(PointMass(ENVS), *actors).act(noise, deviation, 0.5, np.ones(ENVS))
    (skills,) = tape.skills
    expected = high_mean(skills.features) + std * noise[0]
    np.testing.assert_allclose(skills.decision, expected, rtol=1e-6)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(skills.log_prob, log_density(noise[0], np.log(std)), rtol=1e-6)
    # Learnt from as it was drawn, executed within the limit.
    limited = agent.module.prior_features(np.clip(expected, -0.5, 0.5), skills.features)
    width = agent.width
    np.testing.assert_allclose(tape.steps[0].inputs[:, width : width + LATENT], limited, rtol=1e-5, atol=1e-6)
    for step, drawn in zip(tape.steps, deviation, strict=True):
        mean = low_mean(step.inputs)
        np.testing.assert_allclose(step.decision, mean + np.float32(0.3) * drawn, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(step.log_prob, log_density(drawn, np.log(actors[1].std)), rtol=1e-6)


def test_actions_are_limited(module: SkillModule) -> None:
    agent, environments = Agent(module, AGENT), PointMass(ENVS)
    agent.act(agent.group(environments), 5, 30.0)
    assert np.abs(environments.actions).max() == 1.0


def test_weight_of_agents_without_one_of_the_levels() -> None:
    rising = Schedule("linear", 0, 100)
    both = AgentConfig(schedule=rising)
    assert [both.residual_weight(steps) for steps in (0, 25, 100)] == [0.0, 0.25, 1.0]
    assert replace(both, skills=False).residual_weight(0) == 1.0
    assert replace(both, residual=False).residual_weight(100) == 0.0
    assert [config.steps_per_skill(10) for config in (both, replace(both, skill_steps=None))] == [5, 10]
    assert replace(both, skills=False).steps_per_skill(10) == 1


@pytest.mark.parametrize("lost", ["high_level.actor.linear.0.bias", "skills.decoder.linear.0.weight"])
def test_an_agent_without_a_part_is_refused(lost: str, module: SkillModule, tmp_path: Path) -> None:
    whole = Agent(module, AGENT).checkpoint(tmp_path / "agent", 1.0)
    weights = {name: array for name, array in whole.weights.items() if name != lost}
    with pytest.raises(CheckpointError, match=f"agent lacks a part of .*{lost.removeprefix('skills.')}"):
        agent_policy(replace(whole, weights=weights))

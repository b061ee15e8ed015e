"""Acting while training: what a group of environments does, notes, and keeps; and that it is what is deployed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from point_mass import Ending, PointMass, in_turn, randomised
from skill_fixtures import TASK, random_model, save_module, small_config

from reskill_core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from reskill_core.config import config_to_dict
from reskill_core.errors import CheckpointError
from reskill_core.rl.actor import Actor
from reskill_core.rl.advantages import Experience
from reskill_core.rl.collector import Collected, Collector
from reskill_core.rl.config import AgentConfig, PpoConfig, ResidualSchedule
from reskill_core.rl.gaussian import GaussianActor, log_density
from reskill_core.rl.ppo import Ppo
from reskill_core.rl.rollout import EnvironmentGroup, Rollout
from reskill_core.runtime import SkillModule
from reskill_core.runtime.agent import AGENT_KEY, AGENT_KIND, SKILLS_KEY, WEIGHT_KEY, agent_of, agent_policy
from reskill_core.runtime.skill_policy import residual_dim

ENVS, STRIDE, HORIZON, LATENT, ACTION = 6, 100, 4, 3, 4
# Almost no exploration.
STILL = PpoConfig(hidden=(16, 16), std=1e-6, min_std=1e-6)
AGENT = AgentConfig(skill_steps=None, high_level=replace(STILL, discount=0.9), low_level=replace(STILL, discount=0.8))
AGENTS = {
    "skills and residual": AGENT,
    "skills alone": replace(AGENT, residual=False),
    "residual alone": replace(AGENT, skills=False),
    "standard normal": replace(AGENT, latent_source="standard_normal"),
    "skills of three steps, tightly limited": replace(AGENT, skill_steps=3, noise_limit=0.1),
}


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> SkillModule:
    model = random_model(small_config())
    with torch.no_grad():  # actions in the sensitive range of tanh
        for name in ("decoder.linear.2.weight", "decoder.linear.2.bias"):
            model.get_parameter(name).mul_(0.1)
    folder = save_module(tmp_path_factory.mktemp("skills") / "module", model)
    return SkillModule.load(folder, batch_invariant=False)


class Agent:
    """Two levels with weights that have nothing neutral about them."""

    def __init__(self, module: SkillModule, config: AgentConfig) -> None:
        self.module, self.config = module, config
        width = module.features(np.zeros((1, TASK.obs.dim))).shape[1]
        self.width = width
        self.high = Ppo(width, width, LATENT, cast(PpoConfig, config.high_level), 0) if config.skills else None
        self.low: Ppo | None = None
        if config.residual:
            self.low = Ppo(
                residual_dim(module, width), width, ACTION, cast(PpoConfig, config.low_level), 0, "low_level"
            )
        for number, level in enumerate((self.high, self.low)):
            if level is not None:
                level.restore(randomised(level.weights(), number), level.state())

    def group(self, environments: PointMass, high: Actor | None = None, low: Actor | None = None) -> EnvironmentGroup:
        places, config = np.arange(ENVS), self.config
        policy = agent_of(self.module, config, high or self.high, low or self.low, task=TASK)
        discounts = config.high_level.discount, config.low_level.discount
        return EnvironmentGroup(environments, policy, discounts, places, places, STRIDE)

    def act(self, group: EnvironmentGroup, steps: int, weight: float) -> Rollout:
        """Without exploration."""
        noise, deviation = (np.zeros((steps, ENVS, size), np.float32) for size in (LATENT, ACTION))
        return group.act(noise, deviation, weight)

    def learnt_from(self, collected: Collected) -> tuple[Experience | None, Experience | None]:
        """What the levels make of transitions."""
        pairs = ((self.high, collected.high_level), (self.low, collected.low_level))
        one, two = (None if level is None or kept is None else level.experience(kept) for level, kept in pairs)
        return one, two

    def checkpoint(self, folder: Path, weight: float) -> Checkpoint:
        """As training writes it, and as it is read again."""
        skills = self.module.checkpoint
        weights = {f"skills.{name}": array for name, array in skills.weights.items()}
        for prefix, level in (("high_level.", self.high), ("low_level.", self.low)):
            if level is not None:
                weights |= {f"{prefix}{name}": array for name, array in level.weights().items()}
        document = {
            "task": TASK.to_dict(),
            AGENT_KEY: config_to_dict(self.config),
            SKILLS_KEY: skills.document,
            WEIGHT_KEY: weight,
        }
        return load_checkpoint(save_checkpoint(folder, AGENT_KIND, weights, document), AGENT_KIND)


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


def collector(agent: Agent, *groups: PointMass, seed: int = 0, threads: int = 1) -> Collector:
    return Collector(groups, agent.module, TASK, agent.config, agent.high, agent.low, seed, threads)


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
    tape = agent.group(PointMass(ENVS), *actors).act(noise, deviation, 0.5)
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


# ---------------------------------------------------------------------- what both levels learn from


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


def test_groups_and_threads_change_nothing(module: SkillModule) -> None:
    """Places, seeds and draws belong to environments, however they are grouped."""
    wide = replace(STILL, std=0.5)
    agent = Agent(module, replace(AGENT, high_level=wide, low_level=wide))

    def collected(*sizes: int, threads: int = 1) -> list[Collected]:
        runner = collector(agent, *map(PointMass, sizes), threads=threads)
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


def test_collecting_continues_from_a_kept_state_to_the_same_bits(module: SkillModule) -> None:
    """In the middle of skills and episodes: latents, clocks, what skills have earned, returns, seeds and draws."""
    wide = replace(STILL, std=0.5)
    agent = Agent(module, replace(AGENT, high_level=wide, low_level=wide))
    steady, resumed = (collector(agent, PointMass(2), PointMass(4), seed=seed) for seed in (0, 9))
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


def test_a_state_that_is_kept_stays_as_it_is(module: SkillModule) -> None:
    """What is restored is copied: acting on changes neither it nor what was restored from it before."""
    agent = Agent(module, AGENT)
    runner = collector(agent, PointMass(ENVS))
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


def test_weight_of_agents_without_one_of_the_levels() -> None:
    rising = ResidualSchedule("linear", 0, 100)
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

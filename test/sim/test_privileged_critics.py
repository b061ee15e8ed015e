"""Critics that know what no robot can, on the real simulator: the true observation, and the world of the episode."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import mujoco
import numpy as np
import pytest
from untrained_skills import (
    AT_ONCE,
    ENVS,
    untrained_skills,  # noqa: F401 - a fixture
)

from reskill_core.models.config import MemoryConfig
from reskill_core.rl.collector import Collector
from reskill_core.rl.config import AgentConfig, PpoConfig
from reskill_core.rl.ppo import Ppo
from reskill_core.rl.privileged import PrivilegedView
from reskill_core.runtime.memory import Memory
from reskill_core.runtime.skill_module import SkillModule
from reskill_core.runtime.skill_policy import residual_dim
from reskill_core.seeding import episode_rng
from reskill_sim.engine.simulator import Simulator
from reskill_sim.engine.variation import Variation
from reskill_sim.fetch.tasks import get_task

# Episodes last until the horizon.
TASK = "slippery_push"
SPEC = get_task(TASK).spec
BLOCK, GRIPPER = SPEC.obs.slice("block_position"), SPEC.obs.slice("gripper_position")
DELAY, STEPS = 2, 20
AGENT = AgentConfig(schedule=AT_ONCE, memory=MemoryConfig(actions=2, features=1), privileged_critics=True)


def collector(skills: Path, variation: Variation) -> tuple[Collector, Simulator, SkillModule]:
    module = SkillModule.load(skills, batch_invariant=False)
    simulator = Simulator(get_task(TASK, variation), ENVS, "turbo")
    privileged = PrivilegedView(simulator, module).dim
    width = module.features(SPEC.obs.zeros(1)).shape[1]
    width += Memory(AGENT.memory, width, 4).dim
    sizes = {"features": width, "seed": 0, "privileged": privileged}
    high, low = cast(PpoConfig, AGENT.high_level), cast(PpoConfig, AGENT.low_level)
    levels = (
        Ppo(inputs=width, decisions=module.latent_dim, config=high, **sizes),
        Ppo(inputs=residual_dim(module, width), decisions=4, config=low, level="low_level", **sizes),
    )
    return Collector([simulator], module, SPEC, AGENT, *levels, seed=0), simulator, module


def with_sliding_blocks(runner: Collector, simulator: Simulator) -> np.ndarray:
    """Blocks slide from the start, so that there is something to be late about; returns the states."""
    state = runner.state()
    rows = state["group0/environments"]
    rows[:, simulator.layout.qvel.stop - 6 : simulator.layout.qvel.stop - 4] = 0.7
    runner.restore(state)
    return np.array(rows)


def test_critics_see_what_is_and_actors_what_was(skills: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulator without delay, in the same states and with the same actions, shows what critics see."""
    runner, late, module = collector(skills, Variation(perception_delay=(DELAY, DELAY)))
    start = with_sliding_blocks(runner, late)
    given: list[np.ndarray] = []
    step = Simulator.step

    def noted(self: Simulator, actions: np.ndarray) -> object:
        given.append(actions)
        return step(self, actions)

    with monkeypatch.context() as patch:
        patch.setattr(Simulator, "step", noted)
        collected = runner.collect(STEPS, 1.0)
    prompt = Simulator(get_task(TASK), ENVS, "turbo")
    rows = prompt.state()
    for part in ("physics", "sensors", "goal"):
        rows[:, getattr(prompt.layout, part)] = start[:, getattr(late.layout, part)]
    prompt.set_state(rows)
    true = np.array([module.features(prompt.step(actions).observation) for actions in given])
    low, high = collected.low_level, collected.high_level
    assert low is not None
    assert high is not None
    count = true.shape[2]
    known, after, features = (
        array.reshape(STEPS, ENVS, -1) for array in (low.privileged, low.next_privileged, low.features)
    )
    np.testing.assert_array_equal(after[:, :, :count], true)
    np.testing.assert_array_equal(known[1:, :, :count], true[:-1])
    # Always two steps late: the end of a span that begins at nominal.
    assert known.shape[2] == count + 1
    assert (known[:, :, count:] == 1.0).all()
    # The actor sees grippers as they are, but blocks as they were.
    assert (np.abs(true[2] - true[0])[:, BLOCK].max(axis=1) > 0.1).all()
    np.testing.assert_array_equal(features[1:, :, GRIPPER], true[:-1, :, GRIPPER])
    np.testing.assert_array_equal(features[1 + DELAY :, :, BLOCK], true[: -1 - DELAY, :, BLOCK])
    # Skills of five steps: each begins with what is known there, and ends with what is known as the next one begins.
    begun = high.privileged.reshape(ENVS, STEPS // 5, -1)
    np.testing.assert_array_equal(begun, known[::5].swapaxes(0, 1))
    np.testing.assert_array_equal(high.next_privileged.reshape(begun.shape)[:, :-1], begun[:, 1:])
    # For critics only: what actors see is as wide as without.
    assert high.inputs.shape[1] == high.features.shape[1] == low.features.shape[1]
    assert high.critic_inputs.shape[1] == high.features.shape[1] + count + 1


def test_an_episode_that_is_cut_off_ends_in_its_own_last_state(skills: Path) -> None:
    """Blocks have come to rest by then; those of the next episode are elsewhere."""
    runner, _, _ = collector(skills, Variation(perception_delay=(DELAY, DELAY)))
    low = runner.collect(SPEC.horizon + 1, 1.0).low_level
    assert low is not None
    known, after = (
        array.reshape(SPEC.horizon + 1, ENVS, -1)[:, :, BLOCK] for array in (low.privileged, low.next_privileged)
    )
    assert low.ended.reshape(-1, ENVS)[-2].all()
    np.testing.assert_allclose(after[-2], known[-2], atol=1e-3)
    assert (np.abs(known[-1] - after[-2]).max(axis=1) > 0.1).all()


VARIED = Variation(
    friction=(0.5, 2.0),
    mass=(0.5, 0.75),
    perception_noise=(0.002, 0.01),
    perception_delay=(0, 3),
    action_delay=(1, 2),
    speed=(0.4, 0.8),
)


def test_the_parameters_of_a_world_are_those_it_has() -> None:
    """Friction and mass as compiled, delays and speed as in the state, noise as in the observation."""
    simulator, plain = Simulator(get_task("block", VARIED), 40), Simulator(get_task("block"), 40)
    found = simulator.world_parameters()
    assert found.shape == (40, 6)
    assert np.abs(found).max() <= 1.0
    rows, layout = simulator.state(), simulator.layout
    block = plain.model.body("block").id
    for place, (friction, mass, noise, perception_delay, action_delay, speed) in enumerate(found):
        model = simulator.mechanism.model_of(simulator.scene_of(rows[place]))
        assert isinstance(model, mujoco.MjModel)
        factor = model.geom_friction[-1, 0] / plain.model.geom_friction[-1, 0]
        # Spans: friction 0.5 to 2, mass 0.5 to 1, noise 0 to 1 cm, delays 0 to 3 and 0 to 2, speed 0.4 to 1.
        assert friction == pytest.approx((factor - 1.25) / 0.75, abs=1e-6)
        assert mass == pytest.approx((model.body_mass[block] / plain.model.body_mass[block] - 0.75) / 0.25, abs=1e-6)
        seed = int(rows[place, layout.seed][0])
        assert noise == pytest.approx(episode_rng(seed, "perception").uniform(0.002, 0.01) / 0.005 - 1)
        delays = rows[place, layout.delays]
        assert (perception_delay, action_delay) == pytest.approx((delays[0] / 1.5 - 1, delays[1] - 1))
        assert speed == pytest.approx((rows[place, layout.speed][0] - 0.7) / 0.3)
    # All of them vary, within what the ranges leave of the spans.
    assert (found.std(axis=0) > 0.1).all()
    assert found[:, 4].min() == 0.0
    assert plain.world_parameters().shape == (40, 0)


def test_the_true_observation_has_no_noise_either() -> None:
    noise = Variation(perception_noise=(0.002, 0.01), perception_delay=(0, 3))
    noisy, plain = (Simulator(get_task("block", variation), 5) for variation in (noise, Variation()))
    for simulator in (noisy, plain):
        simulator.step(np.ones((5, 4)))
    assert np.abs(noisy.observation() - plain.observation())[:, BLOCK].max() > 1e-3
    np.testing.assert_array_equal(noisy.true_observation(), plain.observation())

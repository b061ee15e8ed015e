"""Variations of any strength: what is drawn, that it can be restored, and training episodes that vary more and more."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from untrained_skills import (
    AT_ONCE,
    ENVS,
    untrained_skills,  # noqa: F401 - a fixture
)

from reskill_core.checkpoint import load_checkpoint, load_training_state
from reskill_core.models.config import MemoryConfig
from reskill_core.rl.config import AgentConfig, AgentTrainingConfig, Schedule
from reskill_core.runtime.agent import AGENT_KIND
from reskill_core.seeding import first_episode
from reskill_core.training.metrics import read_metrics
from reskill_sim.engine.simulator import Simulator
from reskill_sim.engine.variation import NOMINAL, POOL, Variation
from reskill_sim.experiments.agent_training import train_agent
from reskill_sim.fetch.tasks import get_task

VARIED = Variation(
    friction=(0.5, 2.0),
    mass=(0.5, 1.0),
    size=(1.0, 1.2),
    spawn=1.1,
    perception_noise=(0.002, 0.01),
    perception_delay=(1, 3),
    action_delay=(0, 3),
    speed=(0.4, 0.6),
)
STEPS = 20
BLOCK = get_task("block").spec.obs.slice("block_position")


def test_ranges_grow_from_nominal_by_hand() -> None:
    half = Variation(
        friction=(0.75, 1.5),
        mass=(0.75, 1.0),
        size=(1.0, 1.1),
        spawn=1.1,
        perception_noise=(0.001, 0.005),
        # Half a step up: 0.5 and 1.5 are rounded to 1 and 2.
        perception_delay=(1, 2),
        action_delay=(0, 2),
        speed=(0.7, 0.8),
    )
    assert VARIED.scaled(0.5) == half
    assert VARIED.scaled(0.16).action_delay == (0, 0)
    assert VARIED.scaled(0.17).action_delay == (0, 1)
    assert all(isinstance(bound, int) for bound in VARIED.scaled(0.5).action_delay)
    assert VARIED.scaled(0.0) == Variation(spawn=1.1)
    assert VARIED.scaled(1.0) is VARIED
    assert NOMINAL.scaled(0.5) == NOMINAL


def test_episodes_draw_from_the_ranges_of_their_strength() -> None:
    simulator = Simulator(get_task("block", VARIED), 3 * 60)
    full = simulator.state()
    strengths = np.repeat([0.0, 0.5, 1.0], 60)
    simulator.strength[:] = strengths
    assert np.array_equal(simulator.state(), full), "until the next episode nothing changes"
    simulator.reset(range(180))
    rows, layout = simulator.state(), simulator.layout
    assert np.array_equal(rows[120:], full[120:])
    perception_delay, action_delay = rows[:, layout.delays].reshape(3, 60, 2).swapaxes(0, 2).swapaxes(1, 2)
    assert [set(delays) for delays in perception_delay] == [{0}, {1, 2}, {1, 2, 3}]
    assert [set(delays) for delays in action_delay] == [{0}, {0, 1, 2}, {0, 1, 2, 3}]
    speed = rows[:, layout.speed].reshape(3, 60)
    assert (speed[0] == 1.0).all()
    # The same share of the way from nominal.
    later = Simulator(get_task("block", VARIED), 180)
    np.testing.assert_allclose(1.0 - speed[1], 0.5 * (1.0 - later.state()[60:120, layout.speed][:, 0]))
    noise = np.abs(simulator.observation() - simulator.true_observation())[:, BLOCK].reshape(3, -1)
    assert noise[0].max() == 0.0
    assert noise[1].mean() == pytest.approx(0.5 * noise[2].mean(), rel=0.25)
    np.testing.assert_allclose(np.abs(simulator.world_parameters()).max(), 1.0)


def test_physics_comes_from_the_closest_of_the_compiled_models() -> None:
    task = get_task("block", VARIED)
    worlds = [VARIED.draw_world(number) for number in range(POOL)]
    widths = {"friction": 1.5, "mass": 0.5, "size": 0.2}

    def distance(number: int, friction: float, mass: float, size: float) -> float:
        wanted = {"friction": friction, "mass": mass, "size": size}
        return max(abs(getattr(worlds[number], name) - wanted[name]) / widths[name] for name in widths)

    for number in range(POOL):
        assert task.weaker_scene(number, 1.0) == number
        drawn = worlds[number]
        for strength in (0.0, 0.4):
            wanted = [1 + strength * (getattr(drawn, name) - 1) for name in widths]
            found = task.weaker_scene(number, strength)
            assert distance(found, *wanted) == min(distance(other, *wanted) for other in range(POOL))
    assert len({task.weaker_scene(number, 0.0) for number in range(POOL)}) == 1
    assert 1 < len({task.weaker_scene(number, 0.3) for number in range(POOL)}) < POOL / 2
    # Other objects are no weaker variation.
    several = get_task("complex_hook_held_out", VARIED)
    kinds = several.num_base_scenes
    assert all(several.weaker_scene(number, 0.2) % kinds == number % kinds for number in range(several.num_scenes))
    assert get_task("block", Variation(speed=(0.4, 1.0))).weaker_scene(0, 0.3) == 0


def test_noise_is_restored_with_the_strength_and_copies_have_it() -> None:
    simulator = Simulator(get_task("block", VARIED), 4)
    simulator.strength[:] = [0.0, 0.3, 0.6, 1.0]
    simulator.reset(range(4))
    simulator.step(np.ones((4, 4)))
    other = Simulator(get_task("block", VARIED), 4)
    other.strength[:] = simulator.strength
    other.set_state(simulator.state())
    for again in (other, copy.deepcopy(simulator)):
        np.testing.assert_array_equal(again.observation(), simulator.observation())
        np.testing.assert_array_equal(again.world_parameters(), simulator.world_parameters())
    other.strength[:] = 1.0
    other.set_state(simulator.state())
    assert np.abs(other.observation() - simulator.observation()).max() > 1e-3


def config(skills: Path, out: Path, **changes: Any) -> AgentTrainingConfig:
    """Episodes of 50 steps, which start in the first, the third and the fifth iteration of 20."""
    iteration = STEPS * ENVS
    values: dict[str, Any] = {
        "steps": 6 * iteration,
        "evaluate_every": 4 * iteration,
        "curriculum": Schedule("linear", 0, 4 * iteration),
        "agent": AgentConfig(schedule=AT_ONCE, memory=MemoryConfig(2, 1), privileged_critics=True),
        **changes,
    }
    return AgentTrainingConfig(
        task="block",
        skills=str(skills),
        out=str(out),
        num_envs=ENVS,
        rollout_steps=STEPS,
        profile="turbo",
        threads=0,
        evaluation_episodes=2,
        variation={"speed": [0.4, 0.4], "perception_noise": [0.005, 0.01], "action_delay": [0, 2], "mass": [0.5, 1.0]},
        **values,
    )


def test_training_varies_more_and_more_and_evaluations_vary_fully(
    skills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[int, float]] = []
    reset = Simulator.reset

    def noted(self: Simulator, seeds: Sequence[int], *others: Any) -> Any:
        observation = reset(self, seeds, *others)
        places = others[0] if others else range(self.num_envs)
        speeds = self.state()[:, self.layout.speed][:, 0]
        started.extend((int(seed), speeds[place]) for seed, place in zip(seeds, places, strict=True))
        return observation

    monkeypatch.setattr(Simulator, "reset", noted)
    train_agent(config(skills, tmp_path), show_progress=False)
    training, selection = first_episode(0, "training"), first_episode(0, "selection")
    speeds = {seed: speed for seed, speed in started if seed >= min(training, selection)}
    # In iterations with strengths of 0, 0.5 and 1.
    for number, speed in enumerate((1.0, 0.7, 0.4)):
        found = [speeds[training + number * ENVS + place] for place in range(ENVS)]
        assert found == pytest.approx([speed] * ENVS), number
    assert [speeds[selection + number] for number in range(2)] == pytest.approx([0.4, 0.4])


def test_a_run_with_a_curriculum_and_privileged_critics_continues_to_the_same_bits(
    skills: Path, tmp_path: Path
) -> None:
    """From the middle of episodes that began at half the strength, when new ones begin at full strength."""
    steady, broken = tmp_path / "steady", tmp_path / "broken"
    train_agent(config(skills, steady), show_progress=False)
    train_agent(config(skills, broken), show_progress=False)
    last = broken / "checkpoints" / "last"
    last.unlink()
    last.symlink_to(f"{4 * STEPS * ENVS:08d}")
    assert set(load_training_state(last)["group0/strength"]) == {0.5}
    train_agent(config(skills, broken), show_progress=False)
    ends = [run / "checkpoints" / "last" for run in (steady, broken)]
    one, two = ({**load_checkpoint(end, AGENT_KIND).weights, **load_training_state(end)} for end in ends)
    assert one.keys() == two.keys()
    for name in one.keys() - {"progress"}:
        np.testing.assert_equal(two[name], one[name], err_msg=name)
    assert set(one["group0/strength"]) == {1.0}


def test_training_episodes_may_be_longer_than_the_task(skills: Path, tmp_path: Path) -> None:
    """Of 80 steps instead of 50, so that the first ones end in the fourth iteration of 20; the agent has the task's."""
    out = tmp_path / "run"
    train_agent(config(skills, out, steps=4 * STEPS * ENVS, horizons=1.6), show_progress=False)
    ends = [row["step"] for row in read_metrics(out) if "train/return" in row]
    assert ends == [4 * STEPS * ENVS]
    assert load_checkpoint(out, AGENT_KIND).task.horizon == 50

"""Demonstrators solve their tasks, keep clean labels, and depend on the seed alone."""

from __future__ import annotations

import numpy as np
import pytest

from reskill_core.errors import ConfigError, SimulationError
from reskill_core.seeding import episode_rng
from reskill_core.spec import ObsSpec
from reskill_sim.engine.episodes import run_episodes
from reskill_sim.engine.simulator import Simulator
from reskill_sim.engine.smooth_noise import CORRELATION, smooth_noise
from reskill_sim.fetch.demonstrators import CONTROLLERS, Demonstrator, make_demonstrator
from reskill_sim.fetch.demonstrators.motions import CLOSE, OPEN, Reading
from reskill_sim.fetch.demonstrators.pick_and_place import pick_and_place
from reskill_sim.fetch.demonstrators.push import push
from reskill_sim.fetch.tasks import get_task

# The tasks that demonstrations are collected on; on the others the demonstrators are only a floor.
KINDS = [(task, kind) for task in ("block", "hook") for kind in CONTROLLERS[task]]


def successes(task: str, kind: str, noise: tuple[float, float], episodes: int) -> float:
    simulator = Simulator(get_task(task), episodes)
    demonstrator = make_demonstrator(task, kind, noise, episodes)
    return float(np.mean([episode.success for episode in run_episodes(simulator, demonstrator, range(episodes))]))


@pytest.mark.parametrize(("task", "kind"), KINDS)
def test_demonstrators_solve_their_tasks(task: str, kind: str) -> None:
    assert successes(task, kind, (0.0, 0.0), 25) >= 24 / 25
    assert successes(task, kind, (0.0, 0.15), 25) >= 22 / 25


def block_reading(**values: list[float]) -> Reading:
    spec: ObsSpec = get_task("block").spec.obs
    observation = np.zeros((1, spec.dim))
    for name, value in values.items():
        observation[0, spec.slice(name)] = value
    return Reading(spec, observation)


def pick_reading(gripper: list[float], block: list[float], goal: list[float], finger: float) -> Reading:
    return block_reading(
        gripper_position=gripper,
        block_position=block,
        block_relative_position=[b - g for b, g in zip(block, gripper, strict=True)],
        goal_position=goal,
        finger_position=[finger, finger],
    )


def test_pick_and_place_phases() -> None:
    block, goal = [1.3, 0.7, 0.425], [1.4, 0.9, 0.425]
    above = pick_and_place(pick_reading([1.3, 0.7, 0.5], block, goal, 0.05))[0]
    assert above[2] < 0
    assert above[3] == OPEN
    around = pick_and_place(pick_reading(block, block, goal, 0.05))[0]
    assert around[3] == CLOSE
    assert not around[:3].any()
    held = pick_and_place(pick_reading(block, block, goal, 0.025))[0]
    assert (held[:3] > 0).all()
    assert held[3] == CLOSE
    placed = pick_and_place(pick_reading(goal, goal, goal, 0.025))[0]
    assert placed[3] == OPEN
    done = pick_and_place(pick_reading(goal, goal, goal, 0.05))[0]
    assert done[2] > 0


def test_push_goes_behind_the_block_first_and_then_forward() -> None:
    block, goal = [1.3, 0.7, 0.425], [1.3, 0.9, 0.425]
    behind = push(pick_reading([1.3, 0.66, 0.425], block, goal, 0.0))[0]
    np.testing.assert_allclose(behind[:3], [0.0, 1.0, 0.0], atol=1e-9)
    in_front = push(pick_reading([1.3, 0.75, 0.425], block, goal, 0.0))[0]
    assert in_front[2] > 0
    assert not in_front[:2].any()


def test_noise_is_stationary_and_smooth() -> None:
    samples = np.stack([smooth_noise(np.random.default_rng(seed), 40, 1)[:, 0] for seed in range(4000)])
    np.testing.assert_allclose(samples.std(axis=0), 1.0, atol=0.05)
    correlation = np.mean(samples[:, 1:] * samples[:, :-1], axis=0)
    np.testing.assert_allclose(correlation, CORRELATION, atol=0.06)


def test_noise_is_executed_and_the_clean_action_kept_as_label() -> None:
    task = get_task("block")
    noisy, clean = (make_demonstrator("block", "push", (scale, scale)) for scale in (0.2, 0.0))
    observation = Simulator(task).reset([4])
    for demonstrator in (noisy, clean):
        demonstrator.reset([4])
    with_noise, without = noisy.act(observation), clean.act(observation)
    assert np.array_equal(with_noise.decoded_action, without.action)
    assert np.array_equal(with_noise.action, task.spec.action.clip(with_noise.decoded_action + with_noise.residual))
    assert not np.array_equal(with_noise.action, without.action)
    assert not with_noise.residual[:, 3].any()


def test_actions_depend_on_the_seed_alone() -> None:
    observation = Simulator(get_task("block"), 3).reset([5, 6, 7])
    batch, alone = make_demonstrator("block", num_envs=3), make_demonstrator("block")
    batch.reset([5, 6, 7])
    alone.reset([6])
    assert np.array_equal(batch.act(observation).action[1], alone.act(observation[1:2]).action[0])
    # The first draw of the stream chooses the controller.
    names = list(CONTROLLERS["block"])
    assert alone.source() == names[episode_rng(6, "demonstrator").integers(2)]


def test_wrong_use_is_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown demonstrator of task 'block' 'pull'; allowed: mixed"):
        make_demonstrator("block", "pull")
    with pytest.raises(SimulationError, match="0 <= low <= high"):
        Demonstrator(get_task("block").spec, noise_range=(0.3, 0.1))
